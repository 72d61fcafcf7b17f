"""Scores and distances of the good images of a bank, each by the bank without its group."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from flawmap.engine.run import best_device
from flawmap.features.place_scaling import PlaceScaling
from flawmap.memory.bank import Bank
from flawmap.memory.leave_out import LeaveOut
from flawmap.memory.scratch_rows import PatchRows
from flawmap.memory.threads import single_threaded
from flawmap.methods.base import HeldOutScores
from flawmap.methods.patchcore_head import PatchCoreHead
from flawmap.methods.patchcore_shard import GoodPatches


@torch.inference_mode()
@single_threaded()
def leave_one_out_scores(
    left_out: LeaveOut,
    patches: GoodPatches,
    vectors: PatchRows,
    make_head: Callable[[Bank], PatchCoreHead],
) -> HeldOutScores:
    """Image scores and map peaks of good images, each by the bank without its group.

    Args:
        left_out: the bank without each group, and the distances to it.
        patches: of the images.
        vectors: of all their patches, as the bank compares them, (patch, channel).
        make_head: the head that compares with a bank.

    Returns:
        Scores in the order of the images.
    """
    image = torch.zeros(patches.grid[0])
    peak = torch.zeros(patches.grid[0])
    for index, bank, nearest in left_out.each_image():
        embedded = patches.image(index, vectors)
        scores = make_head(bank).score_compared(embedded, nearest, *patches.size)
        image[index], peak[index] = scores
    return HeldOutScores(image, peak)


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
