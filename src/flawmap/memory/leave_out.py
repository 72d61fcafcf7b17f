"""Distances of good images to the bank that would have been fitted without them.

An image is close to a bank that holds its own vectors, so it must be scored without those. Passing
over them alone would leave a hole: had the image never been there, the greedy coreset would have
put vectors of others in their place. So as many are chosen anew, each the farthest from what is
left, among the patches whose nearest vector went missing and those that were farthest anyway. All
distances between patches and bank come from one pass.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from flawmap.memory.bank import Bank
from flawmap.memory.neighbours import Nearest, nearest
from flawmap.memory.scratch_rows import PatchRows
from flawmap.memory.two_nearest import squared_distances, two_nearest
from flawmap.support.progress import track
from flawmap.support.tensors import Indices

_FAR_CANDIDATES = 4096
"""How many of the patches farthest from the bank may replace the vectors of a left-out group."""

_FIRST_CANDIDATES = 64
"""How many of the candidates are looked at first."""

_ROUNDING = 1e-6
"""Of the largest ‖v‖²: what products may leave of the distance between a vector and itself."""

_HALF_ROUNDING = 2.0**-11
"""Of a number: what half precision rounds off at most."""


class LeaveOut:
    """A bank as it would be without each group of images in turn.

    Args:
        bank: the bank of all images.
        vectors: all patches that it was chosen from, as it compares them, image by image,
            (patch, channel).
        group_ids: the group of each image, (image,), numbered from 0; images of one group, such as
            a lot, are left out together.
        inside: whether each patch counts, (patch,): padding replaces nothing; None where all count.

    Example:
        >>> vectors = torch.tensor([[0.0], [1.0], [5.0]])
        >>> bank = Bank(vectors[[0, 2]], torch.tensor([0, 2]))
        >>> left_out = LeaveOut(bank, vectors, torch.arange(3))
        >>> left_out.nearest_in(2, left_out.bank_without(2)).distances
        tensor([4.])
    """

    def __init__(
        self, bank: Bank, vectors: PatchRows, group_ids: Indices, inside: Tensor | None = None
    ) -> None:
        self._vectors = vectors
        self._patches_per_image = len(vectors) // len(group_ids)
        group_ids = group_ids.int()  # one for each patch: half the memory
        self._group_ids = group_ids.repeat_interleave(self._patches_per_image)
        # Side by side, a group's vectors are a few neighbouring columns to pass over.
        order = group_ids[bank.image_ids.cpu()].argsort(stable=True)
        self._bank = Bank(bank.vectors[order], bank.image_ids[order], bank.squares[order])
        self._bank_groups = group_ids[self._bank.image_ids.cpu()]
        self._nearest = two_nearest(vectors, self._bank, self._bank_groups)
        self._nearest_groups = self._bank_groups[self._nearest.rows]
        self._far = _farthest_rows(self._nearest.squared, inside)
        # The patches by the group of their nearest vector.
        self._by_nearest = self._nearest_groups.argsort(stable=True)
        if inside is not None:
            self._by_nearest = self._by_nearest[inside[self._by_nearest]]
        near_groups = self._nearest_groups if inside is None else self._nearest_groups[inside]
        counts = near_groups.bincount(minlength=int(group_ids.max()) + 1)
        self._ends = counts.cumsum(dim=0).tolist()
        self._buffer = self._make_buffer(vectors.shape[1])
        self._without: tuple[int, Bank] | None = None

    def each_image(self) -> Iterator[tuple[int, Bank, Nearest]]:
        """Each image's number, the bank without its group, and distances and rows in it.

        Images come group by group; a bank is overwritten when the next group begins.
        """
        members = self._group_ids[:: self._patches_per_image]
        groups = members.unique().tolist()
        for group_id in track(groups, "scoring good images", len(groups)):
            others = self.bank_without(group_id)
            for index in (members == group_id).nonzero()[:, 0].tolist():
                yield index, others, self.nearest_in(index, others)

    def bank_without_image(self, image_id: int) -> Bank:
        """The bank as it would be without the group of an image; see `bank_without`.

        Args:
            image_id: number of the image, from 0.
        """
        group_id = int(self._group_ids[image_id * self._patches_per_image])
        if self._without is None or self._without[0] != group_id:
            self._without = group_id, self.bank_without(group_id)
        return self._without[1]

    def bank_without(self, group_id: int) -> Bank:
        """The bank as it would be without all images of a group.

        The group's own vectors are passed over, and as many others follow behind all.

        Args:
            group_id: number of the group, from 0.

        Returns:
            The bank; it is overwritten by the next call.
        """
        is_own = self._bank_groups == group_id
        replacements = self._replacements(group_id, int(is_own.sum()))
        bank = self._bank
        new = self._vectors[replacements].to(bank.vectors)
        vectors = self._buffer[: len(bank.vectors) + len(new)]
        vectors[len(bank.vectors) :] = new
        squares = bank.squares.masked_fill(is_own.to(bank.squares.device), torch.inf)
        new_ids = (replacements // self._patches_per_image).to(bank.image_ids)
        return Bank(
            vectors,
            torch.cat([bank.image_ids, new_ids]),
            torch.cat([squares, new.square().sum(dim=1)]),
        )

    def nearest_in(self, image_id: int, others: Bank) -> Nearest:
        """Distances of an image's patches to the bank without its group, and the nearest rows.

        Args:
            image_id: number of the image, from 0.
            others: what `bank_without` returned for the image's group.

        Returns:
            Distances and rows, (patch,).
        """
        start = image_id * self._patches_per_image
        patches = slice(start, start + self._patches_per_image)
        vectors = self._vectors[patches].to(others.vectors)
        near = self._nearest
        is_own = self._nearest_groups[patches] == self._group_ids[patches]
        squared = torch.where(is_own, near.others_squared[patches], near.squared[patches])
        rows = torch.where(is_own, near.others_rows[patches], near.rows[patches])
        kept = len(self._bank.vectors)
        if len(others.vectors) > kept:
            products = squared_distances(vectors, others.vectors[kept:], others.squares[kept:])
            new = products.cpu().min(dim=1)
            rows = torch.where(new.values < squared, kept + new.indices, rows)
        rows = rows.to(vectors.device)
        # As in `nearest`: which is nearest by products, how far it is by the difference.
        difference = vectors - others.vectors[rows]
        distances = difference.square().sum(dim=1).sqrt()
        return Nearest(self._at_most(distances, vectors), rows)

    def compare(self, vectors: Tensor, others: Bank) -> Nearest:
        """Distances of vectors that are not among the bank's, as `nearest_in` gives them.

        Args:
            vectors: (patch, channel), of the type of those that the bank was chosen from.
            others: what `bank_without` returned for the vectors' group.
        """
        vectors = vectors.to(others.vectors)
        distances, rows, _ = nearest(vectors, others.vectors, squares=others.squares)
        return Nearest(self._at_most(distances, vectors), rows)

    def _at_most(self, distances: Tensor, vectors: Tensor) -> Tensor:
        if self._vectors.dtype == torch.float16:
            # A new image is not rounded; so these are what its distances can be at most.
            distances += _HALF_ROUNDING * vectors.norm(dim=1)
        return distances

    def _make_buffer(self, channels: int) -> Tensor:
        """The bank's vectors, and room behind them for what replaces those of any group.

        So the bank is not copied for each group.
        """
        vectors = self._bank.vectors
        room = int(self._bank_groups.bincount().max()) if len(self._bank_groups) else 0
        return torch.cat([vectors, vectors.new_empty(room, channels)])

    def _replacements(self, group_id: int, count: int) -> Tensor:
        """`count` patches of other groups, each the farthest from the bank without this group."""
        start = self._ends[group_id - 1] if group_id else 0
        members = self._by_nearest[start : self._ends[group_id]]
        orphans = members[self._group_ids[members] != group_id]
        is_other = self._group_ids[self._far] != group_id
        others = self._far[is_other & (self._nearest_groups[self._far] != group_id)]
        near = self._nearest
        bounds = torch.cat([near.others_squared[orphans], near.squared[others]])
        bounds, order = bounds.sort(descending=True, stable=True)
        return self._farthest(torch.cat([orphans, others])[order], bounds, count)

    def _farthest(self, candidates: Indices, bounds: Tensor, count: int) -> Tensor:
        """Greedy choice among candidates at most so far from the bank, the farthest first.

        Distances only shrink, so only the first few are looked at for as long as the farthest of
        these is no nearer than the next one can be.
        """
        zero = _ROUNDING * float(self._bank.squares.max())
        chosen: list[int] = []
        vectors = self._vectors[candidates[:0]].float()
        distances = bounds[:0]
        while len(chosen) < count and len(candidates):
            seen = len(distances)
            unseen_bound = float(bounds[seen]) if seen < len(bounds) else -torch.inf
            if seen and float(distances.max()) >= unseen_bound:
                if float(distances.max()) <= zero:
                    break
                chosen.append(int(distances.argmax()))
                new = (vectors - vectors[chosen[-1]]).square().sum(dim=1)
                distances = torch.minimum(distances, new)
                continue
            more = slice(seen, max(_FIRST_CANDIDATES, 2 * seen))
            added = self._vectors[candidates[more]].float()
            to_chosen = [(added - vectors[row]).square().sum(dim=1) for row in chosen]
            vectors = torch.cat([vectors, added])
            nearest = torch.stack([bounds[more], *to_chosen]).amin(dim=0)
            distances = torch.cat([distances, nearest])
        return candidates[torch.tensor(chosen, dtype=torch.long)]


def _farthest_rows(squared: Tensor, inside: Tensor | None) -> Indices:
    """The patches that are farthest from the bank, padding excepted."""
    if inside is not None:
        squared = torch.where(inside, squared, -torch.inf)
    rows = squared.topk(min(_FAR_CANDIDATES, len(squared))).indices
    return rows if inside is None else rows[inside[rows]]
