"""Images to files."""

from __future__ import annotations

from pathlib import Path

import cv2

from flawmap.runtime.preprocess import ImageU8
from flawmap.support.atomic import atomic_write


def write_image(file: Path, image: ImageU8) -> None:
    """Write an RGB image as its suffix says."""
    _, data = cv2.imencode(file.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    with atomic_write(file) as stream:
        stream.write(data.tobytes())
