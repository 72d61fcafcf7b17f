"""What Li et al. (2025), doi 10.19651/j.cnki.emt.2518329, print in their tables, in percent.

Their images are private, so no figure can be reproduced; they stand beside ours for comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Published(NamedTuple):
    """What the paper prints of a line for one product.

    Args:
        auroc: image AUROC in percent.
        f1: F1 in percent; the paper does not name its threshold.
    """

    auroc: float
    f1: float


PublishedLine = Mapping[str, Published]
"""By product; `mean` is the paper's own mean where it prints one, else that of its products."""

MEAN = "mean"


def _line(black: tuple[float, float], white: tuple[float, float]) -> PublishedLine:
    auroc = (black[0] + white[0]) / 2
    f1 = (black[1] + white[1]) / 2
    return {
        "Black": Published(*black),
        "White": Published(*white),
        MEAN: Published(auroc, f1),
    }


METRICS: dict[int, dict[str, PublishedLine]] = {
    1: {
        "PaDiM": _line((70.18, 89.35), (93.33, 82.78)),
        "PatchCore": _line((96.73, 96.50), (97.35, 91.37)),
        "VQ-Flow": _line((94.70, 94.49), (92.03, 95.20)),
        "CRAD": _line((93.88, 94.70), (94.20, 95.25)),
        "GLASS": _line((99.92, 98.94), (99.43, 98.27)),
        "DDAD": _line((99.37, 98.72), (98.64, 98.32)),
        "SA-PatchCore": _line((98.73, 97.12), (98.27, 95.73)),
        "Rail-PatchCore": _line((98.73, 97.71), (98.21, 98.04)),
        "Ours": _line((99.55, 99.06), (99.08, 98.59)),
    },
    3: {
        "RP": {MEAN: Published(98.53, 97.44)},
        "PCA": {MEAN: Published(98.38, 96.99)},
        "CA": {MEAN: Published(99.31, 98.82)},
    },
    4: {
        "25 %": _line((98.93, 97.92), (99.04, 98.28)),
        "50 %": _line((99.55, 99.06), (99.08, 98.59)),
        "75 %": _line((99.06, 96.92), (98.97, 97.37)),
        "100 %": _line((99.75, 95.85), (99.04, 95.11)),
    },
    5: {
        "PatchCore": {MEAN: Published(97.04, 93.93)},
        "+SA": {MEAN: Published(97.91, 96.75)},
        "+CFA": {MEAN: Published(98.28, 97.59)},
        "+TL": {MEAN: Published(97.13, 94.895)},
        "+SA+TL": {MEAN: Published(98.53, 97.44)},
        "+CFA+TL": {MEAN: Published(98.94, 98.71)},
        "+SA+CFA": {MEAN: Published(98.70, 98.05)},
        "Ours": {MEAN: Published(99.31, 98.82)},
    },
}
"""Of the tables of metrics, by their numbers: the lines by label."""

TIMES: dict[str, dict[str, tuple[float, float]]] = {
    "RP": {"Black": (0.202, 111), "White": (0.230, 907)},
    "PCA": {"Black": (0.169, 97), "White": (0.184, 724)},
    "CA": {"Black": (0.155, 82), "White": (0.163, 566)},
}
"""Of table 2: seconds per image, and time to build the bank, whose unit is not printed."""
