"""What methods that are trained share: the loop over good pictures, what it leaves on disk, and how it is gone on with.

Everything random in an epoch follows from seed and epoch alone, so a training that was stopped goes on to the same
result bit for bit, on one kind of machine. The budget is fixed and the last epoch counts: no test picture is looked at.
"""

from __future__ import annotations

import hashlib
import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import length_hint
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, final

import torch
from numpy.random import default_rng
from torch import Tensor, nn
from torch.optim import Optimizer

from flawmap.data.loading import Batch
from flawmap.errors import DatasetError, OptionError
from flawmap.machine import available_memory
from flawmap.memory.collect import collect
from flawmap.methods.base import Method, State, best_device, not_fitted
from flawmap.progress import Round, tell
from flawmap.render.curves import draw_losses
from flawmap.tensors import Images
from flawmap.training import Course, Watch

FEWEST = 2
"""Pictures to train with; networks that normalise over pictures need as many."""

Shapes = Sequence[tuple[int, ...]]
"""Of what is held of a picture, without the axis that counts pictures."""

Losses = dict[str, Tensor]
"""Parts of the loss by name, a number each."""

N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True)
class Preset:
    """Settings that belong together, under a name.

    Args:
        takes: what they are for and how long that takes, in a few words.
        size: of the network's input, in pixels a side.
        options: of the method.
    """

    takes: str
    size: int = 224
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class TrainedMethod(Method, Generic[N]):
    """A method that is trained on good pictures; its networks see what the frozen encoder makes of them.

    What is learned from is held in memory: `take` says what that is of a picture.

    Args:
        epochs: rounds over the pictures.
        batch: pictures a step.
        most: pictures of an epoch, drawn anew for each; None for all.
    """

    aside: ClassVar[float] = 0.2
    """Leaving pictures out afterwards would take a training for each."""

    clip: ClassVar[float | None] = None
    """Longest gradient over all networks; None for any."""

    fixed: ClassVar[tuple[str, ...]] = ()
    """Options of which a longer training may not have other values; `epochs` where a phase follows another."""

    whole: ClassVar[bool] = False
    """Whether steps of fewer pictures than `batch` are left out, as for networks that normalise over pictures."""

    epochs: int = 20
    batch: int = 8
    most: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.epochs, self.batch, 1 if self.most is None else self.most) < 1:
            drawn = "all" if self.most is None else self.most
            raise OptionError(f"{self.epochs} epochs of {drawn} pictures, {self.batch} a step; use 1 or more of each")
        self.networks_: N | None = None
        self.shapes_: Shapes = []
        self.history_: list[Round] = []

    @abstractmethod
    def networks(self, shapes: Shapes) -> N:
        """Make the networks, untrained; what is random comes from torch's own generator."""

    @abstractmethod
    def optimizers(self, networks: N) -> list[Optimizer]:
        """Make what moves the networks' weights, at the rates of the first epoch."""

    @abstractmethod
    def loss(self, networks: N, lesson: list[Tensor]) -> Losses:
        """Give the parts whose sum a step makes smaller; what is random comes from torch's own generator."""

    def pace(self, epoch: int) -> float:
        """Say what the rates are multiplied by in an epoch, counted from 1."""
        del epoch
        return 1.0

    @property
    def ends(self) -> tuple[int, ...]:
        """The last epoch of each phase of the training; epochs of one phase take equally long."""
        return (self.epochs,)

    def take(self, images: Images) -> list[Tensor]:
        """Say what is held of pictures: what the encoder gives, unless a method needs more."""
        return self.encode(images)

    def survey(self, held: list[Tensor]) -> None:
        """Look at all pictures once before the training begins; most methods need not."""

    def finish(self, networks: N, held: list[Tensor]) -> None:
        """Measure what judging needs to know of the trained networks; for most methods nothing."""

    def lessons(self, held: list[Tensor], order: Sequence[int], epoch: int) -> Iterator[list[Tensor]]:
        """Give what the steps of an epoch learn from: what is held of the pictures numbered in `order`."""
        del epoch
        for places in self._chunks(order):
            yield [one[places] for one in held]

    @final
    def fit(self, batches: Iterable[Batch], folder: Path | None = None) -> TrainedMethod[N]:
        """Train to the last epoch.

        Raises:
            DatasetError: fewer than two pictures could be used.
            OptionError: this machine has not the memory.
            TrainingError: the loss became infinite or no number.
            WriteError: the folder cannot be written.
        """
        held, digest = self._hold(batches)
        self.survey(held)
        self.shapes_ = [tuple(one.shape[1:]) for one in held]
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            networks = self.networks(self.shapes_)
        course = _Training(self, networks.to(best_device()), held, digest)
        course.run(folder)
        self.finish(networks.eval(), held)
        self.networks_, self.history_ = networks.eval().requires_grad_(False), course.history
        return self

    @final
    def learned(self) -> State:
        """Give the networks' weights, and the shapes that they were made for."""
        shapes = {f"shape.{place}": torch.tensor(shape) for place, shape in enumerate(self.shapes_)}
        return shapes | {f"networks.{name}": tensor.cpu() for name, tensor in self.trained().state_dict().items()}

    @final
    def relearn(self, learned: State) -> None:
        """Take the networks back."""
        count = sum(name.startswith("shape.") for name in learned)
        self.shapes_ = [tuple(learned[f"shape.{place}"].tolist()) for place in range(count)]
        # Without memory, so without drawing random numbers, until the tensors come.
        with torch.device("meta"):
            networks = self.networks(self.shapes_)
        networks.load_state_dict(_behind("networks.", learned), assign=True)
        self.networks_ = networks.eval().requires_grad_(False).to(best_device())

    @final
    def trained(self) -> N:
        """Give the networks as they came out of the training.

        Raises:
            NotFitted: there was none yet.
        """
        if self.networks_ is None:
            raise not_fitted(self)
        return self.networks_

    def _hold(self, batches: Iterable[Batch]) -> tuple[list[Tensor], str]:
        """Take what is needed of all pictures; also says in a hash which pictures these are."""
        digest, expected = hashlib.sha256(), max(1, length_hint(batches))
        seen: list[int] = []

        def take(batch: Batch) -> list[Tensor]:
            digest.update(f"{batch.images.shape[1:]}\n".encode())
            digest.update(batch.images.contiguous().numpy().tobytes())
            taken = self.take(batch.images)
            if not seen:
                _check_room(taken, expected)
            seen.append(len(taken[0]))
            return taken

        self.ready(batches, self.ends[-1])
        held = collect(map(take, batches), expected)
        if (count := sum(seen)) < FEWEST:
            raise DatasetError(
                f"{count or 'no'} picture could be used, and {FEWEST} are the fewest to train with; give 100 or more"
            )
        return held, digest.hexdigest()

    def _chunks(self, order: Sequence[int]) -> list[list[int]]:
        chunks = [list(order[start : start + self.batch]) for start in range(0, len(order), self.batch)]
        return chunks[:-1] if self.whole and len(chunks) > 1 and len(chunks[-1]) < self.batch else chunks


class _Training(Course[Round], Generic[N]):
    """The training of a method, as a folder keeps it."""

    def __init__(self, method: TrainedMethod[N], networks: N, held: list[Tensor], digest: str) -> None:
        self.method, self.networks, self.held, self.digest = method, networks, held, digest
        self.epochs, self.history = method.ends[-1], []
        self.optimizers = method.optimizers(networks)
        self.rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]

    def rounds(self) -> Iterator[Round]:
        count = len(self.held[0])
        drawn, name = min(count, self.method.most or count), type(self.method).__name__
        steps = len(self.method._chunks(range(drawn)))
        watch = Watch("Training", f"training {name}", self.method.ends, steps, drawn)
        while (number := len(self.history) + 1) <= self.epochs:
            started = time.perf_counter()
            losses = self._train_epoch(watch, number, drawn)
            self.history.append(Round(number, losses, time.perf_counter() - started))
            tell(self.history[-1])
            yield self.history[-1]

    def _train_epoch(self, watch: Watch, number: int, drawn: int) -> dict[str, float]:
        rng, device = default_rng([self.method.seed, number]), best_device()
        order = rng.permutation(len(self.held[0]))[:drawn].tolist()
        self._set_rates(self.method.pace(number))
        self.networks.train()
        sums: dict[str, float] = {}
        with torch.random.fork_rng():
            torch.manual_seed(int(rng.integers(2**63)))
            for lesson in watch.over(number, self.method.lessons(self.held, order, number)):
                losses = self.method.loss(self.networks, [one.to(device) for one in lesson])
                self._step(losses, watch)
                sums = {name: sums.get(name, 0.0) + loss.item() for name, loss in losses.items()}
        return {name: total / watch.steps for name, total in sums.items()}

    def _step(self, losses: Losses, watch: Watch) -> None:
        whole = torch.stack(list(losses.values())).sum()
        # Before the way back: torch's grid_sample dies of such numbers there (pytorch issue 24823).
        watch.check(whole.item(), "and nothing was learned from it; try another seed or lower rates")
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        whole.backward()
        if self.method.clip is not None:
            nn.utils.clip_grad_norm_(self.networks.parameters(), self.method.clip)
        for optimizer in self.optimizers:
            optimizer.step()

    def _set_rates(self, pace: float) -> None:
        for optimizer, rates in zip(self.optimizers, self.rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * pace

    def state(self) -> State:
        own = {f"networks.{name}": tensor for name, tensor in self.networks.state_dict().items()}
        for place, optimizer in enumerate(self.optimizers):
            for number, slots in optimizer.state_dict()["state"].items():
                own |= {f"optimizer.{place}.{number}.{name}": value for name, value in slots.items()}
        return {name: tensor.cpu().contiguous() for name, tensor in own.items()}

    def restore(self, state: Mapping[str, Tensor], history: list[Round]) -> None:
        self.networks.load_state_dict(_behind("networks.", state))
        for place, optimizer in enumerate(self.optimizers):
            slots: dict[int, State] = {}
            for name, tensor in _behind(f"optimizer.{place}.", state).items():
                number, slot = name.split(".")
                slots.setdefault(int(number), {})[slot] = tensor
            optimizer.load_state_dict(optimizer.state_dict() | {"state": slots})
        self.history[:] = history

    def read(self, epoch: dict[str, Any]) -> Round:
        return Round(**epoch)

    def key(self) -> str:
        # Where weights come from is no part of it: their fingerprint says what they are.
        free = set(_NOT_ABOUT) - set(self.method.fixed)
        options = {name: value for name, value in self.method.options().items() if name not in free}
        about = (type(self.method).__name__, options, self.digest, self.method.network.fingerprint())
        return hashlib.sha256(repr(about).encode()).hexdigest()

    def report(self) -> dict[str, Any]:
        history = [epoch._asdict() for epoch in self.history]
        return {"method": type(self.method).__name__, "options": self.method.options(), "history": history}

    def draw(self) -> bytes:
        return draw_losses([epoch.losses for epoch in self.history])


def _check_room(taken: list[Tensor], batches: int) -> None:
    """Refuse what this machine has not the memory for, before it is reserved."""
    need, free = batches * sum(one.numel() * one.element_size() for one in taken), available_memory()
    if free is not None and need > free:
        raise OptionError(
            f"to train on {batches * len(taken[0])} pictures takes {need / 1e9:.2f} GB and {free / 1e9:.2f} GB are "
            "free; use fewer pictures, a smaller size, or a backbone with fewer channels"
        )


_NOT_ABOUT = ("epochs", "weights")
"""Options that a training may be gone on with other values of."""


def _behind(prefix: str, state: Mapping[str, Tensor]) -> State:
    return {name.removeprefix(prefix): state[name] for name in state if name.startswith(prefix)}
