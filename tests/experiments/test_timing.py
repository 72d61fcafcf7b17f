from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from flawmap.errors import OptionError
from flawmap.experiments.study import MethodSetup, StudyConfig
from flawmap.experiments.timing import measure_times
from flawmap.features.aggregation import ChannelAggregation
from flawmap.features.reducers import PCA

SECTIONS = ("decode", "network", "embedding", "reduction", "search", "whole")


def test_every_section_of_every_line_is_timed(products: Path) -> None:
    study = StudyConfig(products, "test_resnet", "random", (64, 64))
    reducers = [
        {},
        {"reducer": PCA(0.2), "reducer_scope": "bank"},
        {"reducer": ChannelAggregation(0.2), "reducer_scope": "bank"},
    ]
    setups = [MethodSetup("patchcore", {"coreset": 0.5, **reducer}) for reducer in reducers]
    lines = measure_times(study, setups, "left", warm_up=1, num_images=2)
    for line in lines:
        assert tuple(line.image) == SECTIONS
        assert tuple(line.bank) == ("features", "reduction", "coreset")
    widths = [line.size[1] for line in lines]
    assert widths[0] > widths[1] == widths[2] == int(0.2 * widths[0])


def test_each_section_has_its_own_time_after_the_warm_up(products: Path) -> None:
    readings = (1.01**count for count in itertools.count())
    study = StudyConfig(products, "test_resnet", "random", (64, 64))
    setup = MethodSetup("patchcore", {"coreset": 0.5})
    (line,) = measure_times(
        study, [setup], "left", warm_up=1, num_images=3, clock=lambda: next(readings)
    )

    def between(first: int, last: int) -> float:
        return 1.01**last - 1.01**first

    reduction = between(2, 3)
    assert line.bank == pytest.approx(
        {"features": between(0, 1), "reduction": reduction, "coreset": between(1, 2) - reduction}
    )
    for number, section in enumerate(SECTIONS):
        # Four readings of the bank, then two a section of each image, the first of which warms up.
        starts = [4 + 2 * (len(SECTIONS) * image + number) for image in (1, 2, 3)]
        milliseconds = [1000 * between(start, start + 1) for start in starts]
        assert line.image[section] == pytest.approx(
            (milliseconds[1], milliseconds[1] + 0.9 * (milliseconds[2] - milliseconds[1]))
        )


def test_only_a_relative_of_patchcore_has_these_parts(products: Path) -> None:
    study = StudyConfig(products, "test_resnet", "random", (64, 64))
    with pytest.raises(OptionError, match="padim has no bank to be timed"):
        measure_times(study, [MethodSetup("padim")], "left")
