"""What the runs of a table have in common, and what one of its lines measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from flawmap.data.layouts import find_products, labelled_test_samples
from flawmap.errors import OptionError
from flawmap.finetune.config import PAPER_CONFIG, FineTuneConfig
from flawmap.methods import METHODS, make_method
from flawmap.methods.base import Method


@dataclass(frozen=True)
class MethodSetup:
    """What a line of a table measures.

    Args:
        method: a name among `METHODS`; one that is not there is shown as missing.
        options: of the method.
        finetuned: whether the method's backbone is fine-tuned first.
        preset: of the method; None for that of the study where the method has it, and else for the
            method's default.
    """

    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    finetuned: bool = False
    preset: str | None = None


@dataclass(frozen=True)
class StudyConfig:
    """What all runs of a table have in common.

    Args:
        source: a data set, or a folder of products, with test images.
        backbone: timm name for all methods; None for each method's own.
        weights: where the backbone's weights come from; see `Backbone`.
        size: of the network's input, (height, width) in pixels.
        seeds: number of seeds, >= 1.
        finetune: how backbones are fine-tuned where they are: `synthetic` or `products`.
        preset: of those methods that have it and whose setup names none; its options alone, since
            all runs have the same size. None for each method's default.

    Raises:
        OptionError: no seed, a preset that no method has, or a fine-tuning that would see defects
            of the test set.

    Example:
        >>> study = StudyConfig(Path("tiles"), size=(64, 64), seeds=1)
        >>> study.method(MethodSetup("patchcore", {"coreset": 0.1}), seed=3).seed
        3
    """

    source: Path
    backbone: str | None = None
    weights: str | None = None
    size: tuple[int, int] = (224, 224)
    seeds: int = 3
    finetune: FineTuneConfig = PAPER_CONFIG
    preset: str | None = None

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise OptionError(f"{self.seeds} seeds measure nothing; use 1 or more")
        if self.finetune.mode not in ("synthetic", "products"):
            raise OptionError(
                f"a backbone fine-tuned by {self.finetune.mode} has seen test images; use "
                "synthetic or products"
            )
        available = sorted({preset for entry in METHODS.values() for preset in entry.presets})
        if self.preset is not None and self.preset not in available:
            raise OptionError(
                f"no method has a preset {self.preset!r}; use one of {', '.join(available)}"
            )

    @cached_property
    def products(self) -> dict[str, Path]:
        """The folder of each product, by name.

        Raises:
            DatasetError: there is no data set, or no test image in one.
        """
        folders = find_products(self.source) or {self.source.name: self.source}
        for folder in folders.values():
            labelled_test_samples(folder)
        return folders

    def method(self, setup: MethodSetup, seed: int) -> Method:
        """A new method for a run, not fitted yet.

        Args:
            setup: the method's name and options.
            seed: of everything random in it.

        Raises:
            OptionError: an unknown option, or a value that cannot work.
        """
        options = dict(setup.options)
        if self.backbone:
            options = {"backbone": self.backbone, "weights": self.weights, **options}
        shared = self.preset if self.preset in METHODS[setup.method].presets else None
        preset = shared if setup.preset is None else setup.preset
        return make_method(setup.method, preset, seed=seed, **options)
