"""What all methods share: options, what was learned, and the encoder and head that score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, final

import torch
from torch import Tensor, nn

from flawmap.engine.batches import Batch, Batches
from flawmap.engine.run import EncoderRunner, best_device
from flawmap.errors import NotExportable, NotFitted, WeightsMismatch
from flawmap.features.backbone import DEFAULT_BACKBONE, Backbone, FeatureExtractor
from flawmap.runtime.graph import Precision, check_precision
from flawmap.support.options import from_dict, to_dict
from flawmap.support.tensors import Compared, Embedded, Images, Maps, PerImage, Scores

State = dict[str, Tensor]
"""Tensors by name: all that a method learned, or one shard of what it will learn from."""

FOLDS = 10
"""Parts of the good images left out in turn, by methods that cannot leave out single images."""

_WEIGHTS = "backbone."
_FINGERPRINT = "fingerprint"


class HeldOutScores(NamedTuple):
    """Scores of good images, each by a model that was fitted without it.

    Args:
        image: the image score of each.
        peak: the largest value of each image's anomaly map.
    """

    image: PerImage
    peak: PerImage


class Head(nn.Module, ABC):
    """The second half of scoring: compares embeddings with what was learned, in three steps.

    Torch, exported graphs and certificates all run `forward`, so there is one way to a score.
    """

    @abstractmethod
    def compare(self, embedded: Embedded) -> Compared:
        """The distance of each patch from what good parts are like.

        Args:
            embedded: the encoder's output for a batch.
        """

    @abstractmethod
    def anomaly_map(self, embedded: Embedded, compared: Compared, height: int, width: int) -> Maps:
        """One distance per pixel, >= 0.

        Args:
            embedded: the encoder's output for a batch.
            compared: what `compare` gave for it.
            height: of the images, in pixels.
            width: of the images, in pixels.
        """

    @abstractmethod
    def image_score(self, embedded: Embedded, compared: Compared, maps: Maps) -> PerImage:
        """One score per image, >= 0.

        Args:
            embedded: the encoder's output for a batch.
            compared: what `compare` gave for it.
            maps: what `anomaly_map` gave for it.
        """

    def forward(self, embedded: Embedded, height: int, width: int) -> Scores:
        """Image scores and anomaly maps of a batch.

        Args:
            embedded: the encoder's output for a batch.
            height: of the images, in pixels.
            width: of the images, in pixels.
        """
        compared = self.compare(embedded)
        maps = self.anomaly_map(embedded, compared, height, width)
        return Scores(self.image_score(embedded, compared, maps), maps)


class ScoringModule(nn.Module):
    """Images to scores: an encoder and a head as one module.

    Args:
        encoder: images to `Embedded`.
        head: `Embedded`, height and width to `Scores`.
    """

    def __init__(self, encoder: nn.Module, head: Head) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, images: Images) -> Scores:
        """Image scores and anomaly maps of a batch.

        Args:
            images: (batch, 3, height, width), preprocessed.
        """
        scores: Scores = self.head(self.encoder(images), images.shape[-2], images.shape[-1])
        return scores


@dataclass(eq=False)
class Method(ABC):
    """A way to tell how unlike good parts an image is.

    A method is its options; what it learns is in attributes that end in `_`.

    Args:
        backbone: a timm name; see `Backbone`.
        layers: the backbone's layers to use, from fine to coarse.
        weights: where the backbone's weights come from; see `Backbone`.
        seed: of everything random.
        precision: what the encoder computes in; `bf16` and `int8` are faster on CPUs with them.

    Attributes:
        notes: what whoever fits should know of what was learned, in sentences.
    """

    component_types: ClassVar[tuple[type, ...]] = ()
    """Base classes of the components among the options."""

    not_exportable: ClassVar[str] = ""
    """Why no graph can hold the scoring module; empty where one can."""

    is_random: ClassVar[bool] = True
    """Whether the seed matters."""

    holdout_fraction: ClassVar[float] = 0.0
    """Default fraction of the good images held out for calibration.

    0 where the method can cross-fit.
    """

    backbone: str = DEFAULT_BACKBONE
    layers: tuple[int, ...] = (2, 3)
    weights: str | None = None
    seed: int = 0
    precision: Precision = "f32"

    def __post_init__(self) -> None:
        check_precision(self.precision)
        self._feature_extractor: FeatureExtractor | None = None
        self._runner: EncoderRunner | None = None
        self.notes: list[str] = []

    def __setattr__(self, name: str, value: object) -> None:
        """Set an attribute; an option, or something learned, makes a new head necessary."""
        super().__setattr__(name, value)
        if not name.startswith("_"):
            self._head: Head | None = None

    @abstractmethod
    def fit(self, batches: Iterable[Batch], folder: Path | None = None) -> Method:
        """Learn from good images.

        Args:
            batches: the images; they may be gone through several times.
            folder: where a training keeps checkpoints to resume from; None for none.

        Returns:
            The method itself.
        """

    def cross_fit_scores(self, batches: Batches) -> HeldOutScores:
        """Learn from good images, and score each as if its group had not been among them.

        Here by folds: a tenth of the groups at a time is left out, and scored by a method that was
        fitted on the others. That takes ten times the work, and is right for every method; a
        method that can leave out single images overrides it.

        Args:
            batches: the images, with their groups.
        """
        self.fit(batches)
        group_ids = batches.group_ids
        generator = torch.Generator().manual_seed(self.seed)
        folds = torch.randperm(int(group_ids.max()) + 1, generator=generator) % FOLDS
        image = torch.zeros(len(group_ids))
        peak = torch.zeros(len(group_ids))
        for fold in folds.unique():
            left_out = folds[group_ids] == fold
            other = type(self).from_options(self.options())
            other.feature_extractor = self.feature_extractor
            other.fit(batches.subset((~left_out).nonzero()[:, 0].tolist()))
            scores = other.score_batches(batches.subset(left_out.nonzero()[:, 0].tolist()))
            image[left_out], peak[left_out] = scores
        return HeldOutScores(image, peak)

    @final
    def score_batches(self, batches: Iterable[Batch]) -> HeldOutScores:
        """Image scores and map peaks of images that nothing was learned from.

        Args:
            batches: the images.

        Raises:
            NotFitted: nothing was learned yet.
        """
        image = [torch.zeros(0)]
        peak = [torch.zeros(0)]
        for batch in batches:
            scores = self.score(batch.images)
            image.append(scores.image)
            peak.append(scores.pixel.amax(dim=(1, 2)))
        return HeldOutScores(torch.cat(image), torch.cat(peak))

    @abstractmethod
    def encoder(self) -> nn.Module:
        """The first half of scoring: images to `Embedded`; it knows nothing of good parts."""

    @abstractmethod
    def head(self) -> Head:
        """The second half of scoring: compares embeddings with what was learned.

        Raises:
            NotFitted: nothing was learned yet.
        """

    @final
    def exportable_head(self) -> Head:
        """The head, where a graph can hold it.

        Raises:
            NotExportable: no graph can.
            NotFitted: nothing was learned yet.
        """
        head = self.head()
        if self.not_exportable:
            name = type(self).__name__
            raise NotExportable(f"{name} cannot be a graph: {self.not_exportable}")
        return head

    @final
    def scoring_module(self) -> ScoringModule:
        """Encoder and head as one module, with all that was learned.

        Raises:
            NotFitted: nothing was learned yet.
        """
        return ScoringModule(self.encoder(), self.head()).eval().to(best_device())

    @abstractmethod
    def fitted_state(self) -> State:
        """What was learned beside the backbone, on the CPU."""

    @abstractmethod
    def load_fitted_state(self, state: State) -> None:
        """Restore what was learned; the backbone is there already.

        Args:
            state: what `fitted_state` gave.
        """

    @property
    def feature_extractor(self) -> FeatureExtractor:
        """The backbone, made on first use."""
        if self._feature_extractor is None:
            backbone = Backbone(self.backbone, self.layers, self.weights)
            self._feature_extractor = backbone.to(best_device())
        return self._feature_extractor

    @feature_extractor.setter
    def feature_extractor(self, network: FeatureExtractor) -> None:
        """Take another backbone, as a fine-tuned one, before anything is learned."""
        self._feature_extractor = network
        self._runner = None

    @property
    def encoder_runner(self) -> EncoderRunner:
        """Runs the encoder, made on first use."""
        if self._runner is None:
            identity = repr((type(self).__name__, self.options()))
            self._runner = EncoderRunner(self.encoder(), identity, self.precision)
        return self._runner

    @final
    def state_dict(self) -> State:
        """All that scoring needs: what was learned, the backbone's weights, their fingerprint."""
        digest = bytes.fromhex(self.feature_extractor.fingerprint())
        fingerprint = torch.tensor(list(digest), dtype=torch.uint8)
        weights = self.feature_extractor.weights()
        saved = {_WEIGHTS + name: tensor.cpu() for name, tensor in weights.items()}
        return {**self.fitted_state(), **saved, _FINGERPRINT: fingerprint}

    @final
    def load_state_dict(self, state: State) -> Method:
        """Restore all that scoring needs.

        Args:
            state: what `state_dict` gave.

        Returns:
            The method itself.

        Raises:
            WeightsMismatch: what was learned belongs to other weights than those that came.
        """
        names = [name for name in state if name.startswith(_WEIGHTS)]
        weights = {name.removeprefix(_WEIGHTS): state[name] for name in names}
        self.feature_extractor = Backbone(self.backbone, self.layers, weights).to(best_device())
        expected = bytes(state[_FINGERPRINT].tolist()).hex()
        actual = self.feature_extractor.fingerprint()
        if expected != actual:
            raise WeightsMismatch(
                f"learned with weights {expected[:12]}… of {self.backbone}, but {actual[:12]}… "
                "came; fit again, or bring the weights that it was fitted with"
            )
        fitted = set(state) - set(names) - {_FINGERPRINT}
        self.load_fitted_state({name: state[name] for name in state if name in fitted})
        return self

    @final
    def score(self, images: Images) -> Scores:
        """Image scores and anomaly maps of a batch, on the CPU.

        Args:
            images: (batch, 3, height, width), preprocessed.

        Raises:
            NotFitted: nothing was learned yet.
        """
        if self._head is None:
            self._head = self.head().eval().to(best_device())
        embedded = self.encode(images).to(best_device())
        with torch.inference_mode():
            scores = self._head(embedded, images.shape[-2], images.shape[-1])
        return Scores(scores.image.cpu(), scores.pixel.cpu())

    @final
    def encode(self, images: Images) -> Embedded:
        """The encoder's output for a batch, on the CPU; see `EncoderRunner.encode`.

        Args:
            images: (batch, 3, height, width), preprocessed.
        """
        return self.encoder_runner.encode(images)

    @final
    def warm_up(self, batches: Iterable[Batch], rounds: int = 1) -> None:
        """Make the encoder ready for these batches; see `EncoderRunner.warm_up`.

        Args:
            batches: the images that will be encoded.
            rounds: how many times.
        """
        # A cache looks maps up; in a graph it could not.
        if isinstance(self.feature_extractor, Backbone):
            self.encoder_runner.warm_up(batches, rounds)

    @final
    def options(self) -> dict[str, Any]:
        """The options as JSON can hold them; `from_options` takes them."""
        return to_dict(self, self.component_types)

    @final
    @classmethod
    def from_options(cls, values: dict[str, Any]) -> Method:
        """The method with these options.

        Args:
            values: what `options` gave.

        Raises:
            OptionError: an unknown option, or a value that cannot work.
        """
        return from_dict(values, cls, cls.component_types)


@dataclass(eq=False)
class MemoryMethod(Method):
    """A method without training.

    Extracts what it needs, in any number of shards, and fits those.
    """

    def fit_features(self, batches: Iterable[Batch]) -> None:
        """Learn what takes all images, before any shard is extracted; for most methods nothing.

        Args:
            batches: all good images.
        """

    @abstractmethod
    def extract(self, batches: Iterable[Batch]) -> State:
        """What fitting needs of a shard of the good images; on any machine.

        Args:
            batches: the shard's images.
        """

    @abstractmethod
    def fit_shards(self, shards: list[State]) -> MemoryMethod:
        """Learn from all shards; the same as from one shard of all images in the same order.

        Args:
            shards: what `extract` gave for each.

        Returns:
            The method itself.
        """

    @final
    def fit(self, batches: Iterable[Batch], folder: Path | None = None) -> MemoryMethod:
        """Learn from good images, in one shard.

        Args:
            batches: the images.
            folder: unused; nothing is trained.
        """
        del folder
        self.fit_features(batches)
        return self.fit_shards([self.extract(batches)])


def not_fitted(method: Method) -> NotFitted:
    """The error for a method that was asked before it learned.

    Args:
        method: that was asked.
    """
    name = type(method).__name__
    return NotFitted(f"{name} has learned nothing yet; call fit, or load a saved inspector")
