"""The options that all methods share, and the backbone and encoder that they make."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import nn

from flawmap.engine.run import EncoderRunner, best_device
from flawmap.errors import OptionError
from flawmap.features.backbone import Backbone, BackboneSpec
from flawmap.features.blocks import refuse_default_blocks
from flawmap.features.feature_extractor import FeatureExtractor
from flawmap.features.timm_network import DEFAULT_BACKBONE
from flawmap.runtime.graph import Precision, check_precision
from flawmap.support.options import check_range, check_types, to_dict


@dataclass(eq=False)
class MethodOptions(ABC):
    """The options of every method, with the backbone and what runs the encoder.

    Args:
        backbone: a timm name; see `Backbone`.
        layers: the backbone's layers to use; layer k of a CNN, from 1, has stride 2^(k+1) pixels;
            layers of a transformer are its blocks, from 0.
        weights: where the backbone's weights come from; see `Backbone`.
        stride: the largest stride of the layers in pixels, a power of two, such as 8: later stages
            are dilated instead of strided, with the same weights. None for the network's own.
        final_norm: whether the last norm of a transformer is applied to each map.
        seed: seed of everything random, 0 or more.
        precision: what the encoder computes in; `bf16` and `int8` are faster on CPUs with them.

    Raises:
        OptionError: a value out of its range.
    """

    backbone: str = DEFAULT_BACKBONE
    layers: tuple[int, ...] = (2, 3)
    weights: str | None = None
    stride: int | None = None
    final_norm: bool = False
    seed: int = 0
    precision: Precision = "f32"

    def __post_init__(self) -> None:
        check_types(self)
        check_precision(self.precision)
        check_range(self, "seed", 0)
        if not self.layers or min(self.layers) < 0:
            raise OptionError(f"layers={list(self.layers)}; name one or more, each 0 or more")
        if self.stride is not None and (self.stride < 1 or self.stride.bit_count() != 1):
            raise OptionError(f"stride={self.stride}; use a power of two, such as 8")
        self._feature_extractor: FeatureExtractor | None = None
        self._runner: EncoderRunner | None = None

    @abstractmethod
    def encoder(self) -> nn.Module:
        """The first half of scoring: images to `Embedded`; it knows nothing of good parts."""

    @property
    def backbone_spec(self) -> BackboneSpec:
        """The options that make the backbone."""
        return BackboneSpec(self.backbone, self.layers, self.weights, self.stride, self.final_norm)

    @property
    def feature_extractor(self) -> FeatureExtractor:
        """The backbone, made on first use.

        Raises:
            OptionError: it cannot be made, or is a transformer whose blocks nobody named.
        """
        if self._feature_extractor is None:
            backbone = self.backbone_spec.build()
            refuse_default_blocks(backbone, type(self).layers)
            self._feature_extractor = backbone.to(best_device())
        return self._feature_extractor

    @feature_extractor.setter
    def feature_extractor(self, network: FeatureExtractor) -> None:
        """Take another backbone, such as a fine-tuned one, before `fit`."""
        self._feature_extractor = network
        self._runner = None

    @property
    def encoder_runner(self) -> EncoderRunner:
        """Runs the encoder, made on first use."""
        if self._runner is None:
            identity = repr((type(self).__name__, to_dict(self)))
            # A cache looks maps up; in a graph it could not.
            compiles = isinstance(self.feature_extractor, Backbone)
            self._runner = EncoderRunner(
                self.encoder(), identity, self.precision, compiles=compiles
            )
        return self._runner
