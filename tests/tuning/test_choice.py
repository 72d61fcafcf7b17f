from __future__ import annotations

import numpy as np
import pytest

from flawmap.runtime.preprocess import Preprocessing
from flawmap.synthetic.probes import Probe
from flawmap.tuning.candidates import Candidate
from flawmap.tuning.choice import choose, compare, reason_for
from flawmap.tuning.measures import ProbeScores
from flawmap.tuning.record import Trial
from flawmap.tuning.trial import Tried


def trial(label: str, auroc: float, image_ms: float, error: float = 0.01) -> Trial:
    shortfall = 0.9 - auroc
    return Trial(label, 64, 64, [], auroc, shortfall, error, 0.5, {"dot": 8.0}, image_ms)


def test_the_fastest_within_the_standard_error_is_chosen() -> None:
    trials = [trial("a", 0.8, 1), trial("b", 0.895, 5), trial("c", 0.891, 7), trial("d", 0.9, 9)]
    assert choose(trials) == 1
    assert "less than the highest by 0.5 points" in reason_for(trials, 1)
    assert "standard error of 1.0, and an image takes 5.0 ms instead of 9.0" in reason_for(
        trials, 1
    )


def test_the_highest_is_chosen_where_none_comes_near() -> None:
    trials = [trial("a", 0.8, 1), trial("b", 0.9, 9)]
    assert choose(trials) == 1
    assert reason_for(trials, 1) == "b: the highest image AUROC, 90.0 %"


def test_of_equally_fast_ones_the_highest_is_chosen() -> None:
    assert choose([trial("a", 0.895, 5), trial("b", 0.9, 5)]) == 1


def tried(label: str, scores: np.ndarray, good: int) -> Tried:
    probes = [None] * good + [Probe("dot", 8, 5)] * (len(scores) - good)
    sources = np.arange(len(scores)) % good
    outcome = ProbeScores(scores, sources, probes)
    return Tried(Candidate(label, 32, ("sigma=2.0",)), Preprocessing(32, 48), outcome, 3.0)


def test_differences_are_those_on_the_same_images() -> None:
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(0, 1, 40), rng.normal(1, 1, 40)])
    nearly = scores + rng.normal(0, 0.01, 80)
    trials = compare([tried("a", scores, 40), tried("b", nearly, 40), tried("c", -scores, 40)])
    best = max(range(3), key=lambda index: trials[index].auroc)
    assert best in (0, 1)
    assert trials[best].shortfall == trials[best].shortfall_error == 0
    close = trials[1 - best]
    assert close.auroc == pytest.approx(trials[best].auroc - close.shortfall)
    assert close.shortfall_error < 0.005, "the scatter that both share cancels out"
    assert trials[2].shortfall > 0.3
    assert not trials[2].ties
    assert (trials[0].height, trials[0].width, trials[0].options) == (32, 48, ["sigma=2.0"])
