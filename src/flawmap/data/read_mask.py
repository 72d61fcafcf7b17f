"""The mask of a defective image, from a file or from a folder of files."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from flawmap.data.listing import Folder
from flawmap.errors import ImageError
from flawmap.runtime.image_types import Mask
from flawmap.runtime.images.decode import decode_mask


def read_mask(path: Path) -> Mask:
    """The mask in a file, or all masks in a folder together.

    Args:
        path: of an image file that `decode_mask` reads, or of a folder of such files.

    Raises:
        ImageError: a file cannot be used, or those of a folder differ in size.
    """
    if not path.is_dir():
        return decode_mask(path)
    masks = [decode_mask(file) for file in mask_files(path)]
    if len({mask.shape for mask in masks}) != 1:
        what = "its masks differ in size" if masks else "no masks in this folder"
        raise ImageError(f"{path}: {what}")
    return np.asarray(np.logical_or.reduce(masks))


def is_marked(path: Path, *, if_unreadable: bool) -> bool:
    """Whether a mask marks something.

    Args:
        path: of a mask, as `read_mask` takes it.
        if_unreadable: the answer where it cannot be read.
    """
    try:
        return _is_marked(path, path.stat().st_mtime_ns)
    except (ImageError, OSError):
        return if_unreadable


@lru_cache(maxsize=100_000)
def _is_marked(path: Path, modified: int) -> bool:
    """Remembered, for commands ask twice."""
    del modified
    return bool(read_mask(path).any())


def mask_files(path: Path) -> list[Path]:
    """The files of a mask, by name.

    Args:
        path: of an image file, or of a folder of such files.
    """
    return [path / name for name in Folder(path).images] if path.is_dir() else [path]
