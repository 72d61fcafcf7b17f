from __future__ import annotations

import cv2
import numpy as np
import pytest

from flawmap.errors import ImageError
from flawmap.report.gallery import Card, Gallery
from flawmap.runtime.inference import Inspection
from flawmap.runtime.verdict import Verdict
from helpers import texture
from records import add_to_gallery, make_record, make_verdict


def decode(data: bytes) -> np.ndarray:
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None
    return bgr[:, :, ::-1]


def red(image: np.ndarray) -> np.ndarray:
    channels = image.astype(int)
    return np.asarray(channels[..., 0] > channels[..., 1:].max(axis=2) + 60)


def test_the_gallery_keeps_the_worst_first() -> None:
    gallery = Gallery(capacity=4)
    for path, defect_type, score in [
        ("sure pass", "good", 0.5),
        ("false reject", "good", 3.0),
        ("bare pass", "good", 1.9),
        ("miss", "dent", 0.2),
        ("sure catch", "dent", 9.0),
        ("bare catch", "dent", 2.1),
    ]:
        add_to_gallery(gallery, path, defect_type, score)
    assert [card.record.image for card in gallery.cards()] == [
        "miss",
        "false reject",
        "bare pass",
        "bare catch",
    ]
    assert gallery.omitted == 2


def test_without_labels_the_gallery_keeps_the_highest_scores_and_of_equal_ones_the_first() -> None:
    gallery = Gallery(capacity=3)
    for number, score in enumerate([1.0, 3.0, 1.0, 2.0, 1.0]):
        add_to_gallery(gallery, str(number), None, score)
    assert [card.record.image for card in gallery.cards()] == ["1", "3", "0"]


def add(gallery: Gallery, image: np.ndarray, defect_type: str | None, mask: np.ndarray) -> Card:
    """Add an image of any size with its mask; its card."""
    verdict = make_verdict(3.0, image.shape[:2])
    gallery.add(make_record("a", 3.0, defect_type), inspected(image, verdict), mask)
    return gallery.cards()[0]


def inspected(image: np.ndarray | None, verdict: Verdict) -> Inspection:
    return Inspection("a", verdict, None, image, 8.5)


def test_an_image_that_is_not_kept_costs_no_thumbnail() -> None:
    gallery = Gallery(capacity=1)
    add_to_gallery(gallery, "worst", None, 5.0)
    without_image = inspected(None, make_verdict(1.0))
    gallery.add(make_record("harmless", 1.0), without_image)
    assert gallery.omitted == 1
    with pytest.raises(ValueError, match="its inspection has none"):
        gallery.add(make_record("worse", 6.0), without_image)


def test_a_gallery_without_room_keeps_nothing() -> None:
    gallery = Gallery(capacity=0)
    add_to_gallery(gallery, "a", None, 5.0)
    assert (gallery.cards(), gallery.omitted) == ([], 1)


def test_images_that_could_not_be_inspected_are_not_shown() -> None:
    gallery = Gallery()
    unreadable = Inspection("a", None, ImageError("a: the file is empty"), None, 0.0)
    gallery.add(make_record("a", None), unreadable)
    assert (gallery.cards(), gallery.omitted) == ([], 0)


@pytest.mark.parametrize(
    ("height", "width"),
    [(1000, 500), (300, 640), (320, 320), (40, 29), (4000, 30)],
)
def test_thumbnails_fit_and_are_never_enlarged(height: int, width: int) -> None:
    mask = np.zeros((height, width), bool)
    mask[0, 0] = True
    card = add(Gallery(), texture(0, height, width), "dent", mask)
    factor = min(1, 320 / max(height, width))
    expected = (max(1, round(height * factor)), max(1, round(width * factor)), 3)
    assert card.truth_outline
    thumbnails = (card.image, card.overlay, card.truth_outline)
    assert {decode(data).shape for data in thumbnails} == {expected}


@pytest.mark.parametrize("position", [(0, 0), (700, 900), (1399, 1999)])
def test_a_defect_of_one_pixel_stays_visible(position: tuple[int, int]) -> None:
    mask = np.zeros((1400, 2000), bool)
    mask[position] = True
    card = add(Gallery(), np.full((1400, 2000, 3), 128, np.uint8), "dent", mask)
    assert card.truth_outline
    red_pixels = np.argwhere(red(decode(card.truth_outline)))
    assert len(red_pixels) >= 4
    assert np.abs(red_pixels - np.array(position) * 320 / 2000).max() < 8


def test_a_good_image_has_no_outline() -> None:
    card = add(Gallery(), texture(0, 48, 64), "good", np.zeros((48, 64), bool))
    assert card.truth_outline is None


def test_small_regions_are_not_marked() -> None:
    def overlay(min_area: int) -> bytes:
        gallery = Gallery(min_area=min_area)
        return add(gallery, texture(0, 48, 64), None, np.zeros((48, 64), bool)).overlay

    assert overlay(0) == overlay(32)
    assert overlay(32) != overlay(33)


def test_an_overlay_that_was_painted_already_is_taken() -> None:
    gallery = Gallery()
    painted = np.full((48, 64, 3), (0, 200, 0), np.uint8)
    image = texture(0, 48, 64)
    gallery.add(make_record("a", 3.0), inspected(image, make_verdict(3.0)), painted=painted)
    (card,) = gallery.cards()
    assert np.abs(decode(card.overlay).astype(int) - (0, 200, 0)).max() < 4
    assert decode(card.image).shape == (48, 64, 3)


@pytest.mark.parametrize("white", [np.uint16(65535), np.float32(1)])
def test_images_of_any_depth_have_thumbnails(white: np.generic) -> None:
    image: np.ndarray = np.full((48, 64, 3), white, white.dtype)
    card = add(Gallery(), image, None, np.zeros((48, 64), bool))
    assert decode(card.image).min() >= 250
