"""The training of a method on good images, as `training/loop.py` runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import torch
from numpy.random import default_rng
from torch import Tensor, nn

from flawmap.training.checkpoint import hash_of
from flawmap.training.loop import TrainingRun
from flawmap.training.monitor import TrainingMonitor

if TYPE_CHECKING:
    from flawmap.methods.trained_base import TrainedMethod

_N = TypeVar("_N", bound=nn.Module)

_FREE_OPTIONS = ("epochs", "weights")
"""Option names that may differ on resume; the weights' own fingerprint says what they are."""


class MethodTraining(TrainingRun[_N]):
    """The training of one method.

    Everything random in an epoch follows from seed and epoch alone. The budget is fixed and the
    last epoch counts: no test image is looked at.

    Args:
        method: its options and hooks.
        networks: to be trained, on the device where they are trained.
        cached: what the method keeps of all images, one tensor or more with the images first.
        images_sha256: hash of the images.
    """

    def __init__(
        self,
        method: TrainedMethod[_N],
        networks: _N,
        cached: list[Tensor],
        images_sha256: str,
    ) -> None:
        self.method = method
        self.cached = cached
        self._images_sha256 = images_sha256
        count = len(cached[0])
        self._images_per_epoch = min(count, method.max_images_per_epoch or count)
        monitor = TrainingMonitor(
            "training",
            f"training {type(method).__name__}",
            method.phase_ends,
            len(method.split_batches(range(self._images_per_epoch))),
            self._images_per_epoch,
            advice="no weight was changed by it; try another seed or lower learning rates",
        )
        super().__init__(networks, method.optimizers(networks), monitor, method.max_grad_norm)
        self._first_rates = [
            [group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers
        ]

    def train_epoch(self, number: int) -> dict[str, float]:
        """Train with the images that are drawn for this epoch.

        Args:
            number: of the epoch, counted from 1.

        Returns:
            Each part of the loss, in the mean over steps.
        """
        rng = default_rng([self.method.seed, number])
        order = rng.permutation(len(self.cached[0]))[: self._images_per_epoch].tolist()
        self._scale_rates(self.method.lr_factor(number))
        self.networks.train()
        sums: dict[str, float] = {}
        with torch.random.fork_rng():
            torch.manual_seed(int(rng.integers(2**63)))
            batches = self.method.training_batches(self.cached, order, number)
            for batch in self.monitor.iterate(number, batches):
                on_device = [tensor.to(self.device) for tensor in batch]
                losses = self.method.loss(self.networks, on_device)
                self.step(torch.stack(list(losses.values())).sum())
                for name, loss in losses.items():
                    sums[name] = sums.get(name, 0.0) + loss.item()
        return {name: total / self.monitor.num_steps for name, total in sums.items()}

    def resume_key(self) -> str:
        """Hash of method, options, images and the backbone's weights."""
        free = set(_FREE_OPTIONS) - set(self.method.resume_keys)
        options = self.method.options()
        fixed = {name: value for name, value in options.items() if name not in free}
        name = type(self.method).__name__
        backbone = self.method.feature_extractor.fingerprint()
        return hash_of(name, fixed, self._images_sha256, backbone)

    def to_dict(self) -> dict[str, Any]:
        """Method, options and epochs."""
        return {
            "method": type(self.method).__name__,
            "options": self.method.options(),
            "history": [epoch.to_dict() for epoch in self.history],
        }

    def _scale_rates(self, factor: float) -> None:
        for optimizer, rates in zip(self.optimizers, self._first_rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
