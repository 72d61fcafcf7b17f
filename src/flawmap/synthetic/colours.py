"""Colours of images in grey levels: random ones, and changes of tone, contrast and hue."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from jaxtyping import Num
from numpy.random import Generator

from flawmap.runtime.image_types import ImageU8
from flawmap.synthetic.blend import FloatImage

_Colours = Num[np.ndarray, "..."]


def to_levels(colours: _Colours) -> npt.NDArray[np.uint8]:
    """The grey levels next to some values, from 0 to 255.

    Args:
        colours: of any shape; what is beyond 0…255 becomes its end.

    >>> to_levels(np.array([-3, 1.6, 300])).tolist()
    [0, 2, 255]
    """
    return np.asarray(np.clip(np.rint(colours), 0, 255), np.uint8)


def random_colours(rng: Generator, image: ImageU8, count: int) -> FloatImage:
    """Random colours, all of them paler or stronger, towards the image's mean or away from it.

    Args:
        rng: all that the colours depend on besides the image.
        image: what the colours shall go with.
        count: number of colours, >= 1.

    Returns:
        (count, 3), in grey levels.

    >>> random_colours(np.random.default_rng(0), np.zeros((32, 32, 3), np.uint8), 5).shape
    (5, 3)
    """
    mean = cv2.mean(image)[:3]
    strong = rng.uniform(0, 255, (count, 3))
    paleness = rng.uniform(0, 1)
    free = strong + paleness * (strong.mean(axis=1, keepdims=True) - strong)
    return np.asarray(mean + rng.uniform(0.1, 1) * (free - mean), np.float32)


def change_tone(image: ImageU8, gain: float, offset: float) -> ImageU8:
    """The image with each level times a gain plus an offset.

    Args:
        image: of any size; it is not changed.
        gain: 1 for none.
        offset: in grey levels.

    >>> change_tone(np.full((1, 1, 3), 100, np.uint8), 1.5, -20).tolist()
    [[[130, 130, 130]]]
    """
    return np.asarray(cv2.LUT(image, to_levels(np.arange(256) * gain + offset)), np.uint8)


def change_contrast(rng: Generator, image: ImageU8, max_change: float = 0.2) -> ImageU8:
    """The image with more or less contrast around its mean level.

    Args:
        rng: all that the change depends on besides the image.
        image: of any size; it is not changed.
        max_change: of the contrast, as a fraction of itself.

    >>> change_contrast(np.random.default_rng(0), np.full((1, 1, 3), 100, np.uint8)).tolist()
    [[[100, 100, 100]]]
    """
    gain = 1 + rng.uniform(-max_change, max_change)
    mean = float(np.mean(cv2.mean(image)[:3]))
    return change_tone(image, gain, (1 - gain) * mean)


def change_hue(rng: Generator, image: ImageU8, max_change: float = 0.2) -> ImageU8:
    """The image with other hues and another saturation.

    Args:
        rng: all that the change depends on besides the image.
        image: of any size; it is not changed.
        max_change: of the hue, as a fraction of the circle, and of the saturation, of itself.

    >>> change_hue(np.random.default_rng(0), np.full((1, 1, 3), 100, np.uint8)).tolist()
    [[[100, 100, 100]]]
    """
    steps = np.arange(256)
    turn = round(180 * rng.uniform(-max_change, max_change))  # OpenCV's circle has 180 steps
    saturation = steps * (1 + rng.uniform(-max_change, max_change))
    curves = np.stack([(steps + turn) % 180, saturation, steps], axis=1)
    hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), to_levels(curves)[None])
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)
