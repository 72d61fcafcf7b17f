"""Scores and distances of the good images of a bank, each by the bank without its group."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from flawmap.engine.run import best_device
from flawmap.features.place_scaling import PlaceScaling
from flawmap.memory.bank import Bank
from flawmap.memory.leave_out import LeaveOut, held_out_distances
from flawmap.memory.threads import single_threaded
from flawmap.methods.base import HeldOutScores
from flawmap.methods.patchcore_head import PatchCoreHead
from flawmap.methods.patchcore_reduction import ReducedPatches
from flawmap.support.progress import track
from flawmap.support.tensors import Embedded, Indices


@torch.inference_mode()
@single_threaded()
def leave_one_out_scores(
    left_out: LeaveOut,
    embedded: Embedded,
    group_ids: Indices,
    size: tuple[int, int],
    make_head: Callable[[Bank], PatchCoreHead],
) -> HeldOutScores:
    """Image scores and map peaks of good images, each by the bank without its group.

    Args:
        left_out: the bank without each group, and the distances to it.
        embedded: the images, with vectors as the bank compares them.
        group_ids: the group of each image, (image,), numbered from 0.
        size: height and width of the images, in pixels.
        make_head: the head that compares with a bank.

    Returns:
        Scores in the order of the images.
    """
    image = torch.zeros(len(group_ids))
    peak = torch.zeros(len(group_ids))
    groups = group_ids.unique().tolist()
    for group_id in track(groups, "scoring good images", len(groups)):
        bank = left_out.bank_without(group_id)
        head = make_head(bank)
        for index in (group_ids == group_id).nonzero()[:, 0].tolist():
            nearest = left_out.nearest_in(index, bank)
            scores = head.score_compared(embedded.image(index), nearest, *size)
            image[index], peak[index] = scores
    return HeldOutScores(image, peak)


def fit_places(
    bank: Bank, vectors: ReducedPatches, shape: Sequence[int], inside: Tensor | None
) -> PlaceScaling:
    """The scaling by place of good images, each compared with the bank without it.

    Args:
        bank: what they were fitted to.
        vectors: of all their patches, as the bank compares them.
        shape: their number, rows and columns of patches.
        inside: True where a patch is no padding, (image, patch); None where none is padding.
    """
    with single_threaded():
        distances = held_out_distances(bank, vectors, torch.arange(shape[0]), inside)
    return PlaceScaling.fit(distances.reshape(*shape), inside).to(best_device())
