"""What a memory would say of the images that it was made from, had it been made without them.

An image is close to a memory that holds its own vectors, so it must be judged without those.
Passing over them alone would leave a hole: had the image never been there, the greedy coreset would
have put vectors of others in their place. So as many are chosen anew, each the farthest from what
is left, among the patches whose nearest vector went missing and those that were farthest anyway.
All distances between patches and memory come from one pass.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from flawmap.memory.bank import Bank
from flawmap.memory.matmul import squared_distance_terms
from flawmap.memory.neighbours import ELEMENTS_PER_BLOCK, Nearest
from flawmap.memory.threads import map_in_threads
from flawmap.support.progress import track
from flawmap.support.tensors import Indices, Patches

FAR_CANDIDATES = 4096
"""How many of the patches farthest from the memory may come in for any vectors that are missing."""

FIRST_CANDIDATES = 64
"""How many of the candidates are looked at first."""

_ROUNDING = 1e-6
"""Of the largest ‖v‖²: what products may leave of the distance between a vector and itself."""


class LeaveOut:
    """Judges images by the memory that they had no part in.

    Args:
        bank: the memory.
        vectors: all patches that it was chosen from, as it compares them, image by image.
        owners: of each image, numbered from 0; images of one owner, as those of one lot, are left
            out together.
    """

    def __init__(self, bank: Bank, vectors: Patches, group_ids: Indices) -> None:
        self.vectors = vectors
        self.patches = len(vectors) // len(group_ids)
        group_ids = group_ids.int()  # one for each patch: half the memory
        self.group_ids = group_ids.repeat_interleave(self.patches)
        # Side by side, an owner's vectors are a few neighbouring columns to pass over.
        order = group_ids[bank.image_ids.cpu()].argsort(stable=True)
        self.bank = Bank(bank.vectors[order], bank.image_ids[order], bank.squares[order])
        self.bank_owners = group_ids[self.bank.image_ids.cpu()]
        self.near = _two_nearest(vectors, self.bank, self.bank_owners)
        self.near_owners = self.bank_owners[self.near.rows]
        self.far = self.near.squared.topk(min(FAR_CANDIDATES, len(vectors))).indices
        # The patches by the owner of their nearest vector.
        self.by_near = self.near_owners.argsort(stable=True)
        self.ends = (
            self.near_owners.bincount(minlength=int(group_ids.max()) + 1).cumsum(dim=0).tolist()
        )
        # Room for the most that ever comes in for an owner's vectors: the memory is not copied for
        # each of them.
        most = int(self.bank_owners.bincount().max()) if len(self.bank_owners) else 0
        self.room = torch.cat(
            [self.bank.vectors, self.bank.vectors.new_empty(most, vectors.shape[1])]
        )

    def bank_without(self, group_id: int) -> Bank:
        """Give the memory as it would be without all that one owner brought.

        Its own vectors are passed over.

        It is overwritten when the next owner's is asked for.
        """
        own = self.bank_owners == group_id
        chosen = self._in_their_place(group_id, int(own.sum()))
        new = self.vectors[chosen].to(self.bank.vectors)
        whole = self.room[: len(self.bank.vectors) + len(new)]
        whole[len(self.bank.vectors) :] = new
        passed_over = self.bank.squares.masked_fill(own.to(self.bank.squares.device), torch.inf)
        return Bank(
            whole,
            torch.cat([self.bank.image_ids, (chosen // self.patches).to(self.bank.image_ids)]),
            torch.cat([passed_over, new.square().sum(dim=1)]),
        )

    def nearest_in(self, image: int, others: Bank) -> Nearest:
        """Give the distances of an image's patches to `others`, which `without` its owner gave."""
        patches = slice(image * self.patches, (image + 1) * self.patches)
        vectors = self.vectors[patches].to(others.vectors)
        own = self.near_owners[patches] == self.group_ids[patches]
        squared = torch.where(own, self.near.others_squared[patches], self.near.squared[patches])
        rows = torch.where(own, self.near.others_rows[patches], self.near.rows[patches])
        added = len(self.bank.vectors)
        if len(others.vectors) > added:
            new = (
                _products(vectors, others.vectors[added:], others.squares[added:]).cpu().min(dim=1)
            )
            rows = torch.where(new.values < squared, added + new.indices, rows)
        rows = rows.to(vectors.device)
        # As in `nearest`: which is nearest by products, how far it is by the difference.
        return Nearest((vectors - others.vectors[rows]).square().sum(dim=1).sqrt(), rows)

    def _in_their_place(self, group_id: int, count: int) -> Tensor:
        """`count` patches of other groups, each the farthest from the bank without this group."""
        group = self.by_near[self.ends[group_id - 1] if group_id else 0 : self.ends[group_id]]
        orphans = group[self.group_ids[group] != group_id]
        others = self.far[
            (self.group_ids[self.far] != group_id) & (self.near_owners[self.far] != group_id)
        ]
        bounds = torch.cat([self.near.others_squared[orphans], self.near.squared[others]])
        bounds, order = bounds.sort(descending=True, stable=True)
        return self._farthest(torch.cat([orphans, others])[order], bounds, count)

    def _farthest(self, candidates: Indices, bounds: Tensor, count: int) -> Tensor:
        """Greedy choice among candidates at most so far from the bank, the farthest first.

        Distances only shrink, so only the first few are looked at for as long as the farthest of
        these is no nearer than the next one can be.
        """
        nothing = _ROUNDING * float(self.bank.squares.max())
        chosen: list[int] = []
        vectors, left = self.vectors[candidates[:0]], bounds[:0]
        while len(chosen) < count and len(candidates):
            looked = len(left)
            outside = float(bounds[looked]) if looked < len(bounds) else -torch.inf
            if looked and (farthest := float(left.max())) >= outside:
                if farthest <= nothing:
                    break
                chosen.append(int(left.argmax()))
                left = torch.minimum(left, (vectors - vectors[chosen[-1]]).square().sum(dim=1))
                continue
            more = slice(looked, max(FIRST_CANDIDATES, 2 * looked))
            new = self.vectors[candidates[more]]
            apart = [(new - vectors[place]).square().sum(dim=1) for place in chosen]
            vectors = torch.cat([vectors, new])
            left = torch.cat([left, torch.stack([bounds[more], *apart]).amin(dim=0)])
        return candidates[torch.tensor(chosen, dtype=torch.long)]


class _TwoNearest(NamedTuple):
    """For each patch its nearest vector, and the nearest that another owner brought.

    Squared distances and rows.
    """

    squared: Tensor
    rows: Tensor
    others_squared: Tensor
    others_rows: Tensor


def _two_nearest(vectors: Patches, bank: Bank, group_ids: Tensor) -> _TwoNearest:
    starts, ends = (
        torch.searchsorted(group_ids, group_ids, side=side).to(bank.vectors.device)
        for side in ("left", "right")
    )
    at_once = max(1, ELEMENTS_PER_BLOCK // len(bank.vectors))
    blocks = [slice(first, first + at_once) for first in range(0, len(vectors), at_once)]
    found = _TwoNearest(
        *(torch.empty(len(vectors), dtype=dtype) for dtype in (torch.float32, torch.int32) * 2)
    )

    @torch.inference_mode()  # a thread does not inherit it
    def fill(block: slice) -> None:
        # Into its place at once: small results kept one by one would settle where the products
        # were, and break up the heap (13 GB for 761 images).
        for whole, part in zip(
            found, _two_nearest_of(vectors[block].to(bank.vectors), bank, starts, ends), strict=True
        ):
            whole[block] = part

    for _ in track(map_in_threads(fill, blocks), "comparing good images", len(blocks)):
        pass
    return found


def _two_nearest_of(vectors: Tensor, bank: Bank, starts: Tensor, ends: Tensor) -> _TwoNearest:
    squared = _products(vectors, bank.vectors, bank.squares)
    first = squared.min(dim=1)
    start, end = starts[first.indices, None], ends[first.indices, None]
    # The columns of the nearest one's owner, the last of them again where another owner has more.
    columns = torch.minimum(
        start + torch.arange(int((end - start).max()), device=start.device), end - 1
    )
    second = squared.scatter_(1, columns, torch.inf).min(dim=1)
    return _TwoNearest(first.values, first.indices, second.values, second.indices)


def _products(vectors: Tensor, others: Tensor, squares: Tensor) -> Tensor:
    """‖v − o‖² by one matrix product; float32 loses what is small beside ‖v‖²."""
    return squared_distance_terms(vectors, others, squares).add_(
        vectors.square().sum(dim=1, keepdim=True)
    )
