"""The backbones of a study's runs: each is loaded, fine-tuned and applied to an image once."""

from __future__ import annotations

from typing import Any

from flawmap.data.layouts import good_training_samples
from flawmap.data.sample import GOOD
from flawmap.experiments.feature_cache import CachedBackbone
from flawmap.experiments.study import StudyConfig
from flawmap.features.feature_extractor import FeatureExtractor
from flawmap.finetune.classes import classes_by_product
from flawmap.finetune.trainer import fine_tune
from flawmap.methods.base import Method

_NetworkKey = tuple[Any, ...]
"""Equal for runs that put the same images through the same network; such keys can be sorted."""


class StudyBackbones:
    """Makes the backbones of a study's runs, and keeps them for later ones.

    Args:
        study: what the runs have in common.
    """

    def __init__(self, study: StudyConfig) -> None:
        self.study = study
        self._pretrained: dict[_NetworkKey, FeatureExtractor] = {}
        self._finetuned: dict[_NetworkKey, FeatureExtractor] = {}
        self._cached: tuple[_NetworkKey, CachedBackbone] | None = None

    def key(self, method: Method, product: str, *, finetuned: bool) -> _NetworkKey:
        """What two runs must have in common to share the maps of their images.

        Args:
            method: of the run.
            product: name of the product whose images it takes.
            finetuned: whether its backbone is fine-tuned; then the seed counts.
        """
        seed = method.seed if finetuned else -1
        return product, seed, method.backbone, method.layers, method.stride or 0, method.final_norm

    def pretrained(self, method: Method) -> FeatureExtractor:
        """The method's backbone as it was pretrained.

        Args:
            method: not fitted yet.

        Raises:
            WeightsUnavailable: the weights cannot be fetched, or their file is not there.
        """
        key = method.backbone_spec
        if key not in self._pretrained:
            self._pretrained[key] = method.feature_extractor
        return self._pretrained[key]

    def for_method(self, method: Method, product: str, *, finetuned: bool) -> FeatureExtractor:
        """The backbone that a method is fitted with.

        Args:
            method: not fitted yet.
            product: name of the product whose images it takes.
            finetuned: whether the backbone is fine-tuned first.
        """
        network = self.pretrained(method)
        if finetuned:
            network = self._fine_tune(method, product)
        # A registration works inside the network, and a training shows it ever new images.
        if method.is_trained:
            return network
        return self._cache(self.key(method, product, finetuned=finetuned), network)

    def _fine_tune(self, method: Method, product: str) -> FeatureExtractor:
        by_product = self.study.finetune.mode == "products"
        key = self.key(method, "" if by_product else product, finetuned=True)
        if key not in self._finetuned:
            if by_product:
                classes = classes_by_product(self.study.source)
            else:
                good = good_training_samples(self.study.products[product])
                classes = {GOOD: [sample.path for sample in good]}
            self._finetuned[key] = fine_tune(
                method.backbone_spec,
                classes,
                self.study.finetune,
                seed=method.seed,
            ).backbone
        return self._finetuned[key]

    def _cache(self, key: _NetworkKey, network: FeatureExtractor) -> CachedBackbone:
        if self._cached is None or self._cached[0] != key:
            self._cached = None  # frees the memory that the next one counts
            self._cached = key, CachedBackbone(network)
        return self._cached[1]
