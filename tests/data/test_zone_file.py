from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flawmap.data.polygon import fill_polygon
from flawmap.data.zone_file import check_budgets, choose_zones, read_zones, zone_names
from flawmap.errors import ImageError, OptionError
from flawmap.runtime.mask import PartMask
from helpers import save, texture

SQUARE = [[10, 5], [30, 5], [30, 25], [10, 25]]


def shape(label: Any, points: Any, **changes: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": "polygon", **changes}


def labelme(folder: Path, *shapes: Any, **changes: Any) -> Path:
    document = {"shapes": shapes, "imageHeight": 40, "imageWidth": 60, **changes}
    (folder / "regions.json").write_text(json.dumps(document))
    return folder / "regions.json"


def test_polygons_of_one_name_are_one_zone(tmp_path: Path) -> None:
    other = shape("bore", [[40, 10], [50, 30]], shape_type="rectangle")
    disc = shape("disc", [[35, 35], [35, 39]], shape_type="circle")
    zones = read_zones(labelme(tmp_path, shape("bore", SQUARE), disc, other))
    assert zones.names == ("bore", "disc")
    expected = np.zeros((40, 60), bool)
    expected[5:25, 10:30] = expected[10:30, 40:50] = True
    assert np.array_equal(zones.labels == 1, expected)
    assert (zones.labels == 2).sum() == pytest.approx(np.pi * 16, rel=0.1)


def test_coco_has_the_same_polygons(tmp_path: Path) -> None:
    flat = [float(side) for point in SQUARE for side in point]
    document = {
        "images": [{"id": 7, "width": 60, "height": 40, "file_name": "a.png"}],
        "categories": [{"id": 3, "name": "bore"}],
        "annotations": [{"image_id": 7, "category_id": 3, "segmentation": [flat]}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(document))
    first, second = read_zones(tmp_path / "coco.json"), labelme(tmp_path, shape("bore", SQUARE))
    assert first == read_zones(second)


def test_an_image_has_a_zone_for_each_colour(tmp_path: Path) -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[:10], image[30:] = (255, 0, 0), (0, 16, 255)
    zones = read_zones(save(tmp_path / "regions.png", image))
    assert zones.names == ("#0010ff", "#ff0000")
    assert np.array_equal(zones.labels[[0, 20, 39], 0], [2, 0, 1])
    assert read_zones(zones) is zones


def test_neighbours_with_a_common_edge_share_no_pixel_and_leave_none() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        (ax, ay), (bx, by), (cx, cy), (dx, dy) = rng.uniform(0, 1, (4, 2)) * 18
        corners = [(ax, ay), (20 + bx, by), (20 + cx, 20 + cy), (dx, 20 + dy)]
        middle = (19.3, 19.1)
        parts = [fill_polygon([corners[n], corners[(n + 1) % 4], middle], 40, 40) for n in range(4)]
        assert np.sum(parts, axis=0).max() == 1
        assert np.array_equal(np.any(parts, axis=0), fill_polygon(corners, 40, 40))


OVERLAPPING = [shape("bore", SQUARE), shape("face", [[20, 20], [50, 20], [50, 35], [20, 35]])]


@pytest.mark.parametrize(
    ("shapes", "changes", "reason"),
    [
        (OVERLAPPING, {}, "'bore' and 'face' overlap in 50 pixels, as at x 20, y 20"),
        ([], {}, "no regions in it; draw polygons"),
        ([shape("bore", [[5, 5], [5, 5], [5, 5]])], {}, "nothing is in the region 'bore'"),
        ([shape("bore", [[70, 5], [90, 5], [90, 9]])], {}, "nothing is in the region 'bore'"),
        ([shape("bore", [[5, 5], [9, 9]])], {}, "a polygon of 2 points"),
        ([shape("bore", SQUARE, shape_type="mask")], {}, "a mask of 4 points; draw polygons"),
        ([shape("", SQUARE)], {}, "a region is named ''"),
        ([shape(7, SQUARE)], {}, "a region is named 7"),
        ([shape("a\x1b", SQUARE)], {}, "printable"),
        ([shape("elsewhere", SQUARE)], {}, "give it another name"),
        ([shape("bore", [[1, 2, 3], *SQUARE])], {}, "no regions of LabelMe or COCO"),
        ([shape("bore", [[1, float("nan")], *SQUARE])], {}, "no regions of LabelMe or COCO"),
        ([shape("bore", "text")], {}, "no regions of LabelMe or COCO"),
        (["text"], {}, "no regions of LabelMe or COCO"),
        ([shape("bore", SQUARE)], {"imageHeight": None}, "no regions of LabelMe or COCO"),
        ([shape("bore", SQUARE)], {"imageHeight": -4}, "no regions of LabelMe or COCO"),
        ([shape("bore", SQUARE)], {"imageHeight": 10**6, "imageWidth": 10**6}, "67 million"),
        ([shape(str(n), SQUARE) for n in range(65)], {}, "65 regions; at most 64"),
    ],
)
def test_what_are_no_regions_is_refused(
    tmp_path: Path, shapes: list[Any], changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(OptionError, match=rf"regions\.json: .*{reason}"):
        read_zones(labelme(tmp_path, *shapes, **changes))


@pytest.mark.parametrize("text", ["", "[]", "7", "{}", '{"images": []}', "[" * 5000, "\xff"])
def test_other_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "regions.json").write_text(text)
    with pytest.raises(OptionError, match=r"regions\.json: "):
        read_zones(tmp_path / "regions.json")


def test_images_that_hold_no_zones_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no regions, for all of it is black"):
        read_zones(save(tmp_path / "black.png", np.zeros((40, 60, 3), np.uint8)))
    with pytest.raises(OptionError, match="colours, and at most 64 regions can be; save it as PNG"):
        read_zones(save(tmp_path / "smooth.png", texture(0)))
    with pytest.raises(ImageError, match=r"missing\.json"):
        read_zones(tmp_path / "missing.json")


def test_what_counts_and_is_in_none_is_elsewhere(tmp_path: Path) -> None:
    zones = read_zones(labelme(tmp_path, shape("bore", SQUARE)))
    images: list[Any] = [b"torn", texture(0, 80, 120)]
    assert choose_zones(zones, None, images).names == ("bore", "elsewhere")
    inner = PartMask.of(zones.labels > 0)
    assert choose_zones(zones, inner, images) is zones
    with pytest.raises(OptionError, match="nothing that the mask lets count is in the region"):
        choose_zones(zones, PartMask.of(zones.labels == 0), images)
    with pytest.raises(OptionError, match=r"64×64 pixels, .* the regions are for 60×40"):
        choose_zones(zones, None, [texture(0)])


def test_budgets_are_for_zones_that_there_are(tmp_path: Path) -> None:
    names = zone_names(read_zones(labelme(tmp_path, shape("bore", SQUARE))))
    check_budgets({"bore": 0.05, "elsewhere": 0.1}, names)
    with pytest.raises(OptionError, match="the region 'face'; there are bore, elsewhere"):
        check_budgets({"face": 0.05}, names)
