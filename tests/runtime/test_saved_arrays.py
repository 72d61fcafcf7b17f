from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flawmap.errors import BundleError
from flawmap.runtime.saved_arrays import check_arrays

WHOLE: dict[str, Any] = {
    "calibration.scores": np.array([1.0, 2.0], np.float32),
    "calibration.peaks": np.array([3.0, 4.0], np.float32),
    "golden.scores": np.array([1.0]),
    "golden.maps": np.zeros((1, 32, 64), np.float32),
    "golden.pixels0": np.zeros((40, 40, 3), np.uint8),
    "graph.xml": np.zeros(5, np.uint8),
    "graph.weights": np.zeros(0, np.uint8),
}


@pytest.mark.parametrize("groups", [0, 2])
def test_a_complete_inspector_is_taken(groups: int) -> None:
    check_arrays(WHOLE, groups, map_size=(32, 64))


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("calibration.scores", np.array([])),
        ("calibration.scores", np.array([1.0])),
        ("calibration.scores", np.array([1.0, np.nan])),
        ("calibration.scores", np.array([1.0, -1.0])),
        ("calibration.scores", np.array([1, 2])),
        ("calibration.peaks", np.array([[1.0], [2.0]])),
        ("golden.scores", np.array([])),
        ("golden.scores", np.array([1.0, 2.0])),
        ("golden.scores", np.array([np.inf])),
        ("golden.maps", np.zeros((1, 64, 32))),
        ("golden.pixels0", np.zeros((40, 40, 4), np.uint8)),
        ("golden.pixels0", np.zeros((0, 40, 3), np.uint8)),
        ("golden.pixels0", np.zeros((40, 40, 3), np.uint16)),
        ("graph.xml", np.zeros((5, 1), np.uint8)),
        ("graph.weights", np.zeros(5, np.float32)),
    ],
)
def test_what_is_no_score_or_image_is_refused(name: str, array: np.ndarray) -> None:
    with pytest.raises(BundleError, match=name.partition(".")[0]):
        check_arrays(WHOLE | {name: array}, 0, map_size=(32, 64))


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_missing_is_named(name: str) -> None:
    with pytest.raises(BundleError, match=f"{name} is missing"):
        check_arrays(
            {other: WHOLE[other] for other in WHOLE if other != name}, 0, map_size=(32, 64)
        )


def test_without_a_graph_the_calibration_is_enough() -> None:
    check_arrays({name: WHOLE[name] for name in list(WHOLE)[:2]}, 0, map_size=None)
    with pytest.raises(BundleError, match="3 groups"):
        check_arrays(WHOLE, 3, map_size=None)
