from __future__ import annotations

import json
from pathlib import Path

from flawmap.data.sample import Sample
from flawmap.experiments import demo
from flawmap.runtime.images.decode import decode
from flawmap.synthetic.heatsink import ImageCounts
from flawmap.synthetic.heatsink_designs import DESIGNS
from helpers import value_of


def test_the_demo_leaves_images_inspectors_and_figures(tmp_path: Path) -> None:
    counts = dict.fromkeys(DESIGNS, ImageCounts(train_good=8, test_good=4, defective=10))
    result = demo.run(tmp_path, counts=counts)
    methods = ("flawmap", "improved-patchcore")
    assert set(result.metrics) == {f"{p} {m}" for p in DESIGNS for m in methods}
    for product in DESIGNS:
        metrics = result.metrics[f"{product} flawmap"]
        assert value_of(metrics["image AUROC"]) > 0.65, "well above the 0.5 of chance"
        assert value_of(metrics["pixel AUROC"]) > 0.8
    written = json.loads((tmp_path / "metrics.json").read_text())
    black = result.metrics["Black flawmap"]["image AUROC"]
    assert written["Black flawmap"]["image AUROC"] == black.to_dict()
    assert decode(result.contact_sheet).shape[1] > 8 * 168
    assert result.inspector.is_file()
    assert list(result.images.glob("*.png"))


def test_the_contact_sheet_shows_the_first_of_each_defect_type_and_good_ones_last() -> None:
    samples = [
        Sample(Path(f"{defect_type}{n}"), "test", defect_type)
        for defect_type in ("good", "stain", "scratch")
        for n in range(3)
    ]
    shown = [
        str(sample.path) for sample in demo.contact_sheet_samples(samples, defective=4, good=2)
    ]
    assert shown == ["scratch0", "scratch1", "stain0", "stain1", "good0", "good1"]
