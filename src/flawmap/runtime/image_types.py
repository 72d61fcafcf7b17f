"""What an image is: as users have it, decoded, and ready for a network."""

from __future__ import annotations

import os
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8


@runtime_checkable
class ReadableFile(Protocol):
    """A file that is open for reading in binary mode, or a stream like one."""

    def read(self) -> Any:
        """All that is left in it."""
        ...

    def seekable(self) -> bool:
        """Whether it can go back."""
        ...

    def seek(self, offset: int, whence: int, /) -> Any:
        """Go back."""
        ...


@runtime_checkable
class PillowImage(Protocol):
    """An image of Pillow, which need not be imported for this."""

    @property
    def mode(self) -> str:
        """What the channels mean."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, in pixels."""
        ...

    def getexif(self) -> Any:
        """The EXIF tags."""
        ...

    def convert(self, mode: str) -> Any:
        """The image in another mode."""
        ...


@runtime_checkable
class TorchTensor(Protocol):
    """A tensor of torch, which need not be installed."""

    shape: Any
    dtype: Any

    def detach(self) -> Any:
        """The tensor without its gradient."""
        ...


ImageInput = (
    str
    | os.PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | np.ndarray
    | ReadableFile
    | PillowImage
    | TorchTensor
)
"""An image as users have it.

A path; the bytes of a file, or an open one; an array (height, width[, 1 | 3 | 4]) in RGB order; a
Pillow image; a tensor (height, width), (1 | 3 | 4, height, width) or (height, width, 1 | 3 | 4).
"""

ImageArray = Shaped[np.ndarray, "_height _width 3"]
"""A decoded image: RGB; uint8 in 0…255, uint16 in 0…65535, or float32 in 0…1."""

ImageU8 = UInt8[np.ndarray, "_height _width 3"]
"""A decoded image with 8 bits: RGB, 0…255."""

ImageOrMap = Shaped[np.ndarray, "_height _width ..."]
"""An image or a map."""

Preprocessed = Float[np.ndarray, "3 _height _width"]
"""What a network reads: RGB, resized, normalised, float32."""

Mask = Bool[np.ndarray, "height width"]
"""True where an image is defective."""
