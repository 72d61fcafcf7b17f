"""The checkpoint of a training: its key, its history, weights and optimizer state."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.optim import Optimizer

from flawmap.errors import TrainingError
from flawmap.support.atomic import atomic_write
from flawmap.training.metrics import EpochMetrics


class Checkpoint(NamedTuple):
    """All that a training needs to resume after an epoch.

    Args:
        key: hash of what is trained on what; only a training of the same key may resume.
        history: the epochs that are done.
        state: tensors by name: weights, optimizer state, random state.
    """

    key: str
    history: list[EpochMetrics]
    state: Mapping[str, Tensor]

    def write(self, file: Path) -> None:
        """Write the checkpoint in one step, so that it is complete or not there at all.

        Args:
            file: a safetensors file; one that is there is replaced.

        Raises:
            WriteError: it cannot be written; what was there before still is.
        """
        history = json.dumps([epoch.to_dict() for epoch in self.history])
        tensors = {name: tensor.cpu().contiguous() for name, tensor in self.state.items()}
        with atomic_write(file) as stream:
            stream.write(save(tensors, {"key": self.key, "history": history}))

    @classmethod
    def read(cls, file: Path) -> Checkpoint:
        """The checkpoint in a file.

        Args:
            file: as `write` left it.

        Raises:
            TrainingError: it cannot be read, or is damaged.
        """
        try:
            with safe_open(file, "pt") as saved:
                metadata = saved.metadata() or {}
                state = {name: saved.get_tensor(name) for name in saved.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise TrainingError(f"{file} cannot be read ({error})") from error
        epochs = json.loads(metadata.get("history", "[]"))
        history = [EpochMetrics.from_dict(epoch) for epoch in epochs]
        return cls(metadata.get("key", ""), history, state)


def hash_of(*identity: object) -> str:
    """Hash of what identifies a training; the same in every process.

    Args:
        identity: settings, hashes of images, fingerprints of weights: anything whose `repr` shows
            all that matters.

    >>> hash_of("crad", 3) == hash_of("crad", 3) != hash_of("crad", 4)
    True
    """
    return hashlib.sha256(repr(identity).encode()).hexdigest()


def with_prefix(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, by the rest of their names.

    Args:
        prefix: as "networks.".
        state: tensors by name.

    >>> list(with_prefix("a.", {"a.x": torch.ones(1), "b.x": torch.ones(1)}))
    ['x']
    """
    return {name.removeprefix(prefix): state[name] for name in state if name.startswith(prefix)}


def optimizer_state(optimizers: Sequence[Optimizer]) -> dict[str, Tensor]:
    """The moments of all optimizers, named `optimizer.INDEX.PARAMETER.NAME`.

    Args:
        optimizers: whose state holds tensors only, as of SGD, Adam and AdamW.
    """
    state = {}
    for index, optimizer in enumerate(optimizers):
        for number, moments in optimizer.state_dict()["state"].items():
            for name, tensor in moments.items():
                state[f"optimizer.{index}.{number}.{name}"] = tensor
    return state


def load_optimizer_state(optimizers: Sequence[Optimizer], state: Mapping[str, Tensor]) -> None:
    """Put moments back into new optimizers of the same parameters.

    Args:
        optimizers: in the same order; they are changed.
        state: what `optimizer_state` gave, among others.
    """
    for index, optimizer in enumerate(optimizers):
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in with_prefix(f"optimizer.{index}.", state).items():
            number, moment = name.split(".")
            moments.setdefault(int(number), {})[moment] = tensor
        optimizer.load_state_dict(optimizer.state_dict() | {"state": moments})
