from __future__ import annotations

from pathlib import Path

import pytest

from flawmap.errors import OptionError
from flawmap.experiments import timing
from flawmap.experiments.study import MethodSetup, StudyConfig
from flawmap.experiments.timing import BANK_SECTIONS, IMAGE_SECTIONS, measure_times
from flawmap.features.aggregation import ChannelAggregation
from flawmap.features.reducers import PCA


def test_every_part_of_every_line_is_timed(products: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "TIMED_IMAGES", 8)
    monkeypatch.setattr(timing, "WARM_UP", 1)
    study = StudyConfig(products, "test_resnet", "random", (64, 64))
    reducers = [
        {},
        {"reducer": PCA(0.2), "reducer_scope": "bank"},
        {"reducer": ChannelAggregation(0.2), "reducer_scope": "bank"},
    ]
    found = measure_times(
        study, [MethodSetup("patchcore", {"coreset": 0.5, **one}) for one in reducers], "left"
    )
    for times in found:
        assert set(times.image) == set(IMAGE_SECTIONS)
        assert all(0 <= median <= late for median, late in times.image.values())
        assert set(times.bank) == set(BANK_SECTIONS)
        assert min(times.bank["features"], times.image["network"][0]) > 0
    widths = [times.size[1] for times in found]
    assert widths[0] > widths[1] == widths[2] == int(0.2 * widths[0])
    # Nothing is reduced on the way of an image where only the coreset is chosen so.
    assert found[0].image["reduction"][0] < found[1].image["reduction"][0]


def test_only_a_relative_of_patchcore_has_these_parts(products: Path) -> None:
    study = StudyConfig(products, "test_resnet", "random", (64, 64))
    with pytest.raises(OptionError, match="padim has no bank to be timed"):
        measure_times(study, [MethodSetup("padim")], "left")
