"""The lazy greedy takes the rows a plain greedy takes, one by one, ties included."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from flawmap.errors import OptionError
from flawmap.memory import coreset
from flawmap.memory.coreset import BlockSizes, k_center_greedy
from flawmap.support.progress import listen

LINE = torch.tensor([[0.0], [1.0], [2.0], [10.0], [11.0], [20.0]])

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
    ),
]


def plain(vectors: Tensor, count: int, start: int = 0) -> list[int]:
    """The twin: the greedy loop as a textbook has it, in float64."""
    rows = vectors.double().cpu().numpy()
    nearest = np.full(len(rows), np.inf)
    rows_kept = [start]
    while len(rows_kept) < count:
        nearest = np.minimum(nearest, np.square(rows - rows[rows_kept[-1]]).sum(1))
        nearest[rows_kept] = -1
        rows_kept.append(int(nearest.argmax()))
    return rows_kept


def radius(vectors: Tensor, rows_kept: list[int] | Tensor) -> float:
    return torch.cdist(vectors.double(), vectors[rows_kept].double()).amin(1).amax().item()


def gaussian(rows: int, channels: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, channels, generator=torch.Generator().manual_seed(seed))


def clustered(rows: int, channels: int) -> Tensor:
    """Uneven clusters along a few directions with rare outliers, as features have them."""
    generator = torch.Generator().manual_seed(1)
    centres = (
        3 * torch.randn(30, 8, generator=generator) @ torch.randn(8, channels, generator=generator)
    )
    weights = 0.8 ** torch.arange(30.0)
    tails = torch.rand(rows, 1, generator=generator).clamp(min=1e-3) ** -0.5
    noise = torch.randn(rows, channels, generator=generator) * tails
    return centres[weights.multinomial(rows, replacement=True, generator=generator)] + noise


def grid(rows: int, channels: int) -> Tensor:
    return torch.randint(0, 4, (rows, channels), generator=torch.Generator().manual_seed(2)).float()


DATA = {
    "gaussian": (gaussian(3000, 16), 300),
    "one channel": (gaussian(2000, 1), 200),
    "wide": (gaussian(500, 300), 100),
    "clustered": (clustered(20_000, 64), 400),
    "grid with ties": (grid(3000, 4), 256),
    "grid to the last row": (grid(700, 3), 700),
    "copies": (gaussian(40, 8).repeat(50, 1), 300),
    "each vector twice": (gaussian(1500, 12).repeat_interleave(2, 0), 200),
    "each image twice": (torch.cat([gaussian(1500, 12), gaussian(1500, 12)]), 200),
    "all equal": (torch.full((1000, 5), 0.3), 20),
    "all chosen": (gaussian(300, 6), 300),
    "far from zero": (gaussian(2000, 8) + 30_000, 200),
    "so far that products are noise": (gaussian(600, 3).double() + 1e9, 100),
    "outliers": (torch.cat([gaussian(2000, 8), 1e6 * gaussian(20, 8), 1e12 * gaussian(2, 8)]), 200),
    "huge": (1e30 * gaussian(1000, 8), 100),
    "tiny": (1e-30 * gaussian(1000, 8), 100),
    "channels that are always zero": (
        torch.cat([torch.zeros(1000, 40), gaussian(1000, 4)], 1),
        100,
    ),
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("data", DATA)
def test_takes_what_plain_greedy_takes(data: str, device: str) -> None:
    vectors, count = DATA[data]
    rows_kept = k_center_greedy(vectors.to(device), count, start=7)
    assert rows_kept.dtype == torch.int64
    assert rows_kept.device.type == device
    assert rows_kept.tolist() == plain(vectors, count, start=7)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(dtype: torch.dtype) -> None:
    vectors = gaussian(1500, 10).to(dtype)
    assert k_center_greedy(vectors, 150).tolist() == plain(vectors, 150)


@pytest.mark.parametrize("data", ["gaussian", "grid with ties", "each vector twice", "outliers"])
def test_small_pools_and_blocks_change_nothing(data: str) -> None:
    sizes = BlockSizes(
        pool_divisor=500, min_pool=17, max_elements=300, rows=7, columns=16, group=16
    )
    vectors, _ = DATA[data]
    assert k_center_greedy(vectors, 60, sizes=sizes).tolist() == plain(vectors, 60)


def test_wrong_guesses_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = clustered(3000, 16)
    monkeypatch.setattr(
        coreset,
        "_principal_components",
        lambda vectors, count: (torch.zeros(16).double(), torch.full((16, 2), torch.nan).double()),
    )
    assert k_center_greedy(vectors, 100).tolist() == plain(vectors, 100)


@pytest.mark.parametrize("group", [16, 64])
@pytest.mark.parametrize("data", DATA)
def test_small_groups_change_nothing(data: str, group: int) -> None:
    vectors, count = DATA[data]
    rows_kept = k_center_greedy(vectors, min(count, 100), sizes=BlockSizes(group=group))
    assert rows_kept.tolist() == plain(vectors, min(count, 100))


CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "plain": lambda vectors: vectors,
    "far from zero": lambda vectors: vectors + 1e4,
    "huge": lambda vectors: vectors * 1e25,
    "tiny": lambda vectors: vectors * 1e-25,
    "almost a line": lambda vectors: vectors[:, :1] + 1e-3 * vectors,
    "copies": lambda vectors: vectors[torch.arange(len(vectors)) // 3],
    "coarse": lambda vectors: (2 * vectors).round(),
    "constant": lambda vectors: torch.ones_like(vectors) * vectors[0],
    "two clusters": lambda vectors: vectors + 1e3 * (vectors[:, :1] > 0),
    "one far out": lambda vectors: torch.cat([vectors[1:], 1e8 * vectors[:1]]),
}


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 200),
    st.sampled_from([1, 2, 5, 33]),
    st.sampled_from(sorted(CHANGES)),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_small_sets_of_all_sorts(
    seed: int, rows: int, channels: int, change: str, dtype: torch.dtype
) -> None:
    vectors = CHANGES[change](gaussian(rows, channels, seed).to(dtype))
    count = max(1, rows // 2)
    assert k_center_greedy(vectors, count, start=seed % rows).tolist() == plain(
        vectors, count, seed % rows
    )


def test_it_is_exact_where_torch_may_round_products() -> None:
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        assert k_center_greedy(gaussian(800, 16), 80).tolist() == plain(gaussian(800, 16), 80)
    finally:
        torch.set_float32_matmul_precision(before)


def test_rows_need_not_lie_together_nor_be_free_of_gradients() -> None:
    vectors = gaussian(12, 1000).T.requires_grad_()
    assert k_center_greedy(vectors, 50).tolist() == plain(vectors.detach(), 50)


def test_points_on_a_line() -> None:
    assert k_center_greedy(LINE, 3).tolist() == [0, 5, 3]
    assert radius(LINE, [0, 5, 3]) == 2


def test_one_vector() -> None:
    assert k_center_greedy(torch.ones(1, 3), 1).tolist() == [0]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_small_grids(data: st.DataObject) -> None:
    channels = data.draw(st.integers(1, 3))
    point = st.lists(st.integers(-3, 3), min_size=channels, max_size=channels)
    vectors = torch.tensor(data.draw(st.lists(point, min_size=1, max_size=40)), dtype=torch.float32)
    start = data.draw(st.integers(0, len(vectors) - 1))
    rows_kept = k_center_greedy(vectors, len(vectors), start=start).tolist()
    assert rows_kept == plain(vectors, len(vectors), start)
    assert sorted(rows_kept) == list(range(len(vectors)))
    radii = [radius(vectors, rows_kept[:count]) for count in range(1, len(rows_kept) + 1)]
    assert radii == sorted(radii, reverse=True)
    count = data.draw(st.integers(1, len(vectors)))
    assert k_center_greedy(vectors, count, start=start).tolist() == rows_kept[:count]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4))
def test_radius_is_at_most_twice_the_best(seed: int, count: int) -> None:
    vectors = gaussian(9, 2, seed)
    best = min(radius(vectors, list(rows_kept)) for rows_kept in combinations(range(9), count))
    assert radius(vectors, k_center_greedy(vectors, count)) <= 2 * best * (1 + 1e-12)


def test_says_how_far_it_is() -> None:
    steps = []
    with listen(lambda stage, done, total: steps.append((stage, done, total))):
        k_center_greedy(gaussian(2000, 8), 100)
    assert steps[-1] == ("choosing the coreset", 100, 100)
    assert steps == sorted(steps)


@pytest.mark.parametrize("count", [-1, 0, 7])
def test_count_out_of_range(count: int) -> None:
    with pytest.raises(
        OptionError, match=f"count is {count} for 6 vectors; choose between 1 and 6"
    ):
        k_center_greedy(LINE, count)


@pytest.mark.parametrize("start", [-1, 6])
def test_start_out_of_range(start: int) -> None:
    with pytest.raises(OptionError, match=f"start is row {start} of 6 vectors"):
        k_center_greedy(LINE, 2, start=start)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("rows", [[3], [0, 5]])
def test_vectors_that_are_not_finite(value: float, rows: list[int]) -> None:
    vectors = gaussian(6, 2)
    vectors[rows, 1] = value
    with pytest.raises(OptionError, match=f"{len(rows)} of 6 vectors hold NaN"):
        k_center_greedy(vectors, 2)


@given(st.integers(0, 2**31), st.floats(0.05, 1))
@settings(max_examples=20, deadline=None)
def test_among_some_rows_it_is_the_choice_from_these_alone(seed: int, kept: float) -> None:
    vectors = clustered(300, 6)
    among = torch.rand(300, generator=torch.Generator().manual_seed(seed)) < kept
    among[17] = True
    rows = among.nonzero()[:, 0]
    count = max(1, len(rows) // 3)
    start = int((rows == 17).nonzero())
    chosen = k_center_greedy(vectors, count, start=17, among=among)
    assert torch.equal(chosen, rows[k_center_greedy(vectors[rows], count, start=start)])


def test_copies_among_rows_that_may_not_be_chosen_stay_out() -> None:
    vectors = torch.tensor([[0.0], [0.0], [0.0], [5.0]])
    among = torch.tensor([True, False, True, False])
    assert k_center_greedy(vectors, 2, among=among).tolist() == [0, 2]
    with pytest.raises(OptionError, match="count is 3 for 2 vectors"):
        k_center_greedy(vectors, 3, among=among)
