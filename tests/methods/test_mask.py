"""Parts of images that do not count: neither fitted nor scored, on any way to a score."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flawmap import Inspector, load
from flawmap.errors import BundleError, ImageError, NotFitted, OptionError
from flawmap.memory.bank import TopShare
from flawmap.runtime import bundle
from flawmap.runtime.certificate import golden_images
from flawmap.runtime.mask import PartMask
from helpers import TINY, texture, with_defect

SIZES = [(96, 128), (48, 64), (93, 124), (150, 200)]
GOOD = [texture(seed, *SIZES[seed % 4]) for seed in range(12)]
OPTIONS: dict[str, Any] = {"image_score": TopShare(0.05), "place_scaling": True, **TINY}


def left_part(height: int, width: int) -> np.ndarray:
    """True in the left 60 %, but for a corner."""
    counting = np.zeros((height, width), bool)
    counting[:, : round(0.6 * width)] = True
    counting[: height // 4, : width // 4] = False
    return counting


MASK = left_part(192, 256)


def spoilt(image: np.ndarray, seed: int = 0) -> np.ndarray:
    """Other values wherever the mask does not count."""
    noise = np.random.default_rng(seed).integers(0, 256, image.shape).astype(np.uint8)
    return np.where(PartMask.of(MASK).at(*image.shape[:2])[:, :, None], image, noise)


@cache
def fitted(size: tuple[int, int] = (96, 96)) -> Inspector:
    return Inspector(size=size, false_rejects=0.1, mask=MASK, **OPTIONS).fit(GOOD)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mask") / "part.flawmap"
    fitted().save(path)
    return path


def test_what_does_not_count_reaches_neither_score_nor_map() -> None:
    for number, size in enumerate(SIZES):
        image = texture(30 + number, *size)
        first, second = fitted().inspect(image), fitted().inspect(spoilt(image))
        assert first.score == second.score
        assert np.array_equal(first.heatmap, second.heatmap)
        counting = PartMask.of(MASK).at(*size)
        assert (first.heatmap[~counting] == 0).all()
        assert first.counting is not None
        assert np.array_equal(first.counting, counting)


def test_what_does_not_count_is_not_learned() -> None:
    other = Inspector(size=(96, 96), false_rejects=0.1, mask=MASK, **OPTIONS)
    other.fit([spoilt(image, seed) for seed, image in enumerate(GOOD)])
    assert np.array_equal(other.calibration.scores, fitted().calibration.scores)
    assert other.calibration.map_limit == fitted().calibration.map_limit
    image = texture(40, 96, 128)
    assert other.inspect(image).score == fitted().inspect(image).score


def test_a_defect_is_found_where_it_counts_alone() -> None:
    good = texture(50, 96, 128)
    seen = fitted().inspect(with_defect(good, 70, 40))
    assert seen.reject
    peak = np.unravel_index(seen.heatmap.argmax(), seen.heatmap.shape)
    assert np.hypot(peak[0] - 70, peak[1] - 40) < 16
    assert fitted().inspect(with_defect(good, 70, 100)).score == fitted().inspect(good).score


def test_the_maps_edge_is_not_darkened_where_the_mask_ends() -> None:
    """A map of distances that are alike is alike up to the last pixel that counts."""
    method = fitted().method
    import torch

    head = method.head()
    images = torch.from_numpy(fitted().preprocessing(GOOD[0])[None])
    embedded = method.encoder()(images)
    compared = head.compare(embedded)
    constant = compared._replace(distances=(torch.ones_like(compared.distances[0]),))
    (values,) = head.anomaly_map(embedded, constant, 96, 96).unique().split(2)
    assert torch.allclose(values, torch.tensor([0.0, 1.0]))


def test_a_saved_file_keeps_the_mask(file: Path) -> None:
    runtime, again = load(file), Inspector.load(file)
    assert runtime.preprocessing.mask == again.mask == PartMask.of(MASK)
    for image in (texture(60, 96, 128), spoilt(texture(60, 96, 128))):
        expected = fitted().inspect(image)
        assert again.inspect(image).score == expected.score
        assert runtime.inspect(image).score == pytest.approx(expected.score, rel=1e-4)
        assert expected.counting is not None
        assert (runtime.inspect(image).heatmap[~expected.counting] == 0).all()
    (inspection,) = runtime.inspect_many([texture(60, 96, 128)])
    assert inspection.verdict is not None
    assert inspection.verdict.score == runtime.inspect(texture(60, 96, 128)).score


def test_an_image_of_another_aspect_has_an_error_that_names_it(file: Path) -> None:
    wide = texture(0, 96, 140)
    message = "140×96 pixels, an aspect of 1.46, and the mask is 256×192, an aspect of 1.33"
    with pytest.raises(ImageError, match=rf"array .*: {message}"):
        load(file).inspect(wide)
    good, bad = load(file).inspect_many([GOOD[0], wide])
    assert good.verdict is not None
    assert message in str(bad.error)


def test_a_fit_skips_single_images_of_another_aspect() -> None:
    inspector = Inspector(size=96, mask=MASK, **TINY).fit([*GOOD, texture(0, 96, 140)])
    assert ["aspect of 1.46" in str(image.error) for image in inspector.unreadable] == [True]


def test_a_mask_that_cannot_be_is_refused_before_the_long_work(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="nothing counts in the mask"):
        Inspector(mask=np.zeros((9, 9)))
    with pytest.raises(OptionError, match=r"shape \(9, 9, 3\); use \(height, width\)"):
        Inspector(mask=np.ones((9, 9, 3)))
    with pytest.raises(ImageError, match=r"nowhere\.png: "):
        Inspector(mask=tmp_path / "nowhere.png")
    with pytest.raises(OptionError, match=r"PaDiM cannot leave out .* patchcore .* letterbox=true"):
        Inspector("padim", mask=MASK)
    with pytest.raises(OptionError, match="PatchCore cannot leave out"):
        Inspector("patchcore", mask=MASK)
    inspector = Inspector(size=96, mask=np.ones((50, 100)), **TINY)
    with pytest.raises(OptionError, match=r"array .*128×96 pixels, .*, and the mask is 100×50"):
        inspector.fit(GOOD)


def test_a_mask_of_a_few_pixels_alone_works() -> None:
    point = np.zeros((960, 1280), bool)
    point[500, 600:602] = True
    images = [np.repeat(np.repeat(image, 10, 0), 10, 1) for image in GOOD[::4]]
    inspector = Inspector(size=64, mask=point, **{**TINY, "coreset": 1.0}).fit(images)
    assert np.count_nonzero(inspector.inspect(images[0]).heatmap) <= 2
    with pytest.raises(ImageError, match="none counts: the mask's marks are too small"):
        inspector.inspect(GOOD[0])
    # The golden images are so large that some of it counts.
    golden = golden_images(images[0], inspector.preprocessing)
    assert min(image.shape[0] for image in golden) >= 480


def test_auto_finds_the_part() -> None:
    images = []
    for seed in range(6):
        image = np.full((60, 80, 3), 20, np.uint8)
        image[20:50, 20 + seed : 60 + seed] = texture(seed, 30, 40)
        images.append(image)
    inspector = Inspector(size=64, mask="auto", **TINY)
    with pytest.raises(NotFitted, match="choose the mask"):
        inspector.preprocessing  # noqa: B018
    inspector.fit(images)
    assert inspector.chosen_mask is not None
    assert "in 6 of 6 good images" in inspector.chosen_mask.reason
    mask = inspector.preprocessing.mask
    assert mask is not None
    assert mask.at(60, 80)[20:50, 20:65].all()
    assert mask.share < 0.4
    noise = np.random.default_rng(0).integers(0, 256, (6, 60, 80, 3)).astype(np.uint8)
    inspector.fit(list(noise))
    assert inspector.preprocessing.mask is None
    assert "no plain background" in inspector.chosen_mask.reason


@pytest.mark.parametrize("png", ["", "AAAA", PartMask.of(np.ones((50, 9), bool)).png])
def test_a_forged_mask_is_refused(file: Path, tmp_path: Path, png: str) -> None:
    manifest, arrays, _ = bundle.load(file)
    mask = manifest.preprocessing.mask
    assert mask is not None
    own, forged = mask.png, tmp_path / "forged.flawmap"
    object.__setattr__(mask, "png", png)
    bundle.save(forged, manifest, arrays)
    object.__setattr__(mask, "png", own)
    with pytest.raises(BundleError, match=r"forged\.flawmap: holds no complete inspector \(.*mask"):
        load(forged)
