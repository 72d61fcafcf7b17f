from __future__ import annotations

from pathlib import Path

from flawmap.data.layouts import Sample
from flawmap.experiments import demo
from flawmap.runtime.decode import decode
from flawmap.synthetic.heatsink import PRODUCTS, ImageCounts


def test_the_demo_leaves_images_inspectors_and_figures(tmp_path: Path) -> None:
    counts = dict.fromkeys(PRODUCTS, ImageCounts(train_good=8, test_good=4, defective=20))
    result = demo.run(tmp_path, counts=counts)
    methods = ("patchcore", "improved-patchcore")
    assert set(result.metrics) == {f"{p} {m}" for p in PRODUCTS for m in methods}
    print(
        {k: v["image AUROC"].value for k, v in result.metrics.items()},
        {k: v["pixel AUROC"].value for k, v in result.metrics.items()},
    )
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
