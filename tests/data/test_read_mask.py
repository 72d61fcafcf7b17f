from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flawmap.data.read_mask import read_mask
from flawmap.errors import ImageError
from helpers import save


def test_the_masks_of_a_folder_are_one(tmp_path: Path) -> None:
    parts = np.zeros((2, 10, 12), np.uint8)
    parts[0, 2, 3] = parts[1, 7, 8] = 255
    for number, part in enumerate(parts):
        save(tmp_path / f"{number}.png", part)
    (tmp_path / "defects_config.json").touch()
    assert np.argwhere(read_mask(tmp_path)).tolist() == [[2, 3], [7, 8]]
    assert np.argwhere(read_mask(tmp_path / "0.png")).tolist() == [[2, 3]]
    save(tmp_path / "2.png", parts[0, :9])
    with pytest.raises(ImageError, match="its masks differ in size"):
        read_mask(tmp_path)


def test_a_folder_without_masks(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no masks in this folder"):
        read_mask(tmp_path)
