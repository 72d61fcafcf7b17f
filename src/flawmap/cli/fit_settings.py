"""What was typed after `flawmap fit`, and the inspector that it makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from flawmap.cli.common import parse_size, parse_tile
from flawmap.cli.tuning import Tuning
from flawmap.errors import OptionError

if TYPE_CHECKING:
    from flawmap.data.auto_size import InputSize
    from flawmap.data.tile_size import TileSize
    from flawmap.finetune.config import FineTuneConfig
    from flawmap.inspector import Inspector
    from flawmap.methods.base import Method
    from flawmap.tuning.search import TuningResult

FineTuneOption = Literal["none", "synthetic", "products", "real-defects"]
"""What `--finetune` takes."""

_FINETUNE = "finetune."
"""Begins the changes of the fine-tuning's options."""


@dataclass(frozen=True)
class FitSettings:
    """The options of `flawmap fit` that say how to fit, as they were typed.

    Args:
        method: name of the method.
        preset: name of its preset; None for its default.
        options: options of the method that have an option of their own on the command line.
        changes: what `--set` takes, of the method and of the fine-tuning.
        size: of the network's input; None where none was typed.
        pixels: side of a square of the input's area, in pixels, for a size chosen by the images.
        tile: side of the tiles that images are cut into, in pixels, or auto; None for no tiles.
        overlap: fraction of a tile that its neighbours share; None for the default.
        false_rejects: fraction of good parts that may be rejected.
        confidence: probability that the threshold keeps to that.
        calibration_fraction: fraction of the good images held out.
        white: level of white in images of 16 bits; None for 65535.
        mask: file of a mask, or `auto`; None for none.
        regions: file of regions; None for none.
        region_budgets: of those that were given one, by name.
        memory: most resident memory of this process, in bytes; None for no limit.
        finetune: with what the backbone is fine-tuned.
        finetune_preset: how it is: `gentle` or `paper`.

    Example:
        >>> settings = FitSettings("patchcore", changes=["sigma=2"], size="64x96")
        >>> settings.input_size, settings.make_inspector().method.sigma
        ((64, 96), 2.0)
    """

    method: str
    preset: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    changes: Sequence[str] = ()
    size: str | None = None
    pixels: int | None = None
    tile: str | None = None
    overlap: float | None = None
    false_rejects: float = 0.01
    confidence: float | None = None
    calibration_fraction: float = 0.0
    white: int | None = None
    mask: str | None = None
    regions: str | None = None
    region_budgets: Mapping[str, float] = field(default_factory=dict)
    memory: int | None = None
    finetune: FineTuneOption = "none"
    finetune_preset: str = "gentle"

    @property
    def input_size(self) -> InputSize | None:
        """Size of the network's input: what was typed, or that of the preset.

        Raises:
            OptionError: a size that cannot be, or an area beside a size.
        """
        from flawmap.data.auto_size import AutoSize
        from flawmap.methods import get_preset

        if self.tile is not None or self.overlap is not None:
            return self._tile_size()
        if self.size and self.size.lower() != "auto":
            if self.pixels is not None:
                raise OptionError(
                    f"--pixels {self.pixels} beside --size {self.size}: the area follows from the "
                    "size; give one of them"
                )
            return parse_size(self.size)
        if self.pixels is not None:
            return AutoSize(self.pixels)
        return AutoSize() if self.size else get_preset(self.method, self.preset).size

    def _tile_size(self) -> TileSize:
        if self.tile is None:
            return parse_tile(None, self.overlap)
        other = f"--size {self.size}" if self.size else f"--pixels {self.pixels}"
        if self.size or self.pixels is not None:
            raise OptionError(
                f"--tile {self.tile} beside {other}: tiles are cut unscaled; give one of them"
            )
        return parse_tile(self.tile, self.overlap)

    def make_inspector(self, tuned: TuningResult | None = None) -> Inspector:
        """The inspector, not fitted.

        Args:
            tuned: settings that were chosen for the part; None for those that were typed.

        Raises:
            OptionError: no such method, preset or option, or a value out of its range.
        """
        from flawmap.inspector import Inspector

        typed_size = self.input_size
        inspector = Inspector(
            tuned.method if tuned else self._make_method(),
            size=tuned.size if tuned else typed_size,
            false_rejects=self.false_rejects,
            confidence=self.confidence,
            calibration_fraction=self.calibration_fraction,
            white=self.white,
            mask=self.mask,
            zones=self.regions,
            zone_budgets=self.region_budgets,
            finetune=self._finetune_config(),
        )
        inspector.name = self.method
        if self.memory is not None:
            # Refused at once where the method cannot; the fit names the real folder.
            inspector.method.limit_memory(self.memory, Path())
        inspector.tuning = tuned.record.to_dict() if tuned else None
        return inspector

    def make_tuning(self, minutes: float) -> Tuning:
        """The tuning that leaves as it is what was typed.

        Args:
            minutes: that it may take, for each product.
        """
        fixed = [*self.options, *(change.partition("=")[0] for change in self._method_changes())]
        if self.size or self.pixels or self.tile:
            fixed.append("size")
        return Tuning(minutes, self.input_size, fixed)

    def as_typed(self, inspector: Inspector) -> dict[str, Any]:
        """The settings by name, as far as they are known before the images are read.

        Args:
            inspector: that they make, not fitted.
        """
        from flawmap.data.auto_size import AutoSize
        from flawmap.data.tile_size import TileSize
        from flawmap.methods import METHODS
        from flawmap.methods.input_size import sides_of

        method, size = inspector.method, inspector.size
        is_auto = isinstance(size, AutoSize)
        if isinstance(size, TileSize):
            is_auto = size.pixels is None
        return {
            "method": self.method,
            "preset": self.preset or METHODS[self.method].default_preset or None,
            "backbone": method.backbone,
            "size": "auto" if is_auto else list(sides_of(size)),
            "pixels": size.pixels if isinstance(size, AutoSize) else None,
            "tile_overlap": size.overlap if isinstance(size, TileSize) else None,
            "precision": method.precision,
            "seed": method.seed,
            "white": self.white,
            "mask": self.mask,
            "regions": self.regions,
            "memory": self.memory,
            "finetune": self.finetune,
        }

    def check_backbone(self, inspector: Inspector) -> None:
        """Nothing, where the backbone and the size that were typed can be; fetches no weights.

        Args:
            inspector: that the settings make, not fitted.

        Raises:
            FlawmapError: the same as for the fit.
        """
        from flawmap.data.auto_size import AutoSize
        from flawmap.data.tile_size import TileSize
        from flawmap.features.timm_network import DEFAULT_BACKBONE
        from flawmap.methods.input_size import choose_size

        # What nobody changed is known to work, and to build a network takes seconds.
        if not (self.options.keys() - {"seed", "precision", "coreset"} or self._method_changes()):
            return
        method = inspector.method
        is_fetched = method.weights == "hub" or (
            method.weights is None and method.backbone != DEFAULT_BACKBONE
        )
        if is_fetched:
            method = replace(method, weights="random")
        if isinstance(inspector.size, AutoSize | TileSize):
            method.feature_extractor  # noqa: B018 (is built)
        else:
            choose_size(method, inspector.size, [])

    def _method_changes(self) -> list[str]:
        return [change for change in self.changes if not change.startswith(_FINETUNE)]

    def _make_method(self) -> Method:
        from flawmap.methods import make_method
        from flawmap.support.options import with_option

        method = make_method(self.method, self.preset, **self.options)
        return reduce(with_option, self._method_changes(), method)

    def _finetune_config(self) -> FineTuneConfig | None:
        """How to fine-tune; None for not at all."""
        from flawmap.finetune.config import PAPER_CONFIG, FineTuneConfig
        from flawmap.support.options import with_option

        of_finetune = [change for change in self.changes if change.startswith(_FINETUNE)]
        if self.finetune == "none":
            if of_finetune or self.finetune_preset == "paper":
                typed = f"--set {of_finetune[0]}" if of_finetune else "--finetune-preset paper"
                raise OptionError(
                    f"{typed} without --finetune; say with what to fine-tune, as --finetune "
                    "synthetic"
                )
            return None
        preset = PAPER_CONFIG if self.finetune_preset == "paper" else FineTuneConfig()
        changes = [change.removeprefix(_FINETUNE) for change in of_finetune]
        return reduce(with_option, changes, replace(preset, mode=self.finetune))
