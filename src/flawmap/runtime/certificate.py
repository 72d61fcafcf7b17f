"""Golden images with what they scored.

Proof that a scorer says on this machine what it said where it learned.

Between the two lie a conversion, another CPU, other versions of OpenCV and OpenVINO. So the images
are prepared anew here, one of them shrunk from a size and a shape of its own, and scores and maps
are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from flawmap.errors import ParityError
from flawmap.runtime.graph import Precision
from flawmap.runtime.preprocess import ImageArray, Preprocessed, Preprocessing, resize, to_uint8

ScoreFunction = Callable[[Preprocessed], tuple[float, np.ndarray]]
"""One prepared image to its score and map."""

TORCH_TOLERANCE = 1e-4
"""How far a graph in f32 may be from torch, of the largest value: what is claimed for it."""

MACHINE_TOLERANCE: dict[Precision, float] = {"f32": 1e-3, "bf16": 0.15, "int8": 0.05}
"""How far a machine may be from the one that fitted."""

_TINY = 1e-9
_PIXELS, _SCORES, _MAPS = "golden.pixels", "golden.scores", "golden.maps"


@dataclass(frozen=True, eq=False)
class Certificate:
    """Images, and what each must score.

    Args:
        images: decoded ones.
        scores: of each.
        maps: of each, (height, width) of the network's input.
    """

    images: list[ImageArray]
    scores: np.ndarray
    maps: np.ndarray

    @classmethod
    def issue(
        cls, good: ImageArray, preprocessing: Preprocessing, score: ScoreFunction
    ) -> Certificate:
        """Make two of a good image, and score them.

        One longer and larger than the network's input, one upside down.

        The second is in the input's size and as odd as can be, for its colours are reversed.
        """
        height, width = preprocessing.height, preprocessing.width
        longer = resize(to_uint8(good), height + height // 4, width + width // 2)
        odd = 255 - resize(to_uint8(good), height, width)[::-1]
        images = [longer, np.ascontiguousarray(odd)]
        found = [score(preprocessing(image)) for image in images]
        return cls(images, np.array([one[0] for one in found]), np.stack([one[1] for one in found]))

    def check(
        self, preprocessing: Preprocessing, score: ScoreFunction, tolerance: float, where: str
    ) -> float:
        """Score the images again; gives the largest difference.

        Args:
            preprocessing: the same as when the certificate was made.
            score: the function under test, one preprocessed image to score and map.
            tolerance: largest accepted difference, as a fraction of the largest score and of the
                largest map value.
            where: what scores, for the message.

        Raises:
            ParityError: a score or a map differs by more.
        """
        # Of all images: one that was learned may score nothing at all.
        largest, map_largest = (max(float(one.max()), _TINY) for one in (self.scores, self.maps))
        worst = 0.0
        for number, image in enumerate(self.images):
            found, distances = score(preprocessing(image))
            said, map_said = float(self.scores[number]), self.maps[number]
            apart = abs(found - said) / largest
            map_apart = float(np.abs(distances - map_said).max()) / map_largest
            worst = max(worst, apart, map_apart)
            # Written so that a NaN fails it too.
            if not max(apart, map_apart) <= tolerance:
                raise ParityError(
                    f"{where}: golden image {number + 1} of {len(self.images)} scores "
                    f"{found:.6g} here and scored "
                    f"{said:.6g} when this was fitted; {apart:.2%} off, its map {map_apart:.2%}, "
                    f"allowed are "
                    f"{tolerance:.2%}; use precision f32, or fit again on this machine"
                )
        return worst

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Give what a saved file keeps; `from_saved` takes it back."""
        pixels = {f"{_PIXELS}{number}": image for number, image in enumerate(self.images)}
        return {**pixels, _SCORES: self.scores, _MAPS: self.maps}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Certificate:
        """Take back what `to_saved` gave."""
        scores = arrays[_SCORES]
        return cls(
            [arrays[f"{_PIXELS}{number}"] for number in range(len(scores))], scores, arrays[_MAPS]
        )
