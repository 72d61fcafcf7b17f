"""What all methods share: options, fitting, the modules that score, and what is saved."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, final

import torch
from torch import Tensor

from flawmap.engine.batches import Batch, Batches
from flawmap.engine.run import best_device
from flawmap.errors import NotExportable, NotFitted, OptionError
from flawmap.features import backbone as backbones
from flawmap.methods.head import Head, ScoringModule
from flawmap.methods.method_options import MethodOptions
from flawmap.support.options import from_dict, to_dict
from flawmap.support.tensors import Images, Scores

State = dict[str, Tensor]
"""Tensors by name: all that was fitted, or one shard of what will be fitted."""

_BACKBONE = "backbone."  # begins the names of the backbone's tensors in `state_dict`


class HeldOutScores(NamedTuple):
    """Scores of good images, each by a model that was fitted without it.

    Args:
        image: the score of each image, (image,), >= 0; (image, zone) where zones are scored.
        peak: the largest value of each image's anomaly map, >= 0, or of that in each zone.
    """

    image: Tensor
    peak: Tensor


@dataclass(eq=False)
class Method(MethodOptions):
    """A way to tell how unlike good parts an image is.

    A method is its options, of which `MethodOptions` has those of all methods; what is fitted is in
    attributes that end in `_`.

    Attributes:
        notes: what the user should know about the fit, in sentences.
    """

    not_exportable: ClassVar[str] = ""
    """Why no graph can hold the scoring module; empty where one can."""

    is_random: ClassVar[bool] = True
    """Whether the seed matters."""

    holdout_fraction: ClassVar[float] = 0.0
    """Default fraction of the good images held out for calibration; 0 where it can cross-fit."""

    folds: ClassVar[int] = 10
    """How many parts of the groups `cross_fit_scores` leaves out in turn."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.notes: list[str] = []

    def __setattr__(self, name: str, value: object) -> None:
        """Set an attribute; an option, or something fitted, makes a new head necessary."""
        super().__setattr__(name, value)
        if not name.startswith("_"):
            self._head: Head | None = None

    @abstractmethod
    def fit(self, batches: Iterable[Batch], folder: Path | None = None) -> Method:
        """Fit to good images, and return the method itself.

        Args:
            batches: the images; they may be gone through several times.
            folder: where a training keeps checkpoints to resume from; None for none.
        """

    @property
    def is_trained(self) -> bool:
        """Whether fitting trains a network, and so leaves checkpoints in its folder."""
        return False

    def limit_memory(self, limit: int, folder: Path) -> None:
        """Keep the fit within so much memory, where the method can; before `fit`.

        Args:
            limit: most resident memory of this process, in bytes.
            folder: for what does not fit; a stopped fit resumes from there.

        Raises:
            OptionError: the method cannot.
        """
        del limit, folder
        raise OptionError(
            f"{type(self).__name__} keeps nothing that could be moved to the disk; a memory limit "
            "is for methods with a bank of patches, as flawmap and patchcore"
        )

    def forget_scratch(self) -> None:
        """Delete what the fit keeps on the disk, when the fitted method is saved."""

    @property
    def masks_padding(self) -> bool:
        """Whether padded patches are neither fitted nor scored, so that images may be padded."""
        return False

    def cross_fit_scores(self, batches: Batches, folder: Path | None = None) -> HeldOutScores:
        """Fit to good images, and score each as if its group had not been among them.

        Here by folds, ten times the work; a method that knows a faster way overrides it.

        Args:
            batches: the images, with their groups; the scores have the order of readable ones.
            folder: for checkpoints of a training on all images; None keeps nothing.
        """
        self.fit(batches, folder)
        group_ids = batches.group_ids
        generator = torch.Generator().manual_seed(self.seed)
        folds = torch.randperm(int(group_ids.max()) + 1, generator=generator) % self.folds
        image = torch.zeros(len(group_ids))
        peak = torch.zeros(len(group_ids))
        for fold in folds.unique():
            left_out = folds[group_ids] == fold
            others = batches.subset((~left_out).nonzero()[:, 0].tolist())
            tested = batches.subset(left_out.nonzero()[:, 0].tolist())
            scores = self._unfitted_copy().fit(others).score_batches(tested)
            image[left_out] = scores.image
            peak[left_out] = scores.peak
        return HeldOutScores(image, peak)

    @final
    def score_batches(self, batches: Iterable[Batch]) -> HeldOutScores:
        """Image scores and map peaks of images that the method was not fitted to.

        Args:
            batches: the images.

        Raises:
            NotFitted: `fit` was not called yet.
        """
        image = [torch.zeros(0)]
        peak = [torch.zeros(0)]
        for batch in batches:
            scores = self.score(batch.images)
            image.append(scores.image)
            peak.append(scores.pixel.amax(dim=(1, 2)))
        return HeldOutScores(torch.cat(image), torch.cat(peak))

    @final
    def score(self, images: Images) -> Scores:
        """Image scores and anomaly maps of a batch, on the CPU.

        Args:
            images: (batch, 3, height, width), preprocessed.

        Raises:
            NotFitted: `fit` was not called yet.
        """
        if self._head is None:
            self._head = self.head().eval().to(best_device())
        return self.score_by(self._head, images)

    @final
    def score_by(self, head: Head, images: Images) -> Scores:
        """What a head makes of a batch, on the CPU.

        Args:
            head: for evaluation, on the device that computes.
            images: (batch, 3, height, width), preprocessed.
        """
        embedded = self.encoder_runner.encode(images).to(best_device())
        with torch.inference_mode():
            scores = head(embedded, images.shape[-2], images.shape[-1])
        return Scores(scores.image.cpu(), scores.pixel.cpu())

    @abstractmethod
    def head(self) -> Head:
        """The second half of scoring: compares embeddings with what was fitted.

        Raises:
            NotFitted: `fit` was not called yet.
        """

    @final
    def exportable_head(self) -> Head:
        """The head, where a graph can hold it.

        Raises:
            NotExportable: no graph can; the message says why.
            NotFitted: `fit` was not called yet.
        """
        head = self.head()
        if self.not_exportable:
            name = type(self).__name__
            raise NotExportable(f"{name} cannot be a graph: {self.not_exportable}")
        return head

    @final
    def scoring_module(self, head: Head | None = None) -> ScoringModule:
        """Encoder and head as one module, with all that was fitted.

        Args:
            head: in place of the method's own.

        Raises:
            NotFitted: `fit` was not called yet.
        """
        return ScoringModule(self.encoder(), head or self.head()).eval().to(best_device())

    @abstractmethod
    def fitted_state(self) -> State:
        """What was fitted beside the backbone, on the CPU."""

    @abstractmethod
    def load_fitted_state(self, state: State) -> None:
        """Restore what was fitted; the backbone is there already.

        Args:
            state: what `fitted_state` returned.
        """

    @final
    def state_dict(self) -> State:
        """All that scoring needs: what was fitted, the backbone's weights, their fingerprint."""
        saved = backbones.save_backbone(self.feature_extractor)
        backbone = {_BACKBONE + name: tensor for name, tensor in saved.items()}
        return self.fitted_state() | backbone

    @final
    def load_state_dict(self, state: State) -> Method:
        """Restore all that scoring needs.

        Args:
            state: what `state_dict` returned.

        Returns:
            The method itself.

        Raises:
            WeightsMismatch: what was fitted belongs to other weights than those in `state`.
        """
        names = {name for name in state if name.startswith(_BACKBONE)}
        backbone = {name.removeprefix(_BACKBONE): state[name] for name in names}
        loaded = backbones.load_backbone(self.backbone_spec, backbone)
        self.feature_extractor = loaded.to(best_device())
        self.load_fitted_state({name: state[name] for name in state if name not in names})
        return self

    @final
    def options(self) -> dict[str, Any]:
        """The options as JSON can hold them; `from_options` takes them."""
        return to_dict(self)

    @final
    @classmethod
    def from_options(cls, values: dict[str, Any]) -> Method:
        """The method with these options, not fitted yet.

        Args:
            values: what `options` returned.

        Raises:
            OptionError: an unknown option, or a value that cannot work.
        """
        return from_dict(values, cls)

    def _unfitted_copy(self) -> Method:
        method = replace(self)
        method.feature_extractor = self.feature_extractor
        return method


def not_fitted(method: Method) -> NotFitted:
    """The error for a method that was used before `fit`.

    Args:
        method: the method that was used.
    """
    name = type(method).__name__
    return NotFitted(f"{name} is not fitted yet; call fit, or load a saved inspector")
