from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from flawmap.data.duplicates import near_duplicates
from flawmap.data.layouts import find_samples
from flawmap.data.sample import Sample
from flawmap.runtime.preprocess import resize
from flawmap.support.progress import listen
from flawmap.synthetic.heatsink import draw_good
from helpers import MAGNETIC_TILE, needs_shared, save


def brightness(factor: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda image: (image * factor).clip(0, 255).astype(np.uint8)


def smaller(image: np.ndarray) -> np.ndarray:
    return resize(image, round(0.8 * image.shape[0]), round(0.8 * image.shape[1]))


def jpeg(image: np.ndarray) -> np.ndarray:
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))


def shifted(image: np.ndarray) -> np.ndarray:
    return np.vstack([image[:1], image[:-1]])


CHANGES = {"jpeg": jpeg, "darker": brightness(0.9), "brighter": brightness(1.1), "smaller": smaller}


def heatsinks(folder: Path, count: int, product: str = "Black") -> list[Sample]:
    """Half of them to train, half to test."""
    return [
        Sample(
            save(folder / f"{seed:03}.png", draw_good(product, seed)),
            "test" if seed % 2 else "train",
        )
        for seed in range(count)
    ]


def names(samples: list[Sample], **options: int) -> list[tuple[str, str]]:
    return [(pair.a.path.name, pair.b.path.name) for pair in near_duplicates(samples, **options)]


@pytest.mark.parametrize("count", [84, 10, 4])
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found(tmp_path: Path, count: int, change: str) -> None:
    samples = heatsinks(tmp_path, count)
    copy = Sample(save(tmp_path / "copy.png", CHANGES[change](draw_good("Black", 2))), "test")
    (pair,) = near_duplicates([*samples, copy])
    assert (pair.a.path.name, pair.b) == ("002.png", copy)
    assert 0 < pair.distance <= 24
    assert not pair.same_bytes


@pytest.mark.parametrize("product", ["Black", "White"])
@pytest.mark.parametrize("count", [84, 10, 3, 2])
def test_different_parts_hardly_ever_are(tmp_path: Path, product: str, count: int) -> None:
    # White parts in one pose differ in 20 bits or more, 1 pair of 1,000 in 24 or fewer, depending
    # on OpenCV, whose versions print the words with different fonts.
    found = names(heatsinks(tmp_path, count, product))
    assert len(found) <= (count / 2) ** 2 / 500


@pytest.mark.parametrize("count", [84, 10, 2, 1])
def test_exact_copies(tmp_path: Path, count: int) -> None:
    samples = heatsinks(tmp_path, count)
    copy = Sample(tmp_path / "copy.png", "calibration")
    copy.path.write_bytes(samples[0].path.read_bytes())
    (pair,) = near_duplicates([*samples, copy], limit=0)
    assert (pair.a, pair.b, pair.distance, pair.same_bytes) == (samples[0], copy, 0, True)


def test_the_same_pixels_in_another_file(tmp_path: Path) -> None:
    samples = heatsinks(tmp_path, 10)
    copy = Sample(save(tmp_path / "copy.bmp", draw_good("Black", 0)), "test")
    (pair,) = near_duplicates([*samples, copy])
    assert (pair.distance, pair.same_bytes) == (0, False)


def test_copies_within_a_split_are_its_own_affair(tmp_path: Path) -> None:
    samples = heatsinks(tmp_path, 10)
    copy = Sample(save(tmp_path / "copy.png", draw_good("Black", 0)), "train")
    assert names([*samples, copy]) == []
    assert near_duplicates([sample for sample in samples if sample.split == "train"]) == []


def test_the_most_alike_come_first(tmp_path: Path) -> None:
    samples = heatsinks(tmp_path, 20)
    copies = [
        Sample(save(tmp_path / "rough.png", jpeg(smaller(draw_good("Black", 0)))), "test"),
        Sample(save(tmp_path / "exact.png", draw_good("Black", 2)), "calibration"),
    ]
    assert names([*samples, *copies]) == [("002.png", "exact.png"), ("000.png", "rough.png")]


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    samples = heatsinks(tmp_path, 4)
    broken = [
        Sample(tmp_path / "broken0.png", "train"),
        Sample(tmp_path / "broken1.png", "test"),
    ]
    for sample in broken:
        sample.path.write_bytes(b"no image")
    assert names(samples + broken + [Sample(tmp_path / "gone.png", "test")]) == []
    assert near_duplicates(broken) == []


def test_sixteen_bits_and_plain_images(tmp_path: Path) -> None:
    deep = draw_good("Black", 0).astype(np.uint16) * 257
    plain = np.full((40, 40, 3), 90, np.uint8)
    samples = [
        *heatsinks(tmp_path, 10),
        Sample(save(tmp_path / "deep.png", deep), "test"),
        Sample(save(tmp_path / "plain1.png", plain), "train"),
        Sample(save(tmp_path / "plain2.png", plain), "test"),
    ]
    assert set(names(samples)) == {("000.png", "deep.png"), ("plain1.png", "plain2.png")}


def test_progress_is_heard(tmp_path: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    with listen(lambda *step: heard.append(step)):
        near_duplicates(heatsinks(tmp_path, 4))
    assert heard[-1] == ("comparing images", 4, 4)


@needs_shared
def test_tiles_imaged_twice_are_near_duplicates() -> None:
    good = [sample for sample in find_samples(MAGNETIC_TILE) if not sample.label]
    pairs = near_duplicates(good)
    # Frames that follow closely show one tile under another light; by chance 1 pair of 180 does.
    frames = [
        [int(sample.path.stem.split("_")[-1]) for sample in (pair.a, pair.b)] for pair in pairs
    ]
    assert len(pairs) > 60
    assert sum(abs(a - b) <= 200 for a, b in frames) >= 0.95 * len(pairs)
