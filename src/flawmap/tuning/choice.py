"""Which of the tried settings to take, and why."""

from __future__ import annotations

from collections.abc import Sequence

from flawmap.tuning.record import Trial
from flawmap.tuning.trial import Tried


def compare(tried: Sequence[Tried]) -> list[Trial]:
    """What came of each setting, beside the one with the highest image AUROC.

    Args:
        tried: what was tried, on the same images; one or more.

    Returns:
        In the same order.
    """
    aurocs = [outcome.scores.auroc() for outcome in tried]
    best = max(range(len(tried)), key=aurocs.__getitem__)
    resampled_best = tried[best].scores.resampled_auroc()
    trials = []
    for outcome, auroc in zip(tried, aurocs, strict=True):
        # Of differences on the same resamples: what is hard for both settings cancels out.
        differences = resampled_best - outcome.scores.resampled_auroc()
        trial = Trial(
            label=outcome.candidate.label,
            height=outcome.preprocessing.height,
            width=outcome.preprocessing.width,
            options=list(outcome.candidate.options),
            auroc=auroc,
            shortfall=aurocs[best] - auroc,
            shortfall_error=float(differences.std()),
            found=float(outcome.scores.found().mean()),
            smallest=outcome.scores.smallest_found(),
            image_ms=outcome.image_ms,
        )
        trials.append(trial)
    return trials


def choose(trials: Sequence[Trial]) -> int:
    """Index of the fastest trial that is as good as the best.

    As good is a highest image AUROC, or one that is less by no more than one standard error of the
    difference. Of equally fast ones it is that with the highest.

    Args:
        trials: one or more.

    Example:
        >>> best = Trial("448 px", 448, 448, [], 0.92, 0.0, 0.0, 0.6, {}, 40.0)
        >>> ties = Trial("320 px", 320, 320, [], 0.915, 0.005, 0.006, 0.6, {}, 20.0)
        >>> worse = Trial("224 px", 224, 224, [], 0.90, 0.02, 0.006, 0.5, {}, 10.0)
        >>> choose([worse, ties, best])
        1
    """
    good_enough = [index for index, trial in enumerate(trials) if trial.ties]
    return min(good_enough, key=lambda index: (trials[index].image_ms, -trials[index].auroc))


def reason_for(trials: Sequence[Trial], chosen: int) -> str:
    """Why a trial was chosen, in a sentence.

    Args:
        trials: one or more.
        chosen: index of what `choose` gave.

    Example:
        >>> trial = Trial("as set", 224, 224, [], 0.9, 0.0, 0.0, 0.5, {}, 12.0)
        >>> reason_for([trial], 0)
        'as set: the time was enough for nothing else'
    """
    choice = trials[chosen]
    if len(trials) == 1:
        return f"{choice.label}: the time was enough for nothing else"
    if not choice.shortfall:
        return f"{choice.label}: the highest image AUROC, {100 * choice.auroc:.1f} %"
    best = max(trials, key=lambda trial: trial.auroc)
    text = (
        f"{choice.label}: its image AUROC, {100 * choice.auroc:.1f} %, is less than the highest by "
        f"{100 * choice.shortfall:.1f} points, which is within the standard error of "
        f"{100 * choice.shortfall_error:.1f}"
    )
    if choice.image_ms < best.image_ms:
        text += f", and an image takes {choice.image_ms:.1f} ms instead of {best.image_ms:.1f}"
    return text
