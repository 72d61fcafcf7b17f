from __future__ import annotations

from pathlib import Path

import pytest

from flawmap.data.sample import Sample
from flawmap.experiments import demo
from flawmap.runtime.decode import decode
from flawmap.synthetic import heatsink


def test_the_demo_leaves_images_inspectors_and_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        heatsink, "DEMO", dict.fromkeys(heatsink.PRODUCTS, heatsink.ImageCounts(8, 3, 20))
    )
    result = demo.run(tmp_path)
    assert set(result.metrics) == {f"{p} {m}" for p in heatsink.PRODUCTS for m in demo.DEMO_METHODS}
    assert all(0 <= figures["image AUROC"].value <= 1 for figures in result.metrics.values())
    assert decode(result.contact_sheet).shape[1] > 8 * 168
    assert result.inspector.is_file()
    assert list(result.images.glob("*.png"))


def test_the_sheet_shows_the_first_of_each_kind_good_ones_last() -> None:
    samples = [
        Sample(Path(f"{kind}{n}"), "test", kind)
        for kind in ("good", "stain", "scratch")
        for n in range(3)
    ]
    shown = [
        str(sample.path) for sample in demo.contact_sheet_samples(samples, defective=4, good=2)
    ]
    assert shown == ["scratch0", "scratch1", "stain0", "stain1", "good0", "good1"]
