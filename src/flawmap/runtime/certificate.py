"""Golden images with their scores: proof that a machine scores as the one that fitted.

Between the two machines lie a conversion, another CPU, and other versions of OpenCV and OpenVINO.
So the images are preprocessed anew here, one of them shrunk from a size and an aspect of its own,
and scores and maps are compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from flawmap.errors import ImageError, ParityError
from flawmap.runtime.image_types import ImageArray, Preprocessed
from flawmap.runtime.mask import PartMask
from flawmap.runtime.preprocess import Preprocessing, resize, to_uint8

_ScoreFunction = Callable[[Preprocessed], tuple[float, np.ndarray]]
"""One preprocessed image to its score and anomaly map."""

TORCH_TOLERANCE = 1e-4
"""Largest accepted difference of a graph in f32 from torch, as a fraction of the largest value."""

_PerImage = Float[np.ndarray, " image"]
_Maps = Float[np.ndarray, "image height width"]

_TINY = 1e-9
_PIXELS = "golden.pixels"
_SCORES = "golden.scores"
_MAPS = "golden.maps"


@dataclass(frozen=True, eq=False)
class Certificate:
    """Golden images with their expected scores and maps.

    Args:
        images: golden images, decoded.
        scores: expected image score of each, (image,), >= 0.
        maps: expected anomaly map of each, (image, height, width) of the network's input, >= 0.

    Example:
        >>> def score(image):
        ...     return float(image.max()), image.max(axis=0)
        >>> good = np.full((64, 64, 3), 90, np.uint8)
        >>> images = golden_images(good, Preprocessing(32, 32))
        >>> certificate = Certificate.issue(images, Preprocessing(32, 32), score)
        >>> certificate.check(Preprocessing(32, 32), score, 1e-3, "this machine")
        0.0
    """

    images: list[ImageArray]
    scores: _PerImage
    maps: _Maps

    @classmethod
    def issue(
        cls, images: Sequence[ImageArray], preprocessing: Preprocessing, score: _ScoreFunction
    ) -> Certificate:
        """The certificate of some images.

        Args:
            images: what `golden_images` made of a good one.
            preprocessing: of the network's input.
            score: the function that is certified.
        """
        scored = [score(preprocessing(image)) for image in images]
        scores = np.array([image_score for image_score, _ in scored])
        return cls(list(images), scores, np.stack([distances for _, distances in scored]))

    def check(
        self, preprocessing: Preprocessing, score: _ScoreFunction, tolerance: float, where: str
    ) -> float:
        """Score the images again and compare.

        Args:
            preprocessing: the same as when the certificate was issued.
            score: the function under test.
            tolerance: largest accepted difference, as a fraction of the largest score and of the
                largest map value.
            where: what scores, for the message.

        Returns:
            The largest difference, as such a fraction.

        Raises:
            ParityError: a score or a map differs by more.
        """
        # Of all images, since one that was fitted on may score 0.
        largest_score = max(float(self.scores.max()), _TINY)
        largest_distance = max(float(self.maps.max()), _TINY)
        largest_difference = 0.0
        for index, image in enumerate(self.images):
            actual, distances = score(preprocessing(image))
            expected = float(self.scores[index])
            of_score = abs(actual - expected) / largest_score
            of_map = float(np.abs(distances - self.maps[index]).max()) / largest_distance
            largest_difference = max(largest_difference, of_score, of_map)
            # Written so that a NaN fails it too.
            if not max(of_score, of_map) <= tolerance:
                raise ParityError(
                    f"{where}: golden image {index + 1} of {len(self.images)} scores "
                    f"{actual:.6g} here and scored {expected:.6g} when this was fitted; "
                    f"{of_score:.2%} off, its map {of_map:.2%}, allowed are {tolerance:.2%}; use "
                    "precision f32, or fit again on this machine"
                )
        return largest_difference

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Images, scores and maps by name, for a saved file; `from_arrays` takes them."""
        pixels = {f"{_PIXELS}{index}": image for index, image in enumerate(self.images)}
        return {**pixels, _SCORES: self.scores, _MAPS: self.maps}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Certificate:
        """The certificate in a saved file.

        Args:
            arrays: those of the file, by name; others than `to_arrays` returned are ignored.

        Raises:
            KeyError: images, scores or maps are missing.
        """
        scores = arrays[_SCORES]
        images = [arrays[f"{_PIXELS}{index}"] for index in range(len(scores))]
        return cls(images, scores, arrays[_MAPS])


def golden_images(good: ImageArray, preprocessing: Preprocessing) -> list[ImageArray]:
    """Two images made of a good one, to certify a graph with.

    The first is longer and larger than the network's input, so that it must be resized, and
    letterboxed where images of another aspect are. The second has the input's size and is as
    anomalous as can be: upside down in reversed colours. Where there is a mask, both have its
    aspect.

    Args:
        good: a good image, decoded.
        preprocessing: of the network's input.

    Example:
        >>> good = np.full((64, 64, 3), 90, np.uint8)
        >>> [image.shape for image in golden_images(good, Preprocessing(32, 32))]
        [(40, 48, 3), (32, 32, 3)]
    """
    height, width = preprocessing.height, preprocessing.width
    longer_width = width + width // 2
    if preprocessing.letterbox_beyond is not None:
        longer_width += round(preprocessing.letterbox_beyond * longer_width)
    sizes = ((height + height // 4, longer_width), (height, width))
    large, usual = (_masked_size(*size, preprocessing.mask) for size in sizes)
    longer = resize(to_uint8(good), *large)
    reversed_colours = 255 - resize(to_uint8(good), *usual)[::-1]
    return [longer, np.ascontiguousarray(reversed_colours)]


def _masked_size(height: int, width: int, mask: PartMask | None) -> tuple[int, int]:
    """Height and width of a golden image, in pixels: of this area, in the mask's aspect."""
    if mask is None:
        return height, width
    own_height, own_width = mask.pixels.shape
    scale = math.sqrt(height * width / (own_height * own_width))
    while scale < 1:
        size = max(round(scale * own_height), 1), max(round(scale * own_width), 1)
        try:
            mask.at(*size)
        except ImageError:
            scale *= 2  # a mask that counts in a few pixels alone
        else:
            return size
    return max(round(scale * own_height), 1), max(round(scale * own_width), 1)
