from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flawmap.synthetic.probes import Probe, ProbeKind
from flawmap.tuning.measures import ProbeScores


def probe(size: float, kind: ProbeKind = "dot") -> Probe:
    return Probe(kind, size, contrast=5)


def scores_of(good: list[float], painted: list[tuple[Probe, float]]) -> ProbeScores:
    """Painted copies of the good images in turn."""
    scores = np.array(good + [score for _, score in painted])
    sources = np.array([*range(len(good)), *(index % len(good) for index in range(len(painted)))])
    return ProbeScores(scores, sources, [None] * len(good) + [probe for probe, _ in painted])


@given(st.lists(st.integers(0, 9), min_size=1), st.lists(st.integers(0, 9), min_size=1))
def test_auroc_is_the_fraction_of_pairs_in_order(good: list[int], painted: list[int]) -> None:
    scores = scores_of([float(s) for s in good], [(probe(4), float(s)) for s in painted])
    pairs = [(p > g) + (p == g) / 2 for p in painted for g in good]
    assert scores.auroc() == pytest.approx(np.mean(pairs))


def test_found_is_beyond_all_but_one_in_twenty() -> None:
    good = [float(score) for score in range(39)]
    scores = scores_of(good, [(probe(4), 38.0), (probe(4), 37.5), (probe(4), 37.0)])
    # Ranks 2, 2 and 3 of 40.
    assert scores.found().tolist() == [True, True, False]


def test_below_nineteen_good_images_nothing_can_be_found() -> None:
    assert scores_of([0.0] * 19, [(probe(4), 9.0)]).found().all()
    assert not scores_of([0.0] * 18, [(probe(4), 9.0)]).found().any()


def test_the_smallest_is_found_and_so_are_all_larger() -> None:
    good = [0.0] * 20
    painted = [(probe(4), 1.0)] * 10 + [(probe(8), 1.0)] * 8 + [(probe(8), 0.0)] * 2
    painted += [(probe(16), 1.0)] * 9 + [(probe(16), 0.0)] + [(probe(32), 1.0)] * 10
    painted += [(probe(32, "stain"), 0.0)] * 10
    assert scores_of(good, painted).smallest_found() == {"dot": 16, "stain": None}


def test_resamples_spread_like_the_auroc_and_are_the_same_for_all_settings() -> None:
    rng = np.random.default_rng(0)
    good = rng.normal(0, 1, 60).tolist()
    painted = [(probe(4), score) for score in rng.normal(1, 1, 60).tolist()]
    scores = scores_of(good, painted)
    resampled = scores.resampled_auroc()
    assert resampled.mean() == pytest.approx(scores.auroc(), abs=0.01)
    # Hanley and McNeil 1982 for 60 and 60: about 0.046.
    assert 0.03 < resampled.std() < 0.06
    assert np.array_equal(resampled, scores.resampled_auroc())
    shifted = ProbeScores(scores.scores * 2 + 1, scores.sources, scores.probes)
    assert np.array_equal(resampled, shifted.resampled_auroc())
