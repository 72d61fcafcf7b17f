from __future__ import annotations

import base64
from dataclasses import asdict

import numpy as np
import pytest

from flawmap.errors import ImageError, OptionError
from flawmap.runtime.grey_png import encode_grey
from flawmap.runtime.mask import PartMask
from flawmap.runtime.patch_scoring import PatchScoring
from flawmap.runtime.preprocess import Preprocessing
from flawmap.runtime.zone_layout import zone_layout
from flawmap.runtime.zones import Zones

LABELS = np.zeros((40, 60), np.uint8)
LABELS[:20, :30], LABELS[20:, :30], LABELS[5:9, 40:50] = 1, 2, 3
NAMES = ("bore", "face", "rim")
ZONES = Zones.of(LABELS, NAMES)


def test_zones_are_a_grey_png_that_comes_back() -> None:
    assert np.array_equal(ZONES.labels, LABELS)
    assert asdict(ZONES) == {"png": ZONES.png, "names": NAMES}
    assert hash(ZONES) == hash(Zones(ZONES.png, NAMES))
    assert ZONES.png not in repr(ZONES)
    assert np.array_equal(ZONES.at(80, 120)[::2, ::2], LABELS)
    with pytest.raises(ImageError, match=r"60×60 pixels, .* the regions are for 60×40"):
        ZONES.at(60, 60)


@pytest.mark.parametrize(
    ("png", "names", "reason"),
    [
        ("no base64!", NAMES, "the map of regions is no PNG"),
        (ZONES.png[:80], NAMES, "the map of regions"),
        (ZONES.png, (), "0 regions; use 1 to 64"),
        (ZONES.png, NAMES[:2], "a region 3, and 2 have names"),
        (ZONES.png, (*NAMES, "more"), "nothing is in the region 'more'"),
        (ZONES.png, ("bore", "bore", "rim"), "a name of its own"),
        (ZONES.png, ("bore", "", "rim"), "a name of its own"),
        (ZONES.png, ("bore", "a\x1b[31m", "rim"), "printable"),
        (ZONES.png, ("bore", "x" * 101, "rim"), "printable"),
        (encode_grey(np.zeros((9, 9), np.uint8)), ("bore",), "nothing is in the region 'bore'"),
    ],
)
def test_what_are_no_zones_is_refused(png: str, names: tuple[str, ...], reason: str) -> None:
    with pytest.raises(OptionError, match=reason):
        Zones(png, names)


def test_damaged_zones_are_refused_whatever_byte_is_wrong() -> None:
    data = base64.b64decode(ZONES.png)
    for position in range(0, len(data), 3):
        changed = bytearray(data)
        changed[position] ^= 0x41
        with pytest.raises(OptionError, match="region"):
            Zones(base64.b64encode(changed).decode(), NAMES)


def tiled(mask: PartMask | None = None) -> Preprocessing:
    return Preprocessing(32, 32, multiple=8, tile_overlap=0.25, zones=ZONES, mask=mask)


def test_a_patch_is_of_the_zone_that_has_most_of_it() -> None:
    layout = zone_layout(tiled(), 40, 60)
    assert layout.cells.shape == (3, 5, 8)
    expected = np.zeros((5, 8), bool)
    expected[:3, :4] = True  # rows 16 to 23 are half and half: the first has it
    assert np.array_equal(layout.cells[0], expected)
    expected = np.zeros((5, 8), bool)
    expected[3:, :4] = True
    assert np.array_equal(layout.cells[1], expected)
    assert np.array_equal(np.unique(layout.labels), [0, 1, 2, 3])


def test_a_small_zone_has_the_patches_that_it_is_in() -> None:
    labels = np.ones((40, 40), np.uint8)
    labels[7:9, 7:9] = 2
    zones = Zones.of(labels, ("all", "point"))
    cells = zone_layout(Preprocessing(40, 40, multiple=8, zones=zones), 40, 40).cells
    assert cells[1, :2, :2].all()
    assert cells[1].sum() == 4
    assert cells[0].all()


def test_zones_of_an_image_that_is_resized_are_those_of_its_own_pixels() -> None:
    whole = Preprocessing(64, 64, letterbox_beyond=0.1, multiple=8, zones=ZONES)
    small, large = zone_layout(whole, 40, 60), zone_layout(whole, 400, 600)
    height, width = whole.placement(40, 60)
    assert small.cells.shape == (3, height // 8, width // 8)
    assert np.array_equal(small.cells, large.cells)


def test_what_does_not_count_is_in_no_zone() -> None:
    counting = np.ones((40, 60), bool)
    counting[:, :16] = False
    layout = zone_layout(tiled(mask=PartMask.of(counting)), 40, 60)
    assert not layout.labels[:, :16].any()
    assert not layout.cells[:, :, :2].any()
    counting[5:9, 40:50] = False
    with pytest.raises(ImageError, match="of 60×40 pixels none that counts is in the region 'rim'"):
        zone_layout(tiled(mask=PartMask.of(counting)), 40, 60)


def test_each_zone_has_its_score_its_peak_and_its_limit() -> None:
    distances = np.zeros((5, 8), np.float32)
    distances[0, 0], distances[4, 1], distances[1, 5] = 3, 2, 5
    scoring = PatchScoring(0.0, sigma=0.0)
    scored = scoring(distances, (40, 60), tiled())
    assert scored.by_zone == (3, 2, 5)
    assert scored.score == 5
    peaks = scoring.with_peaks(distances, (40, 60), tiled())
    assert peaks.scores == scored.by_zone
    for number, peak in enumerate(peaks.peaks, 1):
        assert peak == scored.pixels[np.equal(LABELS, number)].max()
    pixels = scored.pixels.copy()
    zone_layout(tiled(), 40, 60).divide(pixels, np.array([2.0, 4.0, 8.0]))
    for number, limit in enumerate((2.0, 4.0, 8.0), 1):
        inside = np.equal(LABELS, number)
        assert np.allclose(pixels[inside], scored.pixels[inside] / limit)
    assert not pixels[LABELS == 0].any()


def test_a_share_is_of_the_zones_own_patches() -> None:
    distances = np.ones((5, 8), np.float32)
    distances[0, :2] = 7
    by_zone = PatchScoring(0.25, sigma=0.0)(distances, (40, 60), tiled()).by_zone
    # Of 12 patches three, of 8 two.
    assert by_zone[:2] == (5.0, 1.0)


def test_zones_need_whole_patches() -> None:
    with pytest.raises(OptionError, match=r"with regions.* use multiples of 8, as 64x96"):
        Preprocessing(66, 96, multiple=8, zones=ZONES)
