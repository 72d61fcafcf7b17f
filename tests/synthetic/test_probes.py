from __future__ import annotations

from typing import Any

import cv2
import jaxtyping
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flawmap.errors import OptionError
from flawmap.runtime.preprocess import WHITE
from flawmap.synthetic.probes import PROBE_KINDS, Probe, local_noise, paint_probe
from helpers import texture

every_kind = pytest.mark.parametrize("kind", PROBE_KINDS)
DTYPES = [np.uint8, np.uint16, np.float32]


def in_depth(image: np.ndarray, dtype: type) -> np.ndarray:
    """An image of 8 bits in another depth."""
    return np.asarray(image * (WHITE[np.dtype(dtype)] / 255)).astype(dtype)


def in_levels(image: np.ndarray) -> np.ndarray:
    return np.asarray(image, np.float64) * (255 / WHITE[image.dtype])


def flat(level: int, height: int = 120, width: int = 160) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def paint(image: np.ndarray, probe: Probe, seed: int = 0) -> Any:
    return paint_probe(image, probe, np.random.default_rng(seed))


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    kind=st.sampled_from(PROBE_KINDS),
    size=st.floats(3, 60),
    contrast=st.floats(4, 60),
    dtype=st.sampled_from(DTYPES),
)
def test_area_and_contrast_are_as_stated_and_nothing_else_changes(
    seed: int, kind: Any, size: float, contrast: float, dtype: type
) -> None:
    good = in_depth(flat(128), dtype)
    kept = good.copy()
    probe = Probe(kind, size, contrast, "levels")
    painted = paint(good, probe, seed)
    assert np.array_equal(good, kept)
    assert painted.image.dtype == good.dtype
    assert painted.image.shape == good.shape
    assert painted.probe == probe
    assert abs(painted.levels) == pytest.approx(contrast)
    change = in_levels(painted.image) - in_levels(good)
    assert np.allclose(change, change[..., :1], atol=1e-3), "grey"
    change = change[..., 0]
    tolerance = 4 + 0.2 * probe.area + (0.5 * size if kind == "scratch" else 0)
    assert abs(int(painted.mask.sum()) - probe.area) < tolerance
    # A soft edge beyond the mask, at most a third of the size wide, and nothing beyond that.
    reach = 2 * round(size / 3 + 2) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    around = cv2.dilate(painted.mask.astype(np.uint8), disc) > 0
    assert not change[~around].any()
    if kind == "texture":
        assert change[painted.mask].std() == pytest.approx(contrast, rel=0.1, abs=0.5)
        assert abs(change[painted.mask].mean()) < 0.1 * contrast + 0.5
    else:
        assert np.abs(change).max() == pytest.approx(contrast, abs=0.51)
        assert (np.sign(change[painted.mask]) == np.sign(painted.levels)).all()


@every_kind
def test_a_probe_is_painted_in_levels_of_any_depth(kind: Any) -> None:
    probe = Probe(kind, 12, 20, "levels")
    changes = []
    for dtype in DTYPES:
        good = in_depth(texture(1), dtype)
        changes.append(in_levels(paint(good, probe, 3).image) - in_levels(good))
    assert np.abs(changes[0] - changes[2]).max() <= 0.51
    assert np.abs(changes[1] - changes[2]).max() <= 0.51


@every_kind
def test_a_seed_is_a_probe(kind: Any) -> None:
    good, probe = texture(2), Probe(kind, 10, 5)
    first, again, other = (paint(good, probe, seed) for seed in (3, 3, 4))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.mask, again.mask)
    assert not np.array_equal(first.image, other.image)


@every_kind
def test_another_contrast_leaves_place_shape_and_sign(kind: Any) -> None:
    good = flat(128)
    faint, strong = (paint(good, Probe(kind, 20, contrast, "levels"), 5) for contrast in (10, 40))
    assert np.array_equal(faint.mask, strong.mask)
    assert strong.levels == 4 * faint.levels
    ratio = (in_levels(strong.image) - 128) - 4 * (in_levels(faint.image) - 128)
    assert np.abs(ratio).max() < 3


def test_probes_are_darker_and_brighter_alike() -> None:
    signs = [paint(flat(128), Probe("dot", 8, 20, "levels"), seed).levels > 0 for seed in range(60)]
    assert 18 < sum(signs) < 42


@pytest.mark.parametrize(("level", "sign"), [(2, 1), (252, -1)])
def test_black_parts_get_brighter_and_white_parts_darker(level: int, sign: int) -> None:
    for seed in range(10):
        painted = paint(flat(level), Probe("stain", 12, 30, "levels"), seed)
        assert painted.levels == 30 * sign
        change = in_levels(painted.image) - level
        assert np.abs(change).max() == pytest.approx(30, abs=0.51)


def test_noise_is_the_standard_deviation_around() -> None:
    left = np.random.default_rng(0).normal(128, 4, (128, 128, 1))
    right = np.random.default_rng(1).normal(128, 16, (128, 128, 1))
    good = np.concatenate([left, right], axis=1).round().astype(np.uint8).repeat(3, axis=2)
    good[64, 64] = 255  # A speck of dust is no noise.
    assert local_noise(good, 64, 64, 8) == pytest.approx(4, rel=0.2)
    assert local_noise(good, 192, 64, 8) == pytest.approx(16, rel=0.2)
    for seed in range(10):
        painted = paint(good, Probe("dot", 6, 3), seed)
        columns = np.nonzero(painted.mask)[1]
        if columns.max() < 100 or columns.min() > 156:
            noise = 4 if columns.max() < 100 else 16
            assert abs(painted.levels) == pytest.approx(3 * noise, rel=0.3)


def test_an_image_without_noise_has_one_level_of_it() -> None:
    assert local_noise(flat(90), 5, 5, 8) == 1
    assert abs(paint(flat(90), Probe("dot", 6, 5)).levels) == 5


@every_kind
def test_a_probe_lies_on_the_part(kind: Any) -> None:
    good = flat(10)
    good[30:90, 50:110] = texture(0, 60, 60)
    for seed in range(10):
        mask = paint(good, Probe(kind, 16, 30, "levels"), seed).mask
        assert mask.any()
        outside = mask.copy()
        outside[30:90, 50:110] = False
        assert not outside.any()


def test_a_probe_without_room_lies_where_there_is_most() -> None:
    foreground = np.zeros((120, 160), bool)
    foreground[50:70, 20:150] = True
    probe = Probe("dot", 60, 30, "levels")
    painted = paint_probe(flat(128), probe, np.random.default_rng(0), foreground)
    rows = np.nonzero(painted.mask)[0]
    assert abs(rows.mean() - 60) < 3


@every_kind
def test_a_probe_at_the_frame_is_cut(kind: Any) -> None:
    foreground = np.zeros((120, 160), bool)
    foreground[0, 0] = True
    painted = paint_probe(flat(128), Probe(kind, 20, 30), np.random.default_rng(0), foreground)
    assert painted.mask[:20, :20].any()
    assert 0 < painted.mask.sum() < 200


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("dent", 8, 3), "no probe of kind 'dent'; there are dot, scratch, stain, texture"),
        (("dot", 0.5, 3), "a dot of 0.5 pixels; give 1 or more"),
        (("texture", 2, 3), "a texture of 2 pixels; give 3 or more"),
        (("dot", float("nan"), 3), "a dot of nan pixels"),
        (("dot", 8, 0), "contrast of 0; give more than 0"),
        (("dot", 8, float("inf")), "contrast of inf"),
        (("scratch", 8, 3, "noise", 9), "9 pixels wide; give 1 up to its length"),
        (("dot", 8, 3, "percent"), "a contrast in 'percent'; give it in levels or noise"),
    ],
)
def test_what_cannot_be_painted_is_refused(
    values: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for users
    with pytest.raises(OptionError, match=message):
        Probe(*values)


def test_a_probe_larger_than_the_image_is_refused() -> None:
    with pytest.raises(OptionError, match="dot of 80 pixels on an image of 96×64; give one of 64"):
        paint(flat(128, 64, 96), Probe("dot", 80, 3))


@pytest.mark.parametrize("shape", [(120, 160), (60, 60)])
def test_a_foreground_must_hold_something_and_fit(shape: tuple[int, int]) -> None:
    foreground = np.full(shape, shape != (120, 160))
    with pytest.raises(OptionError, match=f"{shape[1]}×{shape[0]} with .* on 160×120"):
        paint_probe(flat(128), Probe("dot", 8, 3), np.random.default_rng(0), foreground)
