from __future__ import annotations

import numpy as np
import pytest

from flawmap.metrics.ranking import count_scores


def test_scores_and_labels_are_of_the_same_images() -> None:
    count_scores(np.zeros(3), np.array([0, 1, 1]))
    with pytest.raises(TypeError, match="labels"):
        count_scores(np.zeros(3), np.array([0, 1]))
    with pytest.raises(TypeError, match="scores"):
        count_scores(np.zeros((3, 1)), np.array([0, 1, 1]))
