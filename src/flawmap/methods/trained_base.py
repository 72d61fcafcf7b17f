"""What a trained method adds to `training/loop.py`: options, hooks, and what is saved of it."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import length_hint
from pathlib import Path
from typing import ClassVar, Generic, TypeVar, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from flawmap.engine.batches import Batch
from flawmap.engine.run import best_device
from flawmap.errors import DatasetError, OptionError
from flawmap.memory.concat import concat_batches
from flawmap.methods.base import Method, State, not_fitted
from flawmap.methods.trained_run import MethodTraining
from flawmap.support.system import available_memory
from flawmap.support.tensors import Images
from flawmap.training.checkpoint import with_prefix
from flawmap.training.metrics import EpochMetrics

Shapes = Sequence[tuple[int, ...]]
"""Shapes of the cached tensors of one image, without the axis that counts images."""

Losses = dict[str, Tensor]
"""Parts of the loss by name, a number each."""

_MIN_TRAINING_IMAGES = 2
"""Images to train with; networks that normalise over images need as many."""

_N = TypeVar("_N", bound=nn.Module)


@dataclass(eq=False)
class TrainedMethod(Method, Generic[_N]):
    """A method whose networks are trained on what the frozen encoder makes of good images.

    What is trained on is held in memory: `training_inputs` says what that is of an image. A
    subclass defines `networks`, `optimizers`, `loss`, `encoder` and `head`; the other hooks have
    defaults.

    Args:
        epochs: passes over the images, 1 or more.
        batch_size: images a step, 1 or more.
        max_images_per_epoch: images of an epoch, drawn anew for each; None for all.

    Raises:
        OptionError: one of them is less than 1.
    """

    holdout_fraction: ClassVar[float] = 0.2
    """Fraction of the good images held out: leaving each out would take a training for each."""

    max_grad_norm: ClassVar[float | None] = None
    """Largest gradient norm over all networks, clipped beyond it; None for no clipping."""

    resume_keys: ClassVar[tuple[str, ...]] = ()
    """Options that must be equal on resume although they usually may differ.

    It is `epochs` where one phase of the training follows another.
    """

    drop_last: ClassVar[bool] = False
    """Whether to drop an incomplete last batch, for networks that normalise over images."""

    epochs: int = 20
    batch_size: int = 8
    max_images_per_epoch: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        drawn = self.max_images_per_epoch
        if min(self.epochs, self.batch_size, 1 if drawn is None else drawn) < 1:
            images = "all" if drawn is None else drawn
            raise OptionError(
                f"epochs={self.epochs} of {images} images, batch_size={self.batch_size}; use 1 or "
                "more of each"
            )
        self.networks_: _N | None = None
        self.shapes_: Shapes = []
        self.history_: list[EpochMetrics] = []

    @abstractmethod
    def networks(self, shapes: Shapes) -> _N:
        """The networks, untrained; what is random comes from torch's own generator.

        Args:
            shapes: of the cached tensors of one image.
        """

    @abstractmethod
    def optimizers(self, networks: _N) -> list[Optimizer]:
        """The optimizers of the networks' parameters, at the learning rates of the first epoch.

        Args:
            networks: what `networks` gave, on the device where they are trained.
        """

    @abstractmethod
    def loss(self, networks: _N, batch: list[Tensor]) -> Losses:
        """The parts of the loss whose sum a step makes smaller, by name.

        What is random comes from torch's own generator.

        Args:
            networks: in training mode.
            batch: what `training_batches` gave, on the networks' device.
        """

    def lr_factor(self, epoch: int) -> float:
        """Factor on every learning rate in an epoch.

        Args:
            epoch: counted from 1.
        """
        del epoch
        return 1.0

    @property
    def phase_ends(self) -> tuple[int, ...]:
        """The last epoch of each phase of the training; epochs of one phase take equally long."""
        return (self.epochs,)

    def training_inputs(self, images: Images) -> list[Tensor]:
        """What is cached of a batch; the encoder's output, unless a method needs more.

        Args:
            images: (batch, 3, height, width), preprocessed.

        Returns:
            Tensors whose first axis counts the images.
        """
        return self.encoder_runner.encode(images).flatten()

    def on_train_start(self, cached: list[Tensor]) -> None:
        """Called once before the networks are made; does nothing unless overridden.

        Args:
            cached: of all images.
        """

    def on_train_end(self, networks: _N, cached: list[Tensor]) -> None:
        """Called once after the last epoch, to measure what scoring needs to know.

        Args:
            networks: trained, in evaluation mode.
            cached: of all images.
        """

    def training_batches(
        self, cached: list[Tensor], order: Sequence[int], epoch: int
    ) -> Iterator[list[Tensor]]:
        """What each step of an epoch is trained with: by default the cached tensors of its images.

        Args:
            cached: of all images.
            order: indices of the images that are drawn for this epoch.
            epoch: counted from 1.
        """
        del epoch
        for indices in self.split_batches(order):
            yield [tensor[indices] for tensor in cached]

    @final
    def split_batches(self, order: Sequence[int]) -> list[list[int]]:
        """The indices of an epoch, batch by batch.

        Args:
            order: indices of the images.
        """
        starts = range(0, len(order), self.batch_size)
        batches = [list(order[start : start + self.batch_size]) for start in starts]
        if self.drop_last and len(batches) > 1 and len(batches[-1]) < self.batch_size:
            batches.pop()
        return batches

    @property
    def is_trained(self) -> bool:
        """Whether fitting trains a network: always."""
        return True

    @final
    def fit(self, batches: Iterable[Batch], folder: Path | None = None) -> TrainedMethod[_N]:
        """Train to the last epoch.

        Args:
            batches: the good images.
            folder: for checkpoints to resume from, and curves; None keeps nothing.

        Returns:
            The method itself.

        Raises:
            DatasetError: fewer than two images could be used.
            OptionError: this machine has not the memory.
            TrainingError: the loss became infinite or not a number.
            WriteError: the folder cannot be written.
        """
        cached, images_sha256 = self._cache_inputs(batches)
        self.on_train_start(cached)
        self.shapes_ = [tuple(tensor.shape[1:]) for tensor in cached]
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            networks = self.networks(self.shapes_)
        training = MethodTraining(self, networks.to(best_device()), cached, images_sha256)
        training.run(folder)
        self.on_train_end(networks.eval(), cached)
        self.networks_ = networks.eval().requires_grad_(False)
        self.history_ = training.history
        return self

    @final
    def fitted_state(self) -> State:
        """The networks' weights, and the shapes that they were made for, on the CPU.

        Raises:
            NotFitted: nothing was trained yet.
        """
        weights = self.trained_networks().state_dict()
        state = {f"networks.{name}": tensor.cpu() for name, tensor in weights.items()}
        shapes = {f"shape.{index}": torch.tensor(shape) for index, shape in enumerate(self.shapes_)}
        return shapes | state

    @final
    def load_fitted_state(self, state: State) -> None:
        """Restore the networks.

        Args:
            state: what `fitted_state` gave.
        """
        count = len(with_prefix("shape.", state))
        self.shapes_ = [tuple(state[f"shape.{index}"].tolist()) for index in range(count)]
        # Without memory, so without drawing random numbers, until the tensors come.
        with torch.device("meta"):
            networks = self.networks(self.shapes_)
        networks.load_state_dict(with_prefix("networks.", state), assign=True)
        self.networks_ = networks.eval().requires_grad_(False).to(best_device())

    @final
    def trained_networks(self) -> _N:
        """The trained networks.

        Raises:
            NotFitted: nothing was trained yet.
        """
        if self.networks_ is None:
            raise not_fitted(self)
        return self.networks_

    def _cache_inputs(self, batches: Iterable[Batch]) -> tuple[list[Tensor], str]:
        """What is trained on, of all images, and a hash of the images."""
        digest = hashlib.sha256()
        expected = max(1, length_hint(batches))
        counts: list[int] = []

        def cache(batch: Batch) -> list[Tensor]:
            digest.update(f"{batch.images.shape[1:]}\n".encode())
            digest.update(batch.images.contiguous().numpy().tobytes())
            inputs = self.training_inputs(batch.images)
            if not counts:
                _check_memory(inputs, expected)
            counts.append(len(inputs[0]))
            return inputs

        self.encoder_runner.warm_up(batches, self.phase_ends[-1])
        cached = concat_batches(map(cache, batches), expected)
        count = sum(counts)
        if count < _MIN_TRAINING_IMAGES:
            raise DatasetError(
                f"{count or 'no'} image could be used, and {_MIN_TRAINING_IMAGES} are the fewest "
                "to train with; give 100 or more"
            )
        return cached, digest.hexdigest()


def _check_memory(inputs: list[Tensor], num_batches: int) -> None:
    """Refuse what this machine has not the memory for, before it is reserved."""
    bytes_per_batch = sum(tensor.numel() * tensor.element_size() for tensor in inputs)
    needed = num_batches * bytes_per_batch
    free = available_memory()
    if needed > free:
        raise OptionError(
            f"to train on {num_batches * len(inputs[0])} images takes {needed / 1e9:.2f} GB and "
            f"{free / 1e9:.2f} GB are free; use fewer images, a smaller size, or a backbone with "
            "fewer channels"
        )
