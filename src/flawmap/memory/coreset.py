"""The coreset: patches chosen greedily so that every patch has a chosen one near.

PatchCore (Roth et al. 2022, section 3.2) thins its bank with the greedy k-centre rule of Gonzalez
(1985): beginning with one patch, take again and again the patch farthest from all those taken. The
farthest distance left over, the covering radius, is at most twice the best possible. A plain loop
measures every patch against every new centre. This one takes the same patches in the same order and
measures few of them, because a patch's distance to the chosen set can only shrink: an old value is
an upper bound, and a patch whose bound is not among the highest cannot be next (lazy greedy, Minoux
1978). One round goes

1. pool: the patches with the highest bounds; the floor is a value that no patch outside reaches;
2. guess: name a near centre for each from a few principal components, newest centres first. The
   distance to *any* centre is an upper bound, so a wrong guess costs time, never exactness. Most of
   the pool falls below the floor here;
3. group: of those still above it, the highest few, and with them an edge that no other patch
   reaches;
4. settle: make the group's bounds exact, by all centres they have not been measured against;
5. take: run the plain greedy in the group for as long as its farthest reaches the edge; then the
   next group.

"The same order" means: distances are float64 norms of differences of the vectors as given, whatever
their type, and of equal distances the lowest row goes first. Float32 only says where to look, as it
takes half as long: what it may have lost by rounding is added to an upper bound, and every centre
that may then be the nearest is measured in float64.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from flawmap.errors import OptionError
from flawmap.memory.exact_distances import (
    exact_distances,
    nearest_candidates,
    product_type,
    rough_argmin,
    upper_bounds,
)
from flawmap.memory.scratch_rows import PatchRows
from flawmap.memory.threads import single_threaded
from flawmap.support.progress import report_progress
from flawmap.support.tensors import Indices


class BlockSizes(NamedTuple):
    """How many rows are looked at together; only speed and memory depend on it.

    Args:
        pool_divisor: a pool is the patches divided by this, within the next two limits.
        min_pool: fewest patches of a pool.
        max_elements: most numbers of a pool, and of other blocks.
        group: patches that the plain greedy runs over; in float64 so many stay in the cache.
        rows: patches looked at together; with `columns` 4 MB, which stay in the cache.
        columns: centres looked at together.
        components: principal components that guess; fewer guess worse, more take longer.
    """

    pool_divisor: int = 32
    min_pool: int = 256
    max_elements: int = 1 << 22
    group: int = 512
    rows: int = 2048
    columns: int = 512
    components: int = 32


_DEFAULT_SIZES = BlockSizes()


@torch.no_grad()
@single_threaded()
def k_center_greedy(
    vectors: PatchRows,
    count: int,
    *,
    start: int = 0,
    among: Tensor | None = None,
    sizes: BlockSizes = _DEFAULT_SIZES,
) -> Indices:
    """Rows chosen by the greedy k-centre rule (Gonzalez 1985), in the order of choice.

    The choice for a smaller count is the beginning of the choice for a larger one. Beside `vectors`
    this needs 12 bytes a row, 4 bytes a number of each chosen row, and blocks of some tens of MB.

    Args:
        vectors: (row, channel), of any floating type.
        count: how many rows to choose, 1 to the number of those that may be.
        start: the first row of the choice.
        among: whether each row may be chosen, (row,); None for all. The choice is that from these
            rows alone.
        sizes: how many rows are looked at together.

    Returns:
        Row numbers, (count,), the first of them `start`.

    Raises:
        OptionError: `count` or `start` is out of range, or a vector holds NaN or infinity.

    Example:
        >>> vectors = torch.tensor([[0.0], [1.0], [2.0], [10.0], [11.0], [20.0]])
        >>> k_center_greedy(vectors, 3).tolist()
        [0, 5, 3]
    """
    available = len(vectors) if among is None else int(among.sum())
    if not 1 <= count <= available:
        raise OptionError(
            f"count is {count} for {available} vectors; choose between 1 and {available} of them"
        )
    if not 0 <= start < len(vectors):
        raise OptionError(
            f"start is row {start} of {len(vectors)} vectors; rows go from 0 to {len(vectors) - 1}"
        )
    search = _Search(vectors, count, start, sizes)
    if among is not None:
        search.exclude(~among)
    while search.taken < count and search.bounds.amax() > 0:
        search.advance()
        report_progress("choosing the coreset", search.taken, count)
    # When only copies of chosen vectors are left, these are they.
    copies = (search.bounds == 0).nonzero().squeeze(1)
    return torch.cat([search.chosen[: search.taken], copies])[:count]


class _Search:
    """The chosen rows so far, and for every row an upper bound of its distance to them."""

    def __init__(self, vectors: PatchRows, count: int, start: int, sizes: BlockSizes) -> None:
        length, width = vectors.shape
        self.vectors = vectors
        self.sizes = sizes
        self.taken = 0
        pool = min(length // sizes.pool_divisor, sizes.max_elements // width)
        self.pool = max(sizes.min_pool, pool)
        self.bounds = vectors.new_empty(length, dtype=torch.float64)
        self.chosen = torch.full((count,), start, device=vectors.device)
        blocks = vectors.split(sizes.rows)
        for bounds, block in zip(self.bounds.split(sizes.rows), blocks, strict=True):
            bounds[:] = exact_distances(block, vectors[self.chosen[:1]])
        if not self.bounds.isfinite().all():
            raise _not_finite(vectors, sizes.rows)
        # A row's bound is exact for so many first centres.
        self.settled = vectors.new_ones(length, dtype=torch.int32)
        self.mean, basis = _principal_components(vectors, sizes.components)
        self.scale = 1 / max(float(self.bounds.amax()), 1e-30)
        self.basis = (basis * self.scale).float()
        self.shift = (self.mean @ basis * -self.scale).float()
        self.centres = vectors.new_empty(count, width, dtype=product_type())
        self.squares = self.centres.new_empty(count)
        self.sketch = vectors.new_empty(count, self.basis.shape[1], dtype=torch.float32)
        self.add(self.chosen[:1])

    def add(self, rows: Tensor) -> None:
        """Record that `rows` are taken next."""
        new = slice(self.taken, self.taken + len(rows))
        self.taken += len(rows)
        self.chosen[new] = rows
        self.centres[new] = self.normalise(self.vectors[rows])
        self.squares[new] = self.centres[new].square().sum(1)
        self.sketch[new] = self.project(self.vectors[rows])
        self.bounds[rows] = -1.0  # below every distance: never taken again

    def exclude(self, is_excluded: Tensor) -> None:
        """Never take these rows."""
        self.bounds[is_excluded] = -1.0

    def normalise(self, vectors: Tensor) -> Tensor:
        """The vectors shifted and scaled to lengths of about 1, against overflow and rounding."""
        return ((vectors.double() - self.mean) * self.scale).to(self.centres.dtype)

    def project(self, vectors: Tensor) -> Tensor:
        """The principal components of the vectors, so shifted and scaled."""
        return torch.addmm(self.shift, vectors.float(), self.basis)

    def lower(self, rows: Tensor, distances: Tensor) -> None:
        """Lower the bounds of `rows` to these distances, where they are less."""
        self.bounds.scatter_reduce_(0, rows, distances, "amin")

    def advance(self) -> None:
        """Go one round, which takes rows, or at least lowers a bound."""
        rows, floor = _highest(self.bounds, self.pool)
        self.guess(rows, floor)
        rows = rows[self.bounds[rows] >= floor]
        while self.taken < len(self.chosen) and len(rows):
            indices, edge = _highest(self.bounds[rows], self.sizes.group)
            self.settle(rows[indices])
            self.take(rows[indices], edge)
            rows = rows[self.bounds[rows] >= floor]

    def guess(self, rows: Tensor, floor: float) -> None:
        """Lower the bounds of `rows` by the nearest centres until they are below `floor`."""
        last = self.taken
        rows = rows[(self.bounds[rows] >= floor) & (self.settled[rows] < last)]
        while len(rows):
            first = max(last - self.sizes.columns, 0)
            for block in rows.split(self.sizes.rows):
                self.approach(block, slice(first, last))
            last = first
            rows = rows[(self.bounds[rows] >= floor) & (self.settled[rows] < last)]

    def approach(self, rows: Tensor, centres: slice) -> None:
        """Measure each of `rows` against the one of `centres` that looks nearest to it."""
        vectors = self.vectors.index_select(0, rows)
        squares = self.squares[centres].float()
        terms = torch.addmm(squares, self.project(vectors), self.sketch[centres].T, alpha=-2)
        nearest = self.chosen[centres][rough_argmin(terms)]
        self.lower(rows, upper_bounds(vectors, self.vectors.index_select(0, nearest)))

    def settle(self, rows: Tensor) -> None:
        """Make the bounds of `rows` exact."""
        rows = rows[self.settled[rows].argsort()]  # rows that lack the same centres go together
        rows = rows[self.settled[rows] < self.taken]
        if len(rows):
            for block in rows.split(max(1, self.sizes.max_elements // self.taken)):
                self.settle_block(block)
        self.settled[rows] = self.taken

    def settle_block(self, rows: Tensor) -> None:
        """Lower the bounds of `rows` by all centres that the first of them still lacks."""
        missed = slice(int(self.settled[rows[0]]), self.taken)
        vectors = self.vectors[rows]
        chosen = self.chosen[missed]
        normalised = self.normalise(vectors)
        pairs = nearest_candidates(normalised, self.centres[missed], self.squares[missed])
        for block in pairs.split(max(1, self.sizes.max_elements // vectors.shape[1])):
            row, column = block.unbind(1)
            self.lower(rows[row], exact_distances(vectors[row], self.vectors[chosen[column]]))

    def take(self, rows: Tensor, floor: float) -> None:
        """Run the plain greedy choice among `rows` while no other row can be farther."""
        vectors = self.vectors[rows].double()
        bounds = self.bounds[rows]
        taken: list[int] = []
        limit = min(len(self.chosen) - self.taken, len(rows))
        while len(taken) < limit:
            farthest = int(bounds.argmax())
            if bounds[farthest] < floor:
                break
            taken.append(farthest)
            new = exact_distances(vectors, vectors[farthest : farthest + 1])
            bounds = torch.minimum(bounds, new)
            bounds[farthest] = -1.0
        self.bounds[rows] = bounds
        self.settled[rows] += len(taken)
        self.add(rows[taken])


def _highest(bounds: Tensor, size: int) -> tuple[Indices, float]:
    """About `size` rows with the highest bounds, in order, and a floor that no other row reaches.

    If more than that share the highest bound, the first of them are returned. Then others do reach
    the floor, but each of them has to wait for those returned.
    """
    # A sixteenth tells about where the rows are; selecting among all takes longer.
    sample = bounds[::16]
    highest = sample.topk(min(size // 16, len(sample)), sorted=False).values
    edge = max(float(highest.amin()), 0.0)
    rows = (bounds >= edge).nonzero().squeeze(1)
    if len(rows) <= 2 * size:
        return rows, edge
    values = bounds[rows]
    lowest, largest = values.topk(size + 1, sorted=False).values.aminmax()
    floor = float(lowest)
    best = float(largest)
    if floor == best:
        return rows[values == best][:size], best
    return rows[values > floor], math.nextafter(floor, math.inf)


def _principal_components(vectors: PatchRows, count: int) -> tuple[Tensor, Tensor]:
    """The mean and the main directions of a few thousand vectors."""
    sample = vectors[:: max(1, len(vectors) // 4096)].double()
    mean = sample.mean(0)
    directions = torch.linalg.eigh((sample - mean).T @ (sample - mean)).eigenvectors
    return mean, directions[:, -count:]


def _not_finite(vectors: PatchRows, rows: int) -> OptionError:
    count = 0
    for block in vectors.split(rows):
        has_bad_number = (~block.isfinite()).any(1)
        count += int(has_bad_number.sum())
    return OptionError(
        f"{count} of {len(vectors)} vectors hold NaN, infinity or numbers too large to square; "
        "exclude their images, or look for the layer that overflows"
    )
