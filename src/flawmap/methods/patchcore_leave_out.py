"""Scores and distances of the good images of a bank, each by the bank without its group."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from flawmap.engine.run import best_device
from flawmap.features.place_scaling import PlaceScaling
from flawmap.features.reduction import reduce_in_blocks
from flawmap.memory.bank import Bank
from flawmap.memory.leave_out import LeaveOut
from flawmap.memory.neighbours import Nearest
from flawmap.memory.scratch_rows import PatchRows
from flawmap.memory.threads import single_threaded
from flawmap.methods.base import HeldOutScores
from flawmap.methods.patchcore_head import PatchCoreHead
from flawmap.methods.patchcore_shard import GoodPatches, Thinned
from flawmap.support.tensors import Embedded


class Reduced(NamedTuple):
    """Vectors as the bank compares them.

    Args:
        vectors: of all patches that were kept, (patch, channel).
        module: made them of what the encoder returns.
    """

    vectors: PatchRows
    module: nn.Module


class Compared(NamedTuple):
    """An image beside the bank without its group.

    Args:
        image: its number, from 0; or that of a tile.
        bank: without its group.
        nearest: distances of its patches to that bank, and rows in it.
        embedded: the encoder's output for it, as the bank compares it.
    """

    image: int
    bank: Bank
    nearest: Nearest
    embedded: Embedded


@torch.inference_mode()
@single_threaded()
def leave_one_out_scores(
    left_out: LeaveOut,
    patches: GoodPatches,
    reduced: Reduced,
    make_head: Callable[[Bank], PatchCoreHead],
) -> HeldOutScores:
    """Image scores and map peaks of good images, each by the bank without its group.

    Where images were thinned, each is embedded again: its score is that of all its patches.

    Args:
        left_out: the bank without each group, and the distances to it.
        patches: of the images.
        reduced: their vectors as the bank compares them, and how they became so.
        make_head: the head that compares with a bank.

    Returns:
        Scores in the order of the images.
    """
    image = torch.zeros(patches.grid[0])
    peak = torch.zeros(patches.grid[0])
    for index, bank, nearest, embedded in compare_images(left_out, patches, reduced):
        scores = make_head(bank).score_compared(embedded, nearest, *patches.size)
        image[index], peak[index] = scores
    return HeldOutScores(image, peak)


def compare_images(
    left_out: LeaveOut, patches: GoodPatches, reduced: Reduced
) -> Iterator[Compared]:
    """Each image, or each tile, beside the bank without its group; those of a group in order.

    Args:
        left_out: the bank without each group, and the distances to it.
        patches: of the images; where they were thinned, each is embedded again.
        reduced: their vectors as the bank compares them, and how they became so.
    """
    if patches.thinned:
        return _compare_again(left_out, patches.thinned, reduced.module)
    return _compare(left_out, patches, reduced.vectors)


def _compare(left_out: LeaveOut, patches: GoodPatches, vectors: PatchRows) -> Iterator[Compared]:
    for index, bank, nearest in left_out.each_image():
        yield Compared(index, bank, nearest, patches.image(index, vectors))


def _compare_again(left_out: LeaveOut, thinned: Thinned, module: nn.Module) -> Iterator[Compared]:
    for index, embedded in enumerate(thinned.images()):
        (grid,), transforms, inside = embedded
        vectors = reduce_in_blocks(module, grid.flatten(0, 2))
        bank = left_out.bank_without_image(index)
        grid = vectors.reshape(*grid.shape[:3], -1)
        nearest = left_out.compare(vectors, bank)
        yield Compared(index, bank, nearest, Embedded((grid,), transforms, inside))


def fit_places(
    bank: Bank, vectors: PatchRows, shape: Sequence[int], inside: Tensor | None
) -> PlaceScaling:
    """The scaling by place of good images, each compared with the bank without it.

    Args:
        bank: what they were fitted to.
        vectors: of all their patches, as the bank compares them.
        shape: their number, rows and columns of patches.
        inside: True where a patch is no padding, (image, patch); None where none is padding.
    """
    distances = torch.empty(*shape)
    with single_threaded():
        left_out = LeaveOut(bank, vectors, torch.arange(shape[0]), inside)
        for index, _, nearest in left_out.each_image():
            distances[index] = nearest.distances.reshape(*shape[1:])
    return PlaceScaling.fit(distances, inside).to(best_device())
