from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flawmap.errors import OptionError
from flawmap.render.encode import encode_image, write_image
from flawmap.runtime.images.decode import decode
from helpers import texture


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".bmp", ".tif"])
def test_a_lossless_format_gives_back_the_image(suffix: str) -> None:
    image = texture(0, 30, 40)
    image[:, :, 0] = 255
    np.testing.assert_array_equal(decode(encode_image(image, suffix)), image)


def test_a_lower_jpeg_quality_gives_fewer_bytes() -> None:
    image = texture(0, 60, 80)
    high, low = encode_image(image, ".jpg"), encode_image(image, ".JPEG", jpeg_quality=30)
    assert high.startswith(b"\xff\xd8")
    assert len(low) < len(high) / 2
    assert decode(low).shape == (60, 80, 3)


def test_a_format_that_is_none() -> None:
    with pytest.raises(OptionError, match=r"no image format has the suffix '\.txt'; use \.png"):
        encode_image(texture(0), ".txt")


def test_a_file_has_the_format_of_its_suffix(tmp_path: Path) -> None:
    write_image(tmp_path / "散热片" / "a.png", texture(3))
    np.testing.assert_array_equal(decode(tmp_path / "散热片" / "a.png"), texture(3))
