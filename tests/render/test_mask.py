from __future__ import annotations

import numpy as np

from flawmap.render.heatmap import overlay
from flawmap.render.mask import dim_uncounted
from flawmap.render.preview import draw_preview
from flawmap.runtime.verdict import Verdict
from helpers import texture


def test_what_does_not_count_is_pale_and_hatched_in_strips_as_in_the_whole() -> None:
    image = texture(0, 300, 200)
    counting = np.zeros((300, 200), bool)
    counting[100:200] = True
    whole, strips = image.copy(), image.copy()
    dim_uncounted(whole, counting)
    for top in range(0, 300, 64):
        dim_uncounted(strips[top : top + 64], counting[top : top + 64], top, 200)
    assert np.array_equal(whole, strips)
    assert np.array_equal(whole[100:200], image[100:200])
    changed = whole[:100].astype(int) - image[:100]
    assert len(np.unique(changed[image[:100] == 140])) == 2


def test_an_overlay_dims_what_does_not_count() -> None:
    image = np.full((400, 120, 3), 20, np.uint8)
    counting = np.zeros((400, 120), bool)
    counting[:, 60:] = True
    verdict = Verdict(1.0, 0.5, False, np.zeros((400, 120), np.float32), counting)
    painted = overlay(image, verdict)
    assert (painted[100:, :60] > 40).all()
    assert (painted[100:, 60:] == 20).all()


def test_a_preview_is_no_larger_than_a_screen() -> None:
    image = np.full((1500, 3000, 3), 60000, np.uint16)
    counting = np.zeros((1500, 3000), bool)
    counting[:, :1500] = True
    drawn = draw_preview(image, counting=counting)
    assert drawn.shape == (1024, 2048, 3)
    assert (drawn[500, 10:1010] == 233).all()
    assert (drawn[500, 1030:] < 200).all()
