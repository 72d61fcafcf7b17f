from __future__ import annotations

import numpy as np

from flawmap.runtime.preprocess import Preprocessing
from flawmap.synthetic.defects import paint_defect
from flawmap.synthetic.preprocessed import paint_preprocessed
from helpers import texture

SIZE = Preprocessing(64, 96, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))


def painted(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    prepared = SIZE(texture(0, 64, 96))
    return prepared, *paint_preprocessed(
        prepared, np.random.default_rng(seed), SIZE.mean, SIZE.std, ("texture",)
    )


def test_an_image_is_painted_as_it_would_be_before_it_was_prepared() -> None:
    _, image, mask = painted(1)
    before = paint_defect(texture(0, 64, 96), np.random.default_rng(1), ("texture",))
    assert np.allclose(image, SIZE(before.pixels), atol=1e-5)
    assert np.array_equal(mask == 1, before.mask)


def test_nothing_changes_where_nothing_was_painted() -> None:
    before, image, mask = painted(2)
    assert mask.any()
    assert np.array_equal(before[:, mask == 0], image[:, mask == 0])
    assert image.dtype == mask.dtype == np.float32


def test_the_same_seed_paints_the_same() -> None:
    assert np.array_equal(painted(3)[1], painted(3)[1])
    assert not np.array_equal(painted(3)[1], painted(4)[1])
