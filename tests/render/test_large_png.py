from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from flawmap.render import large_png
from flawmap.render.large_png import encode_large_png
from flawmap.runtime.images.decode import decode


@pytest.mark.parametrize("shape", [(37, 91), (1, 1), (8, 1), (500, 3)])
def test_strips_make_one_image(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_png, "_STRIP_BYTES", 1000)
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    data = encode_large_png(image)
    with Image.open(io.BytesIO(data)) as opened:
        assert np.array_equal(np.asarray(opened), image)
    if min(shape) >= 8:
        assert np.array_equal(decode(data), image)


def test_views_are_encoded_as_they_look() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    assert encode_large_png(image[:, ::-1]) == encode_large_png(image[:, ::-1].copy())
