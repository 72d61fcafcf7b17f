"""Scores of the good images that a bank was fitted to, each by the bank without its group."""

from __future__ import annotations

from collections.abc import Callable

import torch

from flawmap.memory.bank import Bank
from flawmap.memory.leave_out import LeaveOut
from flawmap.memory.threads import single_threaded
from flawmap.methods.base import HeldOutScores
from flawmap.methods.patchcore_head import PatchCoreHead
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
