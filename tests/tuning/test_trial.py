from __future__ import annotations

import numpy as np
import pytest

from flawmap.errors import NotFitted
from flawmap.inspector import Inspector
from flawmap.methods import make_method
from flawmap.tuning.candidates import Candidate
from flawmap.tuning.probing import make_probe_set
from flawmap.tuning.trial import try_together
from helpers import TINY, texture

SCORES = [
    Candidate("as set", 64),
    Candidate("top 5 %", 64, ("image_score=TopShare", "image_score.fraction=0.05")),
]


def test_scores_are_those_of_an_inspector_with_the_same_settings() -> None:
    method = make_method("patchcore", **TINY)
    good = [texture(seed) for seed in range(12)]
    probe_set = make_probe_set([texture(seed) for seed in range(50, 54)], seed=0)
    outcomes = try_together(method, SCORES, good, probe_set)
    versions = list(probe_set)
    assert [outcome.candidate for outcome in outcomes] == SCORES
    for outcome in outcomes:
        assert len(outcome.scores.scores) == len(versions)
        assert outcome.scores.sources.tolist() == [version.source for version in versions]
        assert list(outcome.scores.probes) == [version.probe for version in versions]
        applied = outcome.candidate.apply_to(make_method("patchcore", **TINY))
        inspector = Inspector(applied, size=64, calibration_fraction=1 / 12).fit(good)
        expected = [inspector.inspect(version.image).score for version in versions[:9]]
        np.testing.assert_allclose(outcome.scores.scores[:9], expected, rtol=1e-4)
    assert outcomes[0].image_ms == outcomes[1].image_ms > 0
    assert not np.allclose(outcomes[0].scores.scores, outcomes[1].scores.scores)


def test_the_given_method_stays_unfitted() -> None:
    method = make_method("padim", backbone="test_resnet", weights="random")
    probe_set = make_probe_set([texture(50)], seed=0)
    good = [texture(seed) for seed in range(6)]
    (outcome,) = try_together(method, [Candidate("48 px", 48)], good, probe_set)
    assert (outcome.preprocessing.height, outcome.preprocessing.width) == (48, 48)
    with pytest.raises(NotFitted, match="not fitted yet"):
        method.head()
