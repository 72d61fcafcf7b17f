"""The coreset: patches chosen greedily so that every patch has a chosen one near.

PatchCore (Roth et al. 2022, section 3.2) thins its bank with the greedy k-centre rule of Gonzalez
(1985): beginning with one patch, take again and again the patch farthest from all those taken. The
farthest distance left over, the covering radius, is at most twice the best possible. A plain loop
measures every patch against every new centre. This one takes the same patches in the same order and
measures few of them, because a patch's distance to the chosen set can only shrink: an old value is
an upper bound, and a patch whose bound is not among the highest cannot be next (lazy greedy, Minoux
1978). One round goes

1. **pool**: the patches with the highest bounds; the floor is a value that no patch outside
reaches; 2. **guess**: name a near centre for each from a few principal components, newest centres
first. The distance to *any*
   centre is an upper bound, so a wrong guess costs time, never exactness. Most of the pool falls
   below the floor here;
3. **group**: of those still above it, the highest few, and with them an edge that no other patch
reaches; 4. **settle**: make the group's bounds exact, by all centres they have not been measured
against; 5. **take**: run the plain greedy in the group for as long as its farthest reaches the
edge; then the next group.

"The same order" means: distances are float64 norms of differences of the vectors as given, whatever
their type, and of equal distances the lowest row goes first. Float32 only says where to look, as it
takes half as long: what it may have lost by rounding is added to an upper bound, and every centre
that may then be the nearest is measured in float64.
"""

from __future__ import annotations

import math
from contextlib import suppress

import torch
from torch import Tensor

from flawmap.errors import OptionError
from flawmap.memory.threads import single_threaded
from flawmap.support.progress import report_progress
from flawmap.support.tensors import Indices, Patches

SHARE, LEAST, MOST = (
    32,
    256,
    1 << 22,
)  # a pool is 1/SHARE of the patches, but LEAST patches and at most MOST numbers
# In float64 so many stay in the cache while the greedy runs over them.
GROUP = 512
ROWS, COLUMNS = (
    2048,
    512,
)  # patches × centres looked at together: 4 MB, so that a block stays in the cache
COMPONENTS = 32  # principal components that guess: fewer guess worse, more take longer


@torch.no_grad()
@single_threaded()
def k_center_greedy(vectors: Patches, count: int, *, start: int = 0) -> Indices:
    """`count` rows of `vectors` by the greedy k-centre rule, `start` first, in that order.

    The choice for a smaller count is the beginning of the choice for a larger one. Beside `vectors`
    this needs 12 bytes a row, 4 bytes a number of each chosen row, and blocks of some tens of MB.

    Raises:
        OptionError: `count` or `start` is out of range, or a vector holds NaN or infinity.

    Example:
        >>> pick(torch.tensor([[0.0], [1.0], [2.0], [10.0], [11.0], [20.0]]), 3).tolist()
        [0, 5, 3]
    """
    if not 1 <= count <= len(vectors):
        raise OptionError(
            f"count is {count} for {len(vectors)} vectors; choose between 1 and {len(vectors)} "
            f"of them"
        )
    if not 0 <= start < len(vectors):
        raise OptionError(
            f"start is row {start} of {len(vectors)} vectors; rows go from 0 to {len(vectors) - 1}"
        )
    search = _Search(vectors, count, start)
    while search.taken < count and search.bound.amax() > 0:
        search.advance()
        report_progress("choosing the coreset", search.taken, count)
    copies = (
        (search.bound == 0).nonzero().squeeze(1)
    )  # when only copies of chosen vectors are left, these are they
    return torch.cat([search.chosen[: search.taken], copies])[:count]


class _Search:
    """What is known so far.

    The chosen rows, and for every row an upper bound of its distance to them.
    """

    def __init__(self, vectors: Patches, count: int, start: int) -> None:
        size, width = vectors.shape
        self.vectors, self.taken = vectors, 0
        self.pool = max(LEAST, min(size // SHARE, MOST // width))
        self.bound = vectors.new_empty(size, dtype=torch.float64)
        self.chosen = torch.full((count,), start, device=vectors.device)
        for bound, block in zip(self.bound.split(ROWS), vectors.split(ROWS), strict=True):
            bound[:] = _apart(block, vectors[self.chosen[:1]])
        if not self.bound.isfinite().all():
            raise _not_finite(vectors)
        self.settled = vectors.new_ones(
            size, dtype=torch.int32
        )  # the bound is exact for so many first centres
        (self.mean, basis), self.scale = (
            _principal(vectors),
            1 / max(float(self.bound.amax()), 1e-30),
        )
        self.basis, self.shift = (
            (basis * self.scale).float(),
            (self.mean @ basis * -self.scale).float(),
        )
        self.centres = vectors.new_empty(count, width, dtype=_product_type())
        self.squares = self.centres.new_empty(count)
        self.sketch = vectors.new_empty(count, self.basis.shape[1], dtype=torch.float32)
        self.add(self.chosen[:1])

    def add(self, rows: Indices) -> None:
        """Write down that `rows` are taken next."""
        new = slice(self.taken, self.taken + len(rows))
        self.taken += len(rows)
        self.chosen[new] = rows
        self.centres[new] = self.small(self.vectors[rows])
        self.squares[new] = self.centres[new].square().sum(1)
        self.sketch[new] = self.project(self.vectors[rows])
        self.bound[rows] = -1.0  # below every distance: never taken again

    def small(self, vectors: Tensor) -> Tensor:
        """The vectors shifted and scaled to lengths of about 1, against overflow and rounding."""
        return ((vectors.double() - self.mean) * self.scale).to(self.centres.dtype)

    def project(self, vectors: Tensor) -> Tensor:
        """Reduce `vectors`, so shifted and scaled, to their principal components."""
        return torch.addmm(self.shift, vectors.float(), self.basis)

    def lower(self, rows: Indices, distances: Tensor) -> None:
        """Lower the bounds of `rows` by the nearest centres until they are below `floor`."""
        self.bound.scatter_reduce_(0, rows, distances, "amin")

    def advance(self) -> None:
        """Go one round, which takes rows, or at least lowers a bound."""
        rows, floor = _highest(self.bound, self.pool)
        self.guess(rows, floor)
        while self.taken < len(self.chosen) and len(rows := rows[self.bound[rows] >= floor]):
            places, edge = _highest(self.bound[rows], GROUP)
            self.refine_bounds(rows[places])
            self.take(rows[places], edge)

    def guess(self, rows: Indices, floor: float) -> None:
        """Lower the bounds of `rows` by the nearest centres until they are below `floor`."""
        last = self.taken
        while len(rows := rows[(self.bound[rows] >= floor) & (self.settled[rows] < last)]):
            first = max(last - COLUMNS, 0)
            for block in rows.split(ROWS):
                self.approach(block, slice(first, last))
            last = first

    def approach(self, rows: Indices, centres: slice) -> None:
        """Measure each of `rows` against the one of `centres` that looks nearest to it."""
        vectors = self.vectors.index_select(0, rows)
        heights, sketch = self.squares[centres].float(), self.sketch[centres]
        near = _least(torch.addmm(heights, self.project(vectors), sketch.T, alpha=-2))
        self.lower(
            rows, _at_most(vectors, self.vectors.index_select(0, self.chosen[centres][near]))
        )

    def refine_bounds(self, rows: Indices) -> None:
        """Make the bounds of `rows` exact."""
        rows = rows[self.settled[rows].argsort()]  # rows that lack the same centres go together
        rows = rows[self.settled[rows] < self.taken]
        for block in rows.split(max(1, MOST // self.taken)) if len(rows) else ():
            lacked = slice(int(self.settled[block[0]]), self.taken)
            vectors, chosen = self.vectors[block], self.chosen[lacked]
            pairs = _nearest_candidates(
                self.small(vectors), self.centres[lacked], self.squares[lacked]
            )
            for row, column in (
                part.unbind(1) for part in pairs.split(max(1, MOST // vectors.shape[1]))
            ):
                self.lower(block[row], _apart(vectors[row], self.vectors[chosen[column]]))
        self.settled[rows] = self.taken

    def take(self, rows: Indices, floor: float) -> None:
        """Run the plain greedy choice among `rows` while no other row can be farther."""
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

    Each distance is summed in an order of its own that does not depend on the other rows, so equal
    pairs of vectors have equal distances to the last bit, and ties stay ties.
    """
    one, other = one.double(), other.double()
    if len(other) > 1:
        one, other = one.unsqueeze(1), other.unsqueeze(1)
    return torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist").flatten()


def _at_most(one: Tensor, other: Tensor) -> Tensor:
    """Distances row by row in float32 at least, plus the largest possible rounding error."""
    kind = torch.promote_types(one.dtype, torch.float32)
    distances: Tensor = torch.linalg.vector_norm(one.to(kind) - other.to(kind), dim=1).double()
    width, limits = one.shape[1], torch.finfo(kind)
    return distances * (1 + (width + 8) * limits.eps) + 2 * math.sqrt(width * limits.tiny)


def _highest(bound: Tensor, size: int) -> tuple[Indices, float]:
    """About `size` rows with the highest bounds, in order, and a floor that no other row reaches.

    If more than that share the highest bound, the first of them are found. Then others do reach the
    floor, but each of them has to wait for those found.
    """
    sample = bound[
        ::16
    ]  # a sixteenth tells about where the rows are; selecting among all takes longer
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
    """Find roughly the column of each row's least value.

    The columns are written into the last bits of `values`.
    """
    # On a CPU argmin takes ten times longer than amin.
    rounded = (1 << (values.shape[1] - 1).bit_length()) - 1
    columns = torch.arange(values.shape[1], dtype=torch.int32, device=values.device)
    values.view(torch.int32).bitwise_and_(~rounded).bitwise_or_(columns)
    least = values.amin(1).view(torch.int32).bitwise_and(rounded)
    return least.clamp(max=values.shape[1] - 1)  # NaN has bits of its own


def _principal(vectors: Patches) -> tuple[Tensor, Tensor]:
    """Find the mean and the main directions of a few thousand vectors."""
    sample = vectors[:: max(1, len(vectors) // 4096)].double()
    mean = sample.mean(0)
    directions = torch.linalg.eigh((sample - mean).T @ (sample - mean)).eigenvectors
    return mean, directions[:, -COMPONENTS:]


def _product_type() -> torch.dtype:
    """float32 for products, or float64 where torch may compute them with fewer bits."""
    with suppress(RuntimeError):  # it was set for some backends only
        if torch.get_float32_matmul_precision() == "highest":
            return torch.float32
    return torch.float64


def _nearest_candidates(vectors: Tensor, centres: Tensor, squares: Tensor) -> Tensor:
    """Pair each row with every centre that may be its nearest.

    u² + v² - 2uv, of u and v as rounded, is within `doubt` × (u² + v²) of the squared distance, in
    whatever order the sums are taken. A rival is a centre that may be no farther than the nearest
    one may be at most.
    """
    limits = torch.finfo(vectors.dtype)
    doubt = 2 * (vectors.shape[1] + 16) * limits.eps
    slack = doubt * (
        squares + limits.tiny / limits.eps
    )  # and of what is too small for a number of its own
    most = torch.addmm(
        squares + slack, vectors, centres.T, alpha=-2
    )  # less u², which is the same for all
    edge = most.amin(1) + 2 * doubt * vectors.square().sum(1)
    return (most.sub_(2 * slack) <= edge.unsqueeze(1)).nonzero()


def _not_finite(vectors: Patches) -> OptionError:
    bad = sum(int((~block.isfinite()).any(1).sum()) for block in vectors.split(ROWS))
    return OptionError(
        f"{bad} of {len(vectors)} vectors hold NaN, infinity or numbers too large to square; "
        "leave out their images, or look for the layer that overflows"
    )
