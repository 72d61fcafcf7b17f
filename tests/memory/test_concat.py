from __future__ import annotations

import pytest
import torch

from flawmap.memory.concat import concat_batches

BATCHES = [
    [torch.full((size, 3), float(size)), torch.full((size, 2, 2), -float(size))]
    for size in (4, 4, 4, 1)
]


@pytest.mark.parametrize("expected", [0, 1, 2, 4, 9])
def test_it_is_the_join_of_all_whatever_was_expected(expected: int) -> None:
    joined = concat_batches(iter(BATCHES), expected)
    for one, parts in zip(joined, zip(*BATCHES, strict=True), strict=True):
        assert torch.equal(one, torch.cat(parts))


def test_nothing_comes_of_nothing() -> None:
    assert concat_batches([], 5) == []
