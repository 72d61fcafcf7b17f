"""What every method is: options in, tensors learned, one module that scores."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from operator import length_hint
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, final

import torch
from torch import Tensor, nn

from flawmap.engine import run as engine
from flawmap.engine.batches import Batch, Batches
from flawmap.engine.convert import ExportedPrograms, append_head, export_programs
from flawmap.engine.run import Engine, best_device
from flawmap.errors import NotExportable, NotFitted, WeightsMismatch
from flawmap.features.backbone import DEFAULT_BACKBONE, Backbone
from flawmap.runtime import graph
from flawmap.runtime.graph import Graph, Precision
from flawmap.support.options import from_dict, to_dict
from flawmap.support.tensors import Images, PerImage, Scores

State = dict[str, Tensor]
"""Tensors by name: all that a method learned, or one share of what it will learn from."""

FOLDS = 10
"""Parts of the good pictures that are left out in turn, for methods that cannot leave out a picture by itself."""

MIN_BATCHES_TO_COMPILE = 16
"""Batches; fewer are done before a faster way of running the encoder is made."""

_WEIGHTS = "backbone."
_FINGERPRINT = "fingerprint"


class HeldOutScores(NamedTuple):
    """Scores of good pictures, each judged by a memory that had not seen it."""

    image: PerImage
    peak: PerImage
    """The largest value of each picture's map."""


@dataclass(eq=False)
class Method(ABC):
    """A way to tell how unlike good parts a picture is. A method is its options; what it learns ends in `_`.

    Args:
        backbone: a timm name; see `Backbone`.
        layers: the backbone's layers to use, from fine to coarse.
        weights: where the backbone's weights come from; see `Backbone`.
        seed: of everything random.
        precision: what the network computes in; `bf16` and `int8` are faster on CPUs that have them.

    Attributes:
        notes: what whoever fits should know of what was learned, in sentences.
    """

    component_types: ClassVar[tuple[type, ...]] = ()
    """Base classes of the parts among the options."""

    not_exportable: ClassVar[str] = ""
    """Why no graph can hold the scorer; empty where one can."""

    is_random: ClassVar[bool] = True
    """Whether the seed matters."""

    holdout_fraction: ClassVar[float] = 0.0
    """Share of the good pictures to keep out of learning where nobody says how many; 0 where none need be."""

    backbone: str = DEFAULT_BACKBONE
    layers: tuple[int, ...] = (2, 3)
    weights: str | None = None
    seed: int = 0
    precision: Precision = "f32"

    def __post_init__(self) -> None:
        graph.check_precision(self.precision)
        self._feature_extractor: Backbone | None = None
        self._engine: Engine | None = None
        self.notes: list[str] = []

    @abstractmethod
    def fit(self, batches: Iterable[Batch], folder: Path | None = None) -> Method:
        """Learn from good pictures; may go round them more than once.

        Args:
            batches: the pictures.
            folder: for what a training leaves on disk to go on from; None for nothing. Most methods need none.
        """

    def cross_fit_scores(self, batches: Batches) -> HeldOutScores:
        """Learn from good pictures, and score each of them, or each group, as if it had not been among them.

        Here by folds: a tenth of the groups at a time is left out and what the others teach judges it. Ten times the
        work, and right for every method; a method that can leave a picture out by itself does so.
        """
        self.fit(batches)
        group_ids = batches.group_ids
        folds = torch.randperm(int(group_ids.max()) + 1, generator=torch.Generator().manual_seed(self.seed)) % FOLDS
        image, peak = torch.zeros(len(group_ids)), torch.zeros(len(group_ids))
        for fold in folds.unique():
            left_out = folds[group_ids] == fold
            other = type(self).from_options(self.options())
            other.feature_extractor = self.feature_extractor
            other.fit(batches.subset((~left_out).nonzero()[:, 0].tolist()))
            image[left_out], peak[left_out] = other.score_batches(batches.subset(left_out.nonzero()[:, 0].tolist()))
        return HeldOutScores(image, peak)

    @final
    def score_batches(self, batches: Iterable[Batch]) -> HeldOutScores:
        """Score pictures that nothing was learned from."""
        image, peak = [torch.zeros(0)], [torch.zeros(0)]
        for batch in batches:
            scores = self.score(batch.images)
            image.append(scores.image)
            peak.append(scores.pixel.amax(dim=(1, 2)))
        return HeldOutScores(torch.cat(image), torch.cat(peak))

    @abstractmethod
    def encoder(self) -> nn.Module:
        """Give the module that looks: images in, a list of tensors out, a picture's along the first axis of each.

        It is the network and what follows from it; it knows nothing of what the good pictures were like.
        """

    @abstractmethod
    def head(self) -> nn.Module:
        """Give the module that compares with what was learned: the encoder's list, height and width in, `Scores` out.

        Raises:
            NotFitted: nothing was learned yet.
        """

    @final
    def scoring_module(self) -> ScoringModule:
        """Give both as one module: images in, (image scores, pixel maps) out. All that was learned is in it.

        Raises:
            NotFitted: nothing was learned yet.
        """
        return ScoringModule(self.encoder(), self.head()).eval().to(best_device())

    @abstractmethod
    def fitted_state(self) -> State:
        """Give what was learned beside the backbone, on the CPU."""

    @abstractmethod
    def load_fitted_state(self, state: State) -> None:
        """Take back what `learned` gave; the backbone is there already."""

    @property
    def feature_extractor(self) -> Backbone:
        """The backbone, made on first use."""
        if self._feature_extractor is None:
            self._feature_extractor = Backbone(self.backbone, self.layers, self.weights).to(best_device())
        return self._feature_extractor

    @feature_extractor.setter
    def feature_extractor(self, network: Backbone) -> None:
        """Take another one, as a fine-tuned one; before anything is learned."""
        self._feature_extractor, self._engine = network, None

    @final
    def state_dict(self) -> State:
        """Give all that scoring needs: what was learned, the backbone's weights, and their fingerprint."""
        fingerprint = torch.tensor(list(bytes.fromhex(self.feature_extractor.fingerprint())), dtype=torch.uint8)
        weights = {_WEIGHTS + name: tensor.cpu() for name, tensor in self.feature_extractor.weights().items()}
        return {**self.fitted_state(), **weights, _FINGERPRINT: fingerprint}

    @final
    def load_state_dict(self, state: State) -> Method:
        """Take back what `state` gave.

        Raises:
            WeightsMismatch: what was learned belongs to other weights of the backbone than those that came with it.
        """
        weights = {name.removeprefix(_WEIGHTS): state[name] for name in state if name.startswith(_WEIGHTS)}
        self._feature_extractor = Backbone(self.backbone, self.layers, weights).to(best_device())
        learned_with = bytes(state[_FINGERPRINT].tolist()).hex()
        if learned_with != (came := self._feature_extractor.fingerprint()):
            raise WeightsMismatch(
                f"learned with weights {learned_with[:12]}… of {self.backbone}, but {came[:12]}… came; fit again, or "
                "bring the weights that it was fitted with"
            )
        self._engine = None
        self.load_fitted_state({name: state[name] for name in state if not name.startswith((_WEIGHTS, _FINGERPRINT))})
        return self

    @final
    def score(self, images: Images) -> Scores:
        """Score a batch, on the CPU.

        Raises:
            NotFitted: nothing was learned yet.
        """
        head, encoded = self.head().eval().to(best_device()), self.encode(images)
        with torch.inference_mode():
            image, pixel = head([one.to(best_device()) for one in encoded], *images.shape[-2:])
        return Scores(image.cpu(), pixel.cpu())

    @final
    def encode(self, images: Images) -> list[Tensor]:
        """Run the encoder on a batch; gives tensors on the CPU."""
        if self._engine is None and self.precision == "int8":
            raise NotFitted("what was quantised is in the saved graph; open the file with flawmap.load")
        self._engine = self._engine or engine.TorchEngine(self.encoder(), self.precision)
        return self._engine(images)

    @final
    def warm_up(self, batches: Iterable[Batch], rounds: int = 1) -> None:
        """Make the encoder ready to go round these batches; for more than a few of them as fast as this machine can.

        In int8 the first of them say how large the network's numbers get.
        """
        if self.feature_extractor.remembers:
            return
        if self.precision == "int8" or rounds * length_hint(batches) >= MIN_BATCHES_TO_COMPILE:
            encoder, pictures = self.encoder().eval(), (picture for batch in batches for picture in batch.images)
            self._engine = engine.make_engine(encoder, self._encoder_key(encoder), self.precision, pictures)

    @final
    def export(self, height: int, width: int) -> ExportedPrograms:
        """Give the scorer as torch exports it: prepared pictures of this size, any number of them, to scores and maps.

        Raises:
            NotExportable: no graph can hold it.
            NotFitted: nothing was learned yet.
        """
        return export_programs(*self._movable(), height, width)

    @final
    def graph(self, height: int, width: int) -> Graph:
        """Give the scorer as a graph that runs without torch, one prepared picture of this size at a time.

        Raises:
            NotExportable: no graph can hold it.
            NotFitted: nothing was learned yet.
        """
        encoder, head = self._movable()
        made = self._engine if isinstance(self._engine, engine.OpenVINOEngine) else None
        with torch.no_grad():
            made = made or engine.OpenVINOEngine(encoder, self._encoder_key(encoder), self.precision)
            encoded = encoder(torch.zeros(1, 3, height, width))
            return append_head(made.graph(height, width), head, encoded, height, width)

    def _movable(self) -> tuple[nn.Module, nn.Module]:
        """Give copies of encoder and judge on the CPU; on a GPU the method's own are still wanted there."""
        head = self.head()
        if self.not_exportable:
            raise NotExportable(f"{type(self).__name__} cannot be a graph: {self.not_exportable}")
        return deepcopy(self.encoder()).eval().cpu(), deepcopy(head).eval().cpu()

    def _encoder_key(self, encoder: nn.Module) -> str:
        digest = hashlib.sha256(repr((type(self).__name__, self.options())).encode())
        for name, tensor in encoder.state_dict().items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @final
    def options(self) -> dict[str, Any]:
        """Say the options in JSON; `from_options` takes them back."""
        return to_dict(self, self.component_types)

    @final
    @classmethod
    def from_options(cls, values: dict[str, Any]) -> Method:
        """Make the method of these options.

        Raises:
            OptionError: an unknown option, or a value that cannot work.
        """
        return from_dict(values, cls, cls.component_types)


class ScoringModule(nn.Module):
    """Pictures to scores: the network's part of the work, then the memory's."""

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, images: Images) -> Scores:
        """Score a batch."""
        scores: Scores = self.head(self.encoder(images), images.shape[-2], images.shape[-1])
        return scores


@dataclass(eq=False)
class MemoryMethod(Method):
    """A method without training: it gathers what it needs from the pictures, in any number of shares, and settles."""

    def fit_features(self, batches: Iterable[Batch]) -> None:
        """Learn what all pictures must be seen for before any share of them is gathered; for most methods nothing."""

    @abstractmethod
    def extract(self, batches: Iterable[Batch]) -> State:
        """Take what is needed from a share of the good pictures, on any machine."""

    @abstractmethod
    def fit_shards(self, shards: list[State]) -> MemoryMethod:
        """Learn from all shares, once; the same as from one share with all the pictures in the same order."""

    @final
    def fit(self, batches: Iterable[Batch], folder: Path | None = None) -> MemoryMethod:
        """Learn the features, gather, and settle."""
        del folder
        self.fit_features(batches)
        return self.fit_shards([self.extract(batches)])


def not_fitted(method: Method) -> NotFitted:
    """Make the error of a method asked too early."""
    return NotFitted(f"{type(method).__name__} has learned nothing yet; call fit, or load a saved inspector")
