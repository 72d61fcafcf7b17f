import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flawmap.errors import OptionError
from flawmap.synthetic.defects import PAINTED_TYPES, PaintedDefect, paint_defect
from helpers import texture

SIZES = [(64, 64), (256, 256), (200, 320)]
every_type = pytest.mark.parametrize("defect_type", PAINTED_TYPES)


def painted(
    image: np.ndarray, seed: int, *types: str, foreground: np.ndarray | None = None
) -> PaintedDefect:
    return paint_defect(image, np.random.default_rng(seed), types or PAINTED_TYPES, foreground)


def flat(level: int, height: int = 224, width: int = 224) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def change(image: np.ndarray, result: PaintedDefect) -> np.ndarray:
    """The most that any channel changed, in grey levels, pixel by pixel."""
    return np.asarray(np.abs(result.pixels.astype(int) - image).max(axis=2))


def extent(mask: np.ndarray) -> tuple[int, int]:
    """Height and width of the box around what is marked."""
    rows, columns = np.nonzero(mask)
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def off_the_frame(mask: np.ndarray) -> bool:
    return not (mask[[0, -1]].any() or mask[:, [0, -1]].any())


@every_type
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_mask_is_where_the_image_changed(defect_type: str, height: int, width: int) -> None:
    good = texture(1, height, width)
    kept = good.copy()
    for seed in range(4):
        result = painted(good, seed, defect_type)
        assert result.defect_type == defect_type
        assert result.pixels.shape == good.shape
        assert result.pixels.dtype == np.uint8
        assert result.mask.dtype == bool
        assert np.array_equal(result.mask, (result.pixels != good).any(axis=2))
        assert (change(good, result) >= 8).sum() >= 8, "it can be seen"
        assert result.mask.mean() < 0.6, "most of the part is good"
    assert np.array_equal(good, kept), "the given image stays as it is"


@every_type
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_a_seed_is_a_defect(defect_type: str, height: int, width: int) -> None:
    good = texture(2, height, width)
    first, again, other = (painted(good, seed, defect_type) for seed in (3, 3, 4))
    assert np.array_equal(first.pixels, again.pixels)
    assert np.array_equal(first.mask, again.mask)
    assert not np.array_equal(first.pixels, other.pixels)


def test_a_generator_goes_on_to_another_defect() -> None:
    good, rng = texture(0), np.random.default_rng(0)
    assert not np.array_equal(paint_defect(good, rng).pixels, paint_defect(good, rng).pixels)


@every_type
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_a_defect_stays_in_the_foreground(defect_type: str, height: int, width: int) -> None:
    foreground = np.zeros((height, width), bool)
    foreground[height // 2 :, : width // 3] = True
    for seed in range(4):
        mask = painted(texture(1, height, width), seed, defect_type, foreground=foreground).mask
        assert mask.any()
        assert not (mask & ~foreground).any()


@every_type
@pytest.mark.parametrize("level", [0, 255])
def test_black_and_white_images_get_visible_defects(defect_type: str, level: int) -> None:
    for seed in range(4):
        result = painted(flat(level, 96, 64), seed, defect_type)
        assert (change(flat(level, 96, 64), result) >= 8).sum() >= 8


@every_type
@pytest.mark.parametrize("marked", [[(0, 0)], [(31, 47)], [(3, 5), (20, 40), (30, 0)]])
def test_a_few_pixels_of_foreground_will_do(
    defect_type: str, marked: list[tuple[int, int]]
) -> None:
    foreground = np.zeros((32, 48), bool)
    foreground[tuple(np.transpose(marked))] = True
    for level in (0, 255):
        mask = painted(flat(level, 32, 48), 0, defect_type, foreground=foreground).mask
        assert mask.any()
        assert not (mask & ~foreground).any()


@every_type
def test_views_and_read_only_images_work(defect_type: str) -> None:
    good = texture(3)
    view = np.flip(np.flip(good, 1).copy(), 1)
    good.flags.writeable = False
    assert np.array_equal(
        painted(view, 1, defect_type).pixels, painted(good, 1, defect_type).pixels
    )


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    defect_type=st.sampled_from(PAINTED_TYPES),
    height=st.integers(32, 90),
    width=st.integers(32, 90),
    level=st.sampled_from([None, 0, 128, 255]),
    fraction=st.sampled_from([0.02, 0.5, 1]),
)
def test_the_mask_is_exact_whatever_comes(
    seed: int, defect_type: str, height: int, width: int, level: int | None, fraction: float
) -> None:
    good = texture(0, height, width) if level is None else flat(level, height, width)
    foreground = np.random.default_rng(seed).random((height, width)) < fraction
    foreground[height // 2, width // 2] = True
    result = painted(good, seed, defect_type, foreground=foreground)
    assert result.mask.any()
    assert not (result.mask & ~foreground).any()
    assert np.array_equal(result.mask, (result.pixels != good).any(axis=2))


@every_type
def test_defects_go_from_subtle_to_glaring(defect_type: str) -> None:
    good = texture(0, 224, 224)
    results = [painted(good, seed, defect_type) for seed in range(30)]
    contrasts = [np.percentile(change(good, result)[result.mask], 90) for result in results]
    assert min(contrasts) < 30
    assert max(contrasts) > 45


def test_every_defect_type_has_the_same_chance() -> None:
    rng, good = np.random.default_rng(0), texture(0, 32, 32)
    drawn = [paint_defect(good, rng).defect_type for _ in range(200)]
    assert all(25 <= drawn.count(defect_type) <= 55 for defect_type in PAINTED_TYPES)
    assert {paint_defect(good, rng, ["stain", "scratch"]).defect_type for _ in range(20)} == {
        "stain",
        "scratch",
    }


def scratches(side: int) -> list[np.ndarray]:
    masks = [painted(flat(128, side, side), seed, "scratch").mask for seed in range(60)]
    return [mask for mask in masks if off_the_frame(mask)]


def test_scratches_are_long_and_thin() -> None:
    lengths = [float(np.hypot(*extent(mask))) for mask in scratches(224)]
    assert min(lengths) > 18
    assert max(lengths) < 160
    assert 40 < np.median(lengths) < 100
    for mask, length in zip(scratches(224), lengths, strict=True):
        assert mask.sum() / length < 8
    doubled = [float(np.hypot(*extent(mask))) for mask in scratches(448)]
    assert np.median(doubled) == pytest.approx(2 * np.median(lengths), rel=0.3)


def test_scratches_lighten_or_darken_by_20_to_60() -> None:
    shifts = []
    for seed in range(30):
        delta = painted(flat(128), seed, "scratch").pixels.astype(int) - 128
        assert (delta == delta[..., :1]).all(), "grey"
        assert (delta >= 0).all() or (delta <= 0).all()
        shifts.append(delta.flat[np.abs(delta).argmax()])
    assert max(shifts) > 20
    assert min(shifts) < -20
    assert np.abs(shifts).max() <= 60


def test_stains_are_blobs_with_soft_edges() -> None:
    areas = []
    for seed in range(60):
        result = painted(flat(128), seed, "stain")
        high, wide = extent(result.mask)
        areas.append(result.mask.sum())
        assert max(high, wide) < 2 * 20 * 1.4 * 2
        if off_the_frame(result.mask) and areas[-1] > 60:
            assert areas[-1] > 0.3 * high * wide, "neither a line nor crumbs"
            delta = change(flat(128), result)
            assert (delta[result.mask] < delta.max() / 2).mean() > 0.05
    assert min(areas) < 150
    assert max(areas) > 700


def test_textures_lie_on_spots_and_let_the_part_shine_through() -> None:
    masks, largest = [], 0
    for seed in range(80):
        result = painted(flat(0), seed, "texture")
        masks.append(result.mask)
        largest = max(largest, change(flat(0), result).max())
    fractions = np.array([mask.mean() for mask in masks])
    assert 0.03 < fractions.mean() < 0.2
    assert fractions.max() < 0.6
    assert fractions.min() < 0.02
    assert 80 < largest <= 0.8 * 255
    touched = np.mean(masks, axis=0)
    for corner in (touched[:56, :56], touched[:56, -56:], touched[-56:, :56], touched[-56:, -56:]):
        assert corner.mean() > 0.4 * touched.mean(), "anywhere"


def test_a_pasted_box_has_the_papers_size_and_is_of_the_image() -> None:
    good = np.random.default_rng(5).integers(80, 170, (200, 320, 1), np.uint8).repeat(3, axis=2)
    fractions, aspects = [], []
    for seed in range(40):
        result = painted(good, seed, "cutpaste")
        high, wide = extent(result.mask)
        rows, columns = np.nonzero(result.mask)
        box = result.pixels[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert result.mask.sum() > 0.9 * high * wide, (
            "a box, but for pixels that are equal by chance"
        )
        assert cv2.matchTemplate(good, box, cv2.TM_CCOEFF_NORMED).max() > 0.98
        assert 0.85 < box.std() / good.std() < 1.15
        assert abs(box.mean() - good.mean()) < 30
        fractions.append(high * wide / good[..., 0].size)
        aspects.append(wide / high)
    assert min(fractions) > 0.015
    assert max(fractions) < 0.155
    assert np.ptp(fractions) > 0.08
    assert min(aspects) > 0.27
    assert max(aspects) < 3.7
    assert min(aspects) < 0.6
    assert max(aspects) > 1.6


def test_scars_are_small_and_turned() -> None:
    boxes, filled = [], []
    for seed in range(40):
        mask = painted(texture(5, 224, 224), seed, "cutpaste_scar").mask
        boxes.append(max(extent(mask)))
        filled.append(mask.sum() / np.prod(extent(mask)))
    assert max(boxes) <= np.hypot(16, 25) + 3
    assert min(boxes) < 16
    assert np.median(filled) < 0.9, "a turned strip does not fill the box around it"


@pytest.mark.parametrize("types", [["dent"], ["stain", "dent"], [], "stain"])
def test_unknown_types_list_the_known_ones(types: list[str] | str) -> None:
    with pytest.raises(OptionError, match=r"texture, scratch, stain, cutpaste, cutpaste_scar"):
        paint_defect(texture(0), np.random.default_rng(0), types)


def test_an_unknown_type_is_named() -> None:
    with pytest.raises(OptionError, match="'dent'"):
        painted(texture(0), 0, "dent", "stain")


@pytest.mark.parametrize("shape", [(64, 64), (64, 60)])
def test_a_foreground_must_hold_something_and_fit(shape: tuple[int, int]) -> None:
    foreground = np.full(shape, shape != (64, 64))
    with pytest.raises(OptionError, match=f"{shape[1]}×64 with .* on 64×64"):
        painted(texture(0), 0, foreground=foreground)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, bool])
def test_only_images_of_8_bits(dtype: type) -> None:
    with pytest.raises(OptionError, match=rf"64×64 pixels of {np.dtype(dtype)}; give uint8"):
        painted(texture(0).astype(dtype), 0)


def test_only_images_of_some_size() -> None:
    with pytest.raises(OptionError, match=r"40×31 pixels of uint8.*32×32"):
        painted(texture(0, 31, 40), 0)
