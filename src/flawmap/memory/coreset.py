"""The coreset: a few patches that stand for all of them, so chosen that every patch has a chosen one near.

PatchCore (Roth et al. 2022, section 3.2) thins its bank with the greedy k-centre rule of Gonzalez (1985): beginning
with one patch, take again and again the patch farthest from all those taken. The farthest distance left over, the
covering radius, is at most twice the best possible. A plain loop measures every patch against every new centre. This
one takes the same patches in the same order and measures few of them, because a patch's distance to the chosen set
can only shrink: an old value is an upper bound, and a patch whose bound is not among the highest cannot be next (lazy
greedy, Minoux 1978). One round goes

1. **pool**: the patches with the highest bounds; the floor is a value that no patch outside reaches;
2. **guess**: name a near centre for each from a few principal components, newest centres first. The distance to *any*
   centre is an upper bound, so a wrong guess costs time, never exactness. Most of the pool falls below the floor here;
3. **settle**: make the bounds of those still above it exact, by all centres they have not been measured against;
4. **take**: run the plain greedy among the settled for as long as the farthest of them reaches the floor.

"The same order" means: distances are float64 norms of differences of the vectors as given, whatever their type, and
of equal distances the lowest row goes first. Matrix products, which round as they please, only say where to look.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from flawmap.errors import OptionError
from flawmap.progress import step
from flawmap.tensors import Indices, Patches

SHARE, LEAST, MOST = 32, 256, 1 << 22  # a pool is 1/SHARE of the patches, but LEAST patches and at most MOST numbers
ROWS, COLUMNS = 2048, 512  # patches × centres looked at together: 4 MB, so that a block stays in the cache
FOLDS = 16  # parts of a row of COLUMNS among which the least is found first
COMPONENTS = 32  # principal components that guess: fewer guess worse, more take longer


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch to one thread.

    The work is thousands of small steps at whose ends threads wait for one another. Two save a third to a half on
    an idle machine, but beside another busy program they take ten to thirty times longer than one.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@torch.no_grad()
@_one_thread()
def pick(vectors: Patches, count: int, *, start: int = 0) -> Indices:
    """Choose `count` rows of `vectors` by the greedy k-centre rule, `start` first, and return them in that order.

    The choice for a smaller count is the beginning of the choice for a larger one. Beside `vectors` this needs 12
    bytes a row, 8 bytes a number of each chosen row, and blocks of some tens of MB.

    Raises:
        OptionError: `count` or `start` is out of range, or a vector holds NaN or infinity.

    Example:
        >>> pick(torch.tensor([[0.0], [1.0], [2.0], [10.0], [11.0], [20.0]]), 3).tolist()
        [0, 5, 3]
    """
    if not 1 <= count <= len(vectors):
        raise OptionError(f"count is {count} for {len(vectors)} vectors; choose between 1 and {len(vectors)} of them")
    if not 0 <= start < len(vectors):
        raise OptionError(f"start is row {start} of {len(vectors)} vectors; rows go from 0 to {len(vectors) - 1}")
    search = _Search(vectors, count, start)
    while search.taken < count and search.bound.amax() > 0:
        search.advance()
        step("choosing the coreset", search.taken, count)
    copies = (search.bound == 0).nonzero().squeeze(1)  # when only copies of chosen vectors are left, these are they
    return torch.cat([search.chosen[: search.taken], copies])[:count]


class _Search:
    """What is known so far: the chosen rows, and for every row an upper bound of its distance to them."""

    def __init__(self, vectors: Patches, count: int, start: int) -> None:
        size, width = vectors.shape
        first = torch.tensor([start], device=vectors.device)
        self.vectors = vectors
        self.pool = max(LEAST, min(size // SHARE, MOST // width))
        self.bound = vectors.new_empty(size, dtype=torch.float64)
        for bound, block in zip(self.bound.split(ROWS), vectors.split(ROWS), strict=True):
            bound[:] = _apart(block, vectors[first])
        if not self.bound.isfinite().all():
            raise _not_finite(vectors)
        self.settled = vectors.new_ones(size, dtype=torch.int32)  # the bound is exact for so many first centres
        self.mean, self.basis = _principal(vectors)
        self.shift = -(self.mean @ self.basis)
        self.taken = 0
        self.chosen = vectors.new_empty(count, dtype=torch.int64)
        room = max(count, COLUMNS)  # a place not yet taken counts as a centre infinitely far away
        self.centres = vectors.new_full((room, width), torch.inf, dtype=torch.float64)
        self.squares = vectors.new_empty(count, dtype=torch.float64)
        self.sketch = vectors.new_zeros(room, self.basis.shape[1], dtype=torch.float32)
        self.heights = vectors.new_full((room,), torch.inf, dtype=torch.float32)
        self.add(first)

    def add(self, rows: Indices) -> None:
        """Write down that `rows` are taken next."""
        new = slice(self.taken, self.taken + len(rows))
        self.taken += len(rows)
        self.chosen[new] = rows
        self.centres[new] = self.vectors[rows].double()
        self.squares[new] = self.centres[new].square().sum(1)
        self.sketch[new] = self.project(self.vectors[rows])
        self.heights[new] = (self.centres[new] - self.mean).square().sum(1).float()
        self.bound[rows] = -1.0  # below every distance: never taken again

    def project(self, vectors: Tensor) -> Tensor:
        """Reduce `vectors` to their principal components."""
        return torch.addmm(self.shift, vectors.float(), self.basis)

    def lower(self, rows: Indices, distances: Tensor) -> None:
        """Lower the bounds of `rows`, some of which may come more than once, to `distances`."""
        self.bound.scatter_reduce_(0, rows, distances, "amin")

    def advance(self) -> None:
        """Go one round, which takes rows, or at least lowers a bound."""
        rows, floor = _highest(self.bound, self.pool)
        self.guess(rows, floor)
        rows = rows[self.bound[rows] >= floor]
        self.settle(rows)
        self.take(rows, floor)

    def guess(self, rows: Indices, floor: float) -> None:
        """Lower the bounds of `rows` by the centres that look nearest, until they are below `floor`."""
        last = self.taken
        while len(rows := rows[(self.bound[rows] >= floor) & (self.settled[rows] < last)]):
            last = max(last - COLUMNS, 0)
            new = slice(last, last + COLUMNS)
            for block in rows.split(ROWS):
                vectors = self.vectors.index_select(0, block)
                squared = torch.addmm(self.heights[new], self.project(vectors), self.sketch[new].T, alpha=-2)
                self.lower(block, _apart(vectors, self.centres[new].index_select(0, _least(squared))))

    def settle(self, rows: Indices) -> None:
        """Make the bounds of `rows` exact."""
        rows = rows[self.settled[rows] < self.taken]
        if not len(rows):
            return
        rows = rows[self.settled[rows].argsort()]  # rows that lack the same centres go together
        for block in rows.split(max(1, MOST // self.taken)):
            new = slice(int(self.settled[block[0]]), self.taken)
            vectors, centres = self.vectors[block].double(), self.centres[new]
            pairs = _rivals(vectors, centres, self.squares[new])
            for row, column in (part.unbind(1) for part in pairs.split(max(1, MOST // centres.shape[1]))):
                self.lower(block[row], _apart(vectors[row], centres[column]))
        self.settled[rows] = self.taken

    def take(self, rows: Indices, floor: float) -> None:
        """Run the plain greedy among `rows`, whose bounds are exact, for as long as no other row can be farther."""
        vectors, bound = self.vectors[rows].double(), self.bound[rows]
        taken: list[int] = []
        room = min(len(self.chosen) - self.taken, len(rows))
        while len(taken) < room and bound[far := int(bound.argmax())] >= floor:
            taken.append(far)
            bound = torch.minimum(bound, _apart(vectors, vectors[far : far + 1]))
            bound[far] = -1.0
        self.bound[rows] = bound
        self.settled[rows] += len(taken)
        self.add(rows[taken])


def _apart(one: Tensor, other: Tensor) -> Tensor:
    """Measure row by row, or all rows of `one` from the single row of `other`.

    Each distance is summed in an order of its own that does not depend on the other rows, so equal pairs of vectors
    have equal distances to the last bit, and ties stay ties.
    """
    one, other = one.double(), other.double()
    if len(other) > 1:
        one, other = one.unsqueeze(1), other.unsqueeze(1)
    return torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist").flatten()


def _highest(bound: Tensor, size: int) -> tuple[Indices, float]:
    """Find about `size` rows with the highest bounds, in order, and a floor that no other row reaches.

    If more than that share the highest bound, the first of them are found. Then others do reach the floor, but each
    of them has to wait for those found.
    """
    sample = bound[::16]  # a sixteenth tells about where the rows are; selecting among all takes longer
    edge = max(float(sample.topk(min(size // 16, len(sample)), sorted=False).values.amin()), 0.0)
    rows = (bound >= edge).nonzero().squeeze(1)
    if len(rows) <= 2 * size:
        return rows, edge
    values = bound[rows]
    floor, best = (float(value) for value in values.topk(size + 1, sorted=False).values.aminmax())
    if floor == best:
        return rows[values == best][:size], best
    return rows[values > floor], math.nextafter(floor, math.inf)


def _least(values: Tensor) -> Tensor:
    """Find the column of each row's least value. argmin would, but takes several times longer than amin on a CPU."""
    folds: Tensor = values.unflatten(1, (FOLDS, -1))
    column = folds.amin(1).argmin(1)
    fold = folds.gather(2, column[:, None, None].expand(-1, FOLDS, 1)).squeeze(2).argmin(1)
    return fold * folds.shape[2] + column


def _principal(vectors: Patches) -> tuple[Tensor, Tensor]:
    """Find the mean and the main directions of a few thousand vectors."""
    sample = vectors[:: max(1, len(vectors) // 4096)].double()
    mean = sample.mean(0)
    directions = torch.linalg.eigh((sample - mean).T @ (sample - mean)).eigenvectors
    return mean.float(), directions[:, -COMPONENTS:].float()


def _rivals(vectors: Tensor, centres: Tensor, squares: Tensor) -> Tensor:
    """Pair each row with every centre that may be its nearest: all whose product is within rounding of the least."""
    scores = torch.addmm(squares, vectors, centres.T, alpha=-2)  # squared distances, less the vector's own square
    largest = vectors.square().sum(1) + squares.amax()
    slack = 4 * (vectors.shape[1] + 8) * torch.finfo(torch.float64).eps * largest
    return (scores <= (scores.amin(1) + slack).unsqueeze(1)).nonzero()


def _not_finite(vectors: Patches) -> OptionError:
    bad = sum(int((~block.isfinite()).any(1).sum()) for block in vectors.split(ROWS))
    return OptionError(
        f"{bad} of {len(vectors)} vectors hold NaN, infinity or numbers too large to square; "
        "leave out their pictures, or look for the layer that overflows"
    )
