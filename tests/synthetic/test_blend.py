from __future__ import annotations

import numpy as np

from flawmap.synthetic.blend import alpha_blend

BELOW = np.full((2, 3, 3), 100, np.float32)


def test_a_pixel_is_a_fraction_of_what_covers_it() -> None:
    above = np.full((2, 3, 3), 20, np.float32)
    alpha = np.array([[0, 0.25, 1], [0.5, 0, 0]], np.float32)
    blended = alpha_blend(BELOW, above, alpha)
    assert blended[..., 0].tolist() == [[100, 80, 20], [60, 100, 100]]
    assert blended.dtype == np.float32
    assert (BELOW == 100).all()


def test_a_colour_covers_each_channel_with_its_own_level() -> None:
    blended = alpha_blend(BELOW, (0, 100, 200), np.full((2, 3), 0.5, np.float32))
    assert (blended == (50, 100, 150)).all()
