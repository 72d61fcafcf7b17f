"""Fitting a method to a training set, with the scores that set its threshold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from flawmap.data.training_set import GoodImages, TrainingSet
from flawmap.data.wording import first_errors
from flawmap.engine.batches import Batches
from flawmap.errors import DatasetError
from flawmap.methods.base import Method
from flawmap.methods.tiled_method import score_held_out
from flawmap.runtime.calibration import Calibration, CalibrationSettings
from flawmap.runtime.image_types import ImageArray
from flawmap.runtime.images.decode import UnreadableImage
from flawmap.runtime.preprocess import Preprocessing
from flawmap.runtime.zone_calibration import calibrate


class CalibratedFit(NamedTuple):
    """The result of a fit, beside the fitted method.

    Args:
        calibration: scores of good images that the method was not fitted to, and the threshold.
        fitted_images: number of images that the method was fitted to.
        unreadable: images that were skipped, and why.
        golden: made of the first readable image that the method was fitted to, for a certificate.
        depth_hint: what to do about images whose values use fewer bits than they have.
        file_hashes: SHA-256 of all image files that were read.
    """

    calibration: Calibration
    fitted_images: int
    unreadable: list[UnreadableImage]
    golden: list[ImageArray]
    depth_hint: str = ""
    file_hashes: frozenset[str] = frozenset()


def fit_and_calibrate(
    method: Method,
    training_set: TrainingSet,
    preprocessing: Preprocessing,
    budgets: CalibrationSettings,
    checkpoint_dir: Path | None = None,
) -> CalibratedFit:
    """Fit a method, and score good images that it was not fitted to.

    These are the held-out images where there are some, by split calibration, and else all of them,
    each scored as if it had not been among the others, by leave-out.

    Args:
        method: the method, which is fitted afterwards.
        training_set: the good images.
        preprocessing: how images are made ready for the network.
        budgets: which fractions of good parts may be rejected; the fit fills in the rest.
        checkpoint_dir: folder where a training keeps checkpoints to resume from; None for none.

    Raises:
        DatasetError: too few images can be read.

    Example:
        >>> from flawmap.methods import make_method
        >>> from flawmap.runtime.calibration import Budget
        >>> good = [np.full((64, 64, 3), level, np.uint8) for level in (100, 110, 120, 130)]
        >>> method = make_method("patchcore", backbone="test_resnet", weights="random", coreset=1.0)
        >>> training_set = TrainingSet.of_images(good).hold_out(0.25, seed=0)
        >>> budgets = CalibrationSettings(Budget(0.1))
        >>> fitted = fit_and_calibrate(method, training_set, Preprocessing(64, 64), budgets)
        >>> fitted.fitted_images
        3
    """
    training = _batches(training_set.training, preprocessing)
    calibrating = training
    if training_set.held_out:
        calibrating = _batches(training_set.calibration, preprocessing)
    try:
        if training_set.held_out:
            method.fit(training, checkpoint_dir)
            scores = score_held_out(method, calibrating)
        else:
            scores = method.cross_fit_scores(training, checkpoint_dir)
        readable = training.readable_indices
        training_set.check_readable(len(readable), len(calibrating.readable_indices))
    except DatasetError as error:
        reasons = first_errors([image.error for image in _unreadable(training, calibrating)])
        raise DatasetError(f"{error}{reasons}") from error
    settings = replace(
        budgets,
        exact=bool(training_set.held_out),
        groups=tuple(calibrating.readable_groups),
    )
    calibration = calibrate(settings, scores.image.numpy(), scores.peak.numpy())
    unreadable = _unreadable(training, calibrating)
    hint = training.depth_hint or calibrating.depth_hint
    hashes = frozenset(training.file_hashes() | calibrating.file_hashes())
    return CalibratedFit(calibration, len(readable), unreadable, training.golden(), hint, hashes)


def _unreadable(training: Batches, calibrating: Batches) -> list[UnreadableImage]:
    if calibrating is training:
        return training.unreadable
    return training.unreadable + calibrating.unreadable


def _batches(good: GoodImages, preprocessing: Preprocessing) -> Batches:
    return Batches(good.images, preprocessing, groups=good.groups)
