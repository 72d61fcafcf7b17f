"""Settings chosen for a part: tried on held-out good images with painted defects.

Heckler and König 2024 ("Feature selection for unsupervised anomaly detection and localization using
synthetic defects") choose layers of a backbone that way.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from flawmap.data.auto_size import InputSize
from flawmap.data.training_set import GoodImages, TrainingSet
from flawmap.errors import DatasetError, OptionError
from flawmap.methods import get_preset, make_method
from flawmap.methods.base import Method
from flawmap.runtime.image_types import ImageInput
from flawmap.support.progress import emit
from flawmap.tuning.budget import Clock, TimeBudget
from flawmap.tuning.candidates import Candidate, by_fit, candidates_for
from flawmap.tuning.choice import choose, compare, reason_for
from flawmap.tuning.measures import FALSE_REJECTS
from flawmap.tuning.probing import CONTRAST, ProbeSet, make_probe_set
from flawmap.tuning.record import TuningRecord
from flawmap.tuning.trial import Tried, try_together

_HELD_OUT_FRACTION = 0.3

_MAX_FITTED, _MAX_HELD_OUT = 140, 60
"""Of more images a trial would take long, and choose hardly better."""

_MIN_HELD_OUT = math.ceil(1 / FALSE_REJECTS) - 1
"""Fewer good images have no rank that stands for 5 % of them."""

_MIN_IMAGES = math.ceil(_MIN_HELD_OUT / _HELD_OUT_FRACTION)


class TuningResult(NamedTuple):
    """The settings that a tuning chose.

    Args:
        method: with the chosen options, not fitted.
        size: of the network's input, as `Inspector` takes it.
        record: what was tried, and why this was chosen.
    """

    method: Method
    size: InputSize | None
    record: TuningRecord


def tune(
    good: str | Path | Sequence[ImageInput] | GoodImages,
    minutes: float,
    method: str | Method = "flawmap",
    *,
    size: InputSize | None = None,
    candidates: Sequence[Candidate] | None = None,
    white: int | None = None,
    clock: Clock = time.monotonic,
) -> TuningResult:
    """Try settings on good images with painted defects, and choose.

    Of the good images 30 % are held out, whole groups where there are groups. Each candidate is
    fitted to the others and scores those held out, as they are and with painted defects of graded
    sizes. Chosen is the highest image AUROC; of those that are less by no more than one standard
    error of the difference, the fastest.

    Args:
        good: a data set as `Inspector.fit` takes it, without the images of its calibration split;
            or the images.
        minutes: time to try settings in, more than 0. The first candidate is always tried; others
            as long as they are expected to end in time.
        method: whose options are tried: a name among `flawmap.METHODS`, or a method.
        size: of the network's input to begin with, as `Inspector` takes it.
        candidates: settings to try: first of all the first, then those that differ least from the
            best so far, the cheapest first. None for `candidates_for` the method.
        white: the level of white in images of 16 bits, as `Inspector` takes it.
        clock: time in seconds from any start.

    Raises:
        OptionError: no time, no candidates, or a method that is trained.
        DatasetError: too few good images, or too few in groups of their own.

    Example:
        >>> noise = np.random.default_rng(0)
        >>> good = list(noise.integers(100, 150, (70, 48, 48, 3), np.uint8))
        >>> method = make_method("patchcore", backbone="test_resnet", weights="random")
        >>> tuned = tune(good, minutes=1, method=method, candidates=[Candidate("small", 32)])
        >>> Inspector(tuned.method, size=tuned.size).fit(good)  # doctest: +SKIP
    """
    if isinstance(method, str):
        size = get_preset(method).size if size is None else size
        method = make_method(method)
    check_tuning(minutes, method)
    budget = TimeBudget(minutes, clock)
    groups = by_fit(candidates_for(method, size) if candidates is None else candidates)
    if not groups:
        raise OptionError("there are no candidates to try; give one or more")
    images, probe_set = _split(good, method.seed, white)
    tried, untried = _try_in_time(groups, budget, clock, _Setup(method, images, probe_set))
    trials = compare(tried)
    chosen = choose(trials)
    record = TuningRecord(
        minutes=minutes,
        seconds=budget.elapsed,
        fitted_images=len(images),
        held_out_images=len(probe_set.images),
        painted_defects=probe_set.count,
        contrast=CONTRAST,
        trials=trials,
        chosen=chosen,
        reason=reason_for(trials, chosen),
        untried=untried,
    )
    choice = tried[chosen].candidate
    return TuningResult(choice.apply_to(replace(method)), choice.size, record)


def check_tuning(minutes: float, method: Method) -> None:
    """Nothing, where a method can be tuned in that time.

    Args:
        minutes: time to try settings in.
        method: whose options are tried.

    Raises:
        OptionError: no time, or a method that is trained.

    Example:
        >>> check_tuning(0, make_method("patchcore"))
        Traceback (most recent call last):
        flawmap.errors.OptionError: 0 minutes to tune in; give more than 0, such as 5
    """
    TimeBudget(minutes)
    if method.is_trained or method.holdout_fraction:
        raise OptionError(
            f"{type(method).__name__} is trained, which takes too long to be tried many times; "
            "tune a method that is not, such as patchcore or padim"
        )


class _Setup(NamedTuple):
    """What all trials have in common."""

    method: Method
    images: list[ImageInput]
    probe_set: ProbeSet


def _try_in_time(
    groups: Sequence[list[Candidate]], budget: TimeBudget, clock: Clock, setup: _Setup
) -> tuple[list[Tried], list[str]]:
    """What was tried, and the labels of what there was no time for."""
    tried: list[Tried] = []
    untried: list[str] = []
    remaining = list(groups)
    while remaining:
        group = _next(remaining, tried, setup.method)
        remaining.remove(group)
        work = group[0].relative_work(setup.method)
        if not budget.allows(work):
            untried.append(group[0].label)
            continue
        started = clock()
        try:
            outcomes = try_together(setup.method, group, setup.images, setup.probe_set)
        except OptionError as error:
            if not tried:
                raise
            emit(f"{group[0].label} cannot be tried: {error}")
            continue
        budget.add(work, clock() - started)
        emit(_describe(outcomes))
        tried += outcomes
    return tried, untried


def _next(
    groups: Sequence[list[Candidate]], tried: Sequence[Tried], method: Method
) -> list[Candidate]:
    """What differs least from the best so far; of those the cheapest."""
    if not tried:
        return groups[0]
    best = max(tried, key=lambda outcome: outcome.scores.auroc()).candidate

    def promise(group: list[Candidate]) -> tuple[int, float]:
        candidate = group[0]
        changes = set(candidate.fit_options) ^ set(best.fit_options)
        return (candidate.size != best.size) + len(changes), candidate.relative_work(method)

    return min(groups, key=promise)


def _split(
    good: str | Path | Sequence[ImageInput] | GoodImages, seed: int, white: int | None
) -> tuple[list[ImageInput], ProbeSet]:
    """Images to fit to, and others with what is painted on them."""
    images, groups = _good_images(good)
    if len(images) < _MIN_IMAGES:
        raise DatasetError(
            f"tuning takes {_MIN_IMAGES} good images or more, of which it holds out "
            f"{_MIN_HELD_OUT + 1}; there are {len(images)}. Add some, or fit without tuning"
        )
    training_set = TrainingSet.of_images(images, groups).hold_out(_HELD_OUT_FRACTION, seed=seed)
    fitted = _sample(training_set.training.images, _MAX_FITTED, seed)
    held_out = _sample(training_set.calibration.images, _MAX_HELD_OUT, seed)
    probe_set = make_probe_set(held_out, seed, white=white)
    if min(len(fitted), len(probe_set.images)) < _MIN_HELD_OUT:
        raise DatasetError(
            f"of {len(images)} good images in {len(set(groups)) or len(images)} groups "
            f"{len(probe_set.images)} can be read and held out, {len(fitted)} remain; tuning takes "
            f"{_MIN_HELD_OUT} of both, so use more or smaller groups, or fit without tuning"
        )
    return fitted, probe_set


def _good_images(good: str | Path | Sequence[ImageInput] | GoodImages) -> GoodImages:
    if isinstance(good, GoodImages):
        return good
    if isinstance(good, str | Path):
        return TrainingSet.of(Path(good)).training
    return GoodImages(list(good), [])


def _sample(images: Sequence[ImageInput], count: int, seed: int) -> list[ImageInput]:
    """So many of the images at most, in their order."""
    order = np.random.default_rng(seed).permutation(len(images))[:count]
    return [images[index] for index in sorted(order.tolist())]


def _describe(outcomes: Sequence[Tried]) -> str:
    best = max(outcomes, key=lambda outcome: outcome.scores.auroc())
    auroc = 100 * best.scores.auroc()
    return f"tried {best.candidate.label}: image AUROC {auroc:.1f} %, {best.image_ms:.1f} ms"
