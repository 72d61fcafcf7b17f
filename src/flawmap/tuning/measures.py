"""How well settings tell painted defects from the good images that they were painted on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
import numpy.typing as npt

from flawmap.metrics.ranking import auroc, count_scores
from flawmap.metrics.shapes import ImageScores
from flawmap.synthetic.probes import Probe

FALSE_REJECTS = 0.05
"""Fraction of the held-out good images that may be rejected where defects are counted as found."""

_FOUND = 0.9
"""A size is found where so many of its probes are."""

_RESAMPLES = 500


@dataclass(frozen=True, eq=False)
class ProbeScores:
    """The image scores of held-out good images, with and without painted defects.

    Args:
        scores: (image,).
        sources: (image,), index of the good image.
        probes: what is painted on each; None for nothing.

    Example:
        >>> probe = Probe("dot", size=6, contrast=4)
        >>> probes = [None, probe, None]
        >>> scores = ProbeScores(np.array([1.0, 3.0, 2.0]), np.array([0, 0, 1]), probes)
        >>> scores.auroc()
        1.0
    """

    scores: ImageScores
    sources: npt.NDArray[np.int64]
    probes: Sequence[Probe | None]

    def auroc(self) -> float:
        """Area under the ROC curve of painted against good images."""
        return float(auroc(count_scores(self.scores, self._labels)))

    def resampled_auroc(self, seed: int = 0) -> npt.NDArray[np.float64]:
        """The same over resamples of the good images, each with its painted copies.

        Args:
            seed: of the resamples; two settings are compared on the same ones.

        Returns:
            (resample,).
        """
        count = int(self.sources.max()) + 1
        rng = np.random.default_rng(seed)
        drawn = rng.multinomial(count, np.full(count, 1 / count), _RESAMPLES)
        counts = count_scores(self.scores, self._labels, drawn[:, self.sources])
        return np.asarray(auroc(counts))

    def found(self) -> npt.NDArray[np.bool_]:
        """Whether each painted defect is found at 5 % false rejects, by rank among the good.

        Returns:
            (probe,), in the order of the images.
        """
        good = np.sort(self.scores[self._labels == 0])
        painted = self.scores[self._labels == 1]
        at_least = len(good) - np.searchsorted(good, painted, side="left")
        return np.asarray((1 + at_least) / (1 + len(good)) <= FALSE_REJECTS)

    def smallest_found(self) -> dict[str, float | None]:
        """The smallest size of each kind that is found, as are all larger ones.

        Returns:
            In pixels of the image, by kind; None where not even the largest is found.
        """
        found = self.found()
        painted = [probe for probe in self.probes if probe is not None]
        by_kind: dict[str, dict[float, list[bool]]] = {}
        for probe, is_found in zip(painted, found.tolist(), strict=True):
            by_kind.setdefault(probe.kind, {}).setdefault(probe.size, []).append(is_found)
        return {kind: _smallest(by_size) for kind, by_size in by_kind.items()}

    @property
    def _labels(self) -> npt.NDArray[np.int64]:
        return np.array([probe is not None for probe in self.probes], np.int64)


def _smallest(found_by_size: Mapping[float, Sequence[bool]]) -> float | None:
    from_largest = sorted(found_by_size, reverse=True)
    enough = takewhile(lambda size: np.mean(found_by_size[size]) >= _FOUND - 1e-9, from_largest)
    return min(enough, default=None)
