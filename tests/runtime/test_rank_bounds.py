from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom

from flawmap.runtime.rank_bounds import confidence_at_rank, false_reject_upper_bound


@given(st.integers(1, 2000), st.floats(0.0005, 0.9), st.data())
def test_confidence_is_that_of_the_beta_distribution(
    count: int, fraction: float, data: st.DataObject
) -> None:
    rank = data.draw(st.integers(1, count))
    assert confidence_at_rank(rank, count, fraction) == pytest.approx(
        beta.cdf(fraction, rank, count + 1 - rank), abs=1e-9
    )
    assert confidence_at_rank(rank, count, fraction) == pytest.approx(
        binom.sf(rank - 1, count, fraction), abs=1e-9
    )


@given(st.integers(1, 2000), st.data())
def test_the_upper_bound_is_its_quantile(count: int, data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, count))
    assert false_reject_upper_bound(rank, count) == pytest.approx(
        beta.ppf(0.95, rank, count + 1 - rank), abs=1e-9
    )
