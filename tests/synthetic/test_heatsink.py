from pathlib import Path

import cv2
import numpy as np
import pytest

from flawmap.errors import OptionError
from flawmap.synthetic.heatsink import (
    DEMO_COUNTS,
    PAPER_COUNTS,
    ImageCounts,
    draw_defective,
    draw_good,
    write_heatsinks,
)
from flawmap.synthetic.heatsink_damage import DAMAGES
from flawmap.synthetic.heatsink_designs import DESIGNS

EVERY_DEFECT = [(product, defect_type) for product in DESIGNS for defect_type in DAMAGES]


def change(product: str, defect_type: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """How much the defect changed each pixel, in grey levels, and the mask that came with it."""
    image, mask = draw_defective(product, defect_type, seed)
    return np.abs(image.astype(int) - draw_good(product, seed)).max(axis=2), mask > 0


def written(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.png")}


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("few")
    write_heatsinks(root, {"Black": ImageCounts(3, 2, 10), "White": ImageCounts(2, 1, 4)}, seed=5)
    return written(root)


@pytest.mark.parametrize("product", DESIGNS)
def test_a_seed_is_an_image(product: str) -> None:
    image = draw_good(product, 3)
    assert image.shape == (224, 224, 3)
    assert image.dtype == np.uint8
    assert np.array_equal(image, draw_good(product, 3))
    assert not np.array_equal(image, draw_good(product, 4))


@pytest.mark.parametrize(("product", "defect_type"), EVERY_DEFECT)
def test_a_seed_is_a_defect(product: str, defect_type: str) -> None:
    image, mask = draw_defective(product, defect_type, (1, 2, 3))
    again, mask_again = draw_defective(product, defect_type, (1, 2, 3))
    other, _ = draw_defective(product, defect_type, (1, 2, 4))
    assert np.array_equal(image, again)
    assert np.array_equal(mask, mask_again)
    assert not np.array_equal(image, other)
    assert mask.shape == (224, 224)
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) == {0, 255}


@pytest.mark.parametrize(("product", "defect_type"), EVERY_DEFECT)
def test_the_mask_is_where_the_image_changed(product: str, defect_type: str) -> None:
    for seed in range(8):
        changed, inside = change(product, defect_type, seed)
        assert changed[~inside].max() <= 2
        assert (changed[inside] > 0).mean() > 0.8
        assert 20 < inside.sum() < 0.1 * inside.size
        assert not inside[:18].any(), "above the part there is only the fixture"
        assert not inside[-18:].any()


@pytest.mark.parametrize("product", DESIGNS)
def test_good_parts_differ_but_are_one_product(product: str) -> None:
    first, other = (draw_good(product, seed).astype(float) for seed in (0, 1))
    assert np.abs(first - other).mean() > 2
    assert np.corrcoef(first.ravel(), other.ravel())[0, 1] > 0.6


@pytest.mark.parametrize(("product", "defect_type"), [("Black", "stain"), ("White", "scratch")])
def test_defects_go_from_barely_visible_to_glaring(product: str, defect_type: str) -> None:
    contrasts = []
    for seed in range(25):
        changed, inside = change(product, defect_type, seed)
        contrasts.append(np.percentile(changed[inside], 90))
    assert min(contrasts) < 15
    assert max(contrasts) > 25


def test_write_lays_out_mvtec_ad(few: dict[str, bytes]) -> None:
    black, white = (
        (("stain", 5), ("foreign_colour", 3), ("scratch", 2)),
        (("scratch", 3), ("stain", 1)),
    )
    expected = set()
    for product, train, test, types in (("Black", 3, 2, black), ("White", 2, 1, white)):
        expected |= {f"{product}/train/good/{i:03d}.png" for i in range(train)}
        expected |= {f"{product}/test/good/{i:03d}.png" for i in range(test)}
        for defect_type, count in types:
            expected |= {f"{product}/test/{defect_type}/{i:03d}.png" for i in range(count)}
            expected |= {
                f"{product}/ground_truth/{defect_type}/{i:03d}_mask.png" for i in range(count)
            }
    assert set(few) == expected


def test_write_keeps_every_pixel(few: dict[str, bytes]) -> None:
    images = {
        name: np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))
        for name, data in few.items()
    }
    assert {p.shape for n, p in images.items() if "ground_truth" not in n} == {(224, 224, 3)}
    assert {p.shape for n, p in images.items() if "ground_truth" in n} == {(224, 224)}
    assert images["Black/train/good/000.png"][120, 80, 2] > 90, (
        "the stripe is red, so the file is blue, green, red"
    )


def test_writing_again_gives_the_same_bytes_and_another_seed_does_not(
    few: dict[str, bytes], tmp_path: Path
) -> None:
    counts = {"White": ImageCounts(2, 1, 4)}
    for _ in range(2):
        write_heatsinks(tmp_path / "again", counts, seed=5)
        assert written(tmp_path / "again").items() <= few.items()
    write_heatsinks(tmp_path / "other", counts, seed=6)
    other = written(tmp_path / "other")
    assert not any(other[name] == few[name] for name in other)
    assert len(set(few.values())) == len(few)


def test_an_image_does_not_depend_on_how_many_are_drawn(
    few: dict[str, bytes], tmp_path: Path
) -> None:
    write_heatsinks(tmp_path, {"Black": ImageCounts(1, 3, 6)}, seed=5)
    both = {name: data for name, data in written(tmp_path).items() if name in few}
    assert {Path(name).parts[1] for name in both} == {"train", "test", "ground_truth"}
    assert both.items() <= few.items()


def test_counts_are_the_papers() -> None:
    assert set(PAPER_COUNTS) == set(DEMO_COUNTS) == set(DESIGNS)
    assert sum(c.train_good + c.test_good for c in PAPER_COUNTS.values()) == 897
    assert sum(c.defective for c in PAPER_COUNTS.values()) == 692


def test_unknown_names_list_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"'Red'.*Black, White"):
        draw_good("Red", 0)
    with pytest.raises(OptionError, match=r"'Red'.*Black, White"):
        draw_defective("Red", "stain", 0)
    with pytest.raises(OptionError, match=r"'dent'.*stain, foreign_colour, scratch"):
        draw_defective("Black", "dent", 0)
    with pytest.raises(OptionError, match=r"'Red'.*Black, White"):
        write_heatsinks(tmp_path, {"Black": ImageCounts(1, 0, 0), "Red": ImageCounts(1, 0, 0)})
    assert not list(tmp_path.iterdir()), "nothing is drawn before all names are known"
