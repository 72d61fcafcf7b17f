"""timm, imported beside any build of torchvision."""

from __future__ import annotations

import sys
from types import ModuleType

import torch


def import_timm() -> ModuleType:
    """The module timm, imported beside whichever torchvision is installed.

    timm imports torchvision. Beside a CPU build of torch, the stock torchvision wheel cannot load
    its compiled operators and fails at import for want of two declarations. No compiled operator
    is used here, so declaring them is enough.
    """
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        _declare_torchvision_operators()
        for module in list(sys.modules):
            if module.partition(".")[0] == "torchvision":
                del sys.modules[module]
    import timm

    return timm


def _declare_torchvision_operators() -> None:
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _DECLARED.append(library)


_DECLARED: list[torch.library.Library] = []
"""Kept for as long as the process lives: a declaration ends with the object that made it."""
