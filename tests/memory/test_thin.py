"""An image keeps the patches that are most unlike each other."""

from __future__ import annotations

import pytest
import torch

from flawmap.memory.coreset import k_center_greedy
from flawmap.memory.thin import thin


def test_the_choice_is_that_of_the_greedy_rule() -> None:
    vectors = torch.randn(200, 7, generator=torch.Generator().manual_seed(0)).half()
    rows = thin(vectors, 50)
    expected = k_center_greedy(vectors, 50, start=int(rows[0]))
    assert rows.tolist() == expected.tolist()


@pytest.mark.parametrize("count", [1, 5, 9])
def test_copies_and_padding_come_last_and_no_row_twice(count: int) -> None:
    vectors = torch.tensor([[0.0], [3.0], [3.0], [1.0], [0.0], [9.0], [9.0], [9.0], [9.0]])
    inside = torch.tensor([True] * 5 + [False] * 4)
    rows = thin(vectors, count, inside).tolist()
    assert len(set(rows)) == count
    assert all(row < 5 for row in rows[:5])
    assert {float(vectors[row]) for row in rows[:3]} <= {0.0, 1.0, 3.0}
