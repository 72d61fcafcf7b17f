from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flawmap.data.training_set import TrainingSet
from flawmap.errors import DatasetError
from flawmap.methods import make_method
from flawmap.methods.base import Method
from flawmap.methods.calibrated_fit import CalibratedFit, fit_and_calibrate
from flawmap.runtime.calibration import Budget, CalibrationSettings
from flawmap.runtime.certificate import golden_images
from flawmap.runtime.image_types import ImageInput
from flawmap.runtime.preprocess import Preprocessing
from helpers import texture

GOOD: list[ImageInput] = [texture(seed) for seed in range(5)]
BROKEN = b"no image"


def method() -> Method:
    options: dict[str, Any] = {"backbone": "test_resnet", "weights": "random", "coreset": 1.0}
    return make_method("patchcore", **options)


def fit(training_set: TrainingSet) -> CalibratedFit:
    budgets = CalibrationSettings(Budget(0.1))
    return fit_and_calibrate(method(), training_set, Preprocessing(64, 64), budgets)


def test_leave_out_scores_all_readable_images() -> None:
    fitted = fit(TrainingSet([BROKEN, *GOOD], groups=["a", "a", "a", "b", "b", "c"]))
    assert len(fitted.calibration.scores) == 5
    assert fitted.calibration.groups == ("a", "a", "b", "b", "c")
    assert fitted.fitted_images == 5
    assert len(fitted.unreadable) == 1
    expected = golden_images(texture(0), Preprocessing(64, 64))
    for golden, image in zip(fitted.golden, expected, strict=True):
        np.testing.assert_array_equal(golden, image)


def test_held_out_images_are_scored_and_not_fitted_to() -> None:
    fitted = fit(TrainingSet([BROKEN, *GOOD, BROKEN], held_out=[4, 5, 6]))
    assert len(fitted.calibration.scores) == 2
    assert fitted.calibration.scores.min() > 0
    assert fitted.fitted_images == 3
    assert len(fitted.unreadable) == 2


def test_too_few_readable_images_are_refused() -> None:
    with pytest.raises(DatasetError, match="none of the 1 images held out for calibration"):
        fit(TrainingSet([*GOOD, BROKEN], held_out=[5]))
