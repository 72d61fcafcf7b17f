"""Golden pictures with what they scored: proof that a scorer says on this machine what it said where it learned.

Between the two lie a conversion, another CPU, other versions of OpenCV and OpenVINO. So the pictures are prepared anew
here, one of them shrunk from a size and a shape of its own, and scores and maps are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from flawmap.errors import ParityError
from flawmap.graph import Precision
from flawmap.prepare import Pixels, Preparation, Prepared, resize
from flawmap.render.heatmap import to_8_bit

Score = Callable[[Prepared], tuple[float, np.ndarray]]
"""One prepared picture to its score and map."""

FITTED = 1e-4
"""How far a graph in f32 may be from torch, of the largest value: what is claimed for it."""

ALLOWED: dict[Precision, float] = {"f32": 1e-3, "bf16": 0.15, "int8": 0.05}
"""How far a machine may be from the one that fitted."""

_TINY = 1e-9
_PIXELS, _SCORES, _MAPS = "golden.pixels", "golden.scores", "golden.maps"


@dataclass(frozen=True, eq=False)
class Certificate:
    """Pictures, and what each must score.

    Args:
        pictures: decoded ones.
        scores: of each.
        maps: of each, (height, width) of the network's input.
    """

    pictures: list[Pixels]
    scores: np.ndarray
    maps: np.ndarray

    @classmethod
    def issue(cls, good: Pixels, preparation: Preparation, score: Score) -> Certificate:
        """Make two of a good picture, and score them: one longer and larger than the network's input, one upside down.

        The second is in the input's size and as odd as can be, for its colours are reversed.
        """
        height, width = preparation.height, preparation.width
        longer = resize(to_8_bit(good), height + height // 4, width + width // 2)
        odd = 255 - resize(to_8_bit(good), height, width)[::-1]
        pictures = [longer, np.ascontiguousarray(odd)]
        found = [score(preparation(picture)) for picture in pictures]
        return cls(pictures, np.array([one[0] for one in found]), np.stack([one[1] for one in found]))

    def check(self, preparation: Preparation, score: Score, allowed: float, where: str) -> float:
        """Score the pictures again; gives the largest difference.

        Args:
            preparation: as when it was issued.
            score: what is to be proven.
            allowed: the largest difference, as a share of the largest score and of the largest value of a map.
            where: what scores, for the message.

        Raises:
            ParityError: a score or a map differs by more.
        """
        # Of all pictures: one that was learned may score nothing at all.
        largest, map_largest = (max(float(one.max()), _TINY) for one in (self.scores, self.maps))
        worst = 0.0
        for number, picture in enumerate(self.pictures):
            found, distances = score(preparation(picture))
            said, map_said = float(self.scores[number]), self.maps[number]
            apart = abs(found - said) / largest
            map_apart = float(np.abs(distances - map_said).max()) / map_largest
            worst = max(worst, apart, map_apart)
            # Written so that a NaN fails it too.
            if not max(apart, map_apart) <= allowed:
                raise ParityError(
                    f"{where}: golden picture {number + 1} of {len(self.pictures)} scores {found:.6g} here and scored "
                    f"{said:.6g} when this was fitted; {apart:.2%} off, its map {map_apart:.2%}, allowed are "
                    f"{allowed:.2%}; use precision f32, or fit again on this machine"
                )
        return worst

    def to_saved(self) -> dict[str, np.ndarray]:
        """Give what a saved file keeps; `from_saved` takes it back."""
        pixels = {f"{_PIXELS}{number}": picture for number, picture in enumerate(self.pictures)}
        return {**pixels, _SCORES: self.scores, _MAPS: self.maps}

    @classmethod
    def from_saved(cls, arrays: Mapping[str, np.ndarray]) -> Certificate:
        """Take back what `to_saved` gave."""
        scores = arrays[_SCORES]
        return cls([arrays[f"{_PIXELS}{number}"] for number in range(len(scores))], scores, arrays[_MAPS])
