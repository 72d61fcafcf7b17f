"""One cell of a table: a method on a product with a seed.

Measured once, and from then on a row on disk.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from flawmap.data.layouts import GOOD, find_products, good_training_samples, labelled_test_samples
from flawmap.data.splits import sha256_of
from flawmap.errors import FlawmapError, OptionError
from flawmap.evaluation import evaluate
from flawmap.experiments.feature_cache import CachedBackbone
from flawmap.features.backbone import Backbone
from flawmap.features.registration import NoRegistration
from flawmap.finetune.classes import classes_by_product
from flawmap.finetune.config import PAPER_CONFIG, FineTuneConfig
from flawmap.finetune.trainer import fine_tune
from flawmap.inspector import Inspector
from flawmap.methods import METHODS, make_method
from flawmap.methods.base import Method
from flawmap.methods.trained_base import TrainedMethod
from flawmap.metrics.metric import Metric
from flawmap.support.options import to_dict
from flawmap.support.progress import emit, report_progress
from flawmap.support.tables import write_json

RESULTS_FOLDER = "rows"
"""The folder of the rows."""


@dataclass(frozen=True)
class MethodSetup:
    """What a line of a table is about.

    Args:
        method: a name among `METHODS`; one that is not there is shown as missing.
        options: of the method.
        tuned: whether its backbone is fine-tuned first.
    """

    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    finetuned: bool = False


@dataclass(frozen=True)
class StudyConfig:
    """What all cells of a table have in common.

    Args:
        source: a data set, or a folder of products, with test images.
        backbone: of all methods; None for each method's own.
        weights: of the backbone; see `Backbone`.
        size: of the network's input, (height, width).
        seeds: how many.
        transfer: how backbones are fine-tuned where they are: by painted defects, or by product.
        preset: of the methods that are trained.
    """

    source: Path
    backbone: str | None = None
    weights: str | None = None
    size: tuple[int, int] = (224, 224)
    seeds: int = 3
    finetune: FineTuneConfig = PAPER_CONFIG
    preset: str = "cpu"

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise OptionError(f"{self.seeds} seeds measure nothing; use 1 or more")
        if self.finetune.mode not in ("synthetic", "products"):
            raise OptionError(
                f"fine-tuned by {self.finetune.mode} a table tests what taught; use synthetic or "
                f"product"
            )

    @cached_property
    def products(self) -> dict[str, Path]:
        """Where each product is.

        Raises:
            DatasetError: there is no data set.
        """
        found = find_products(self.source) or {self.source.name: self.source}
        for place in found.values():
            labelled_test_samples(place)
        return found

    def method(self, setup: MethodSetup, seed: int) -> Method:
        """Make the method of a cell."""
        own = {"backbone": self.backbone, "weights": self.weights} if self.backbone else {}
        preset = self.preset if self.preset in METHODS[setup.method].presets else None
        return make_method(setup.method, preset, seed=seed, **own | dict(setup.options))


class RunSpec(NamedTuple):
    """What one row is measured of."""

    setup: MethodSetup
    product: str
    seed: int


@dataclass(frozen=True)
class RunResult:
    """What came of a cell.

    Args:
        about: all that tells it from other rows: settings, and the hashes of data and weights.
        metrics: figures by name, as `evaluate` gives them.
        images: how many good ones a method had, to learn from and to set its threshold, and how
            many were judged.
        left_out: images that could not be used.
        seconds: from the first image to the last figure, without what other cells had done already.
        error: why there are no figures.
    """

    about: dict[str, Any]
    metrics: dict[str, Metric] = field(default_factory=dict)
    images: tuple[int, int] = (0, 0)
    unreadable: int = 0
    seconds: float = 0.0
    error: str = ""

    @property
    def key(self) -> str:
        """What it is found by: a hash of all that it is about."""
        return hashlib.sha256(json.dumps(self.about, sort_keys=True).encode()).hexdigest()[:20]

    def to_dict(self) -> dict[str, Any]:
        """Say it in JSON; `Row.from_json` reads it back."""
        metrics = {name: metric.to_dict() for name, metric in self.metrics.items()}
        return vars(self) | {"metrics": metrics}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunResult:
        """Read what `to_json` said."""
        metrics = {name: Metric(**metric) for name, metric in values["metrics"].items()}
        return cls(**{**values, "metrics": metrics, "images": tuple(values["images"])})


class StudyRunner:
    """Measures cells, and keeps on disk and in memory what later ones can use.

    Args:
        study: what they have in common.
        folder: for the rows.
    """

    def __init__(self, study: StudyConfig, folder: Path) -> None:
        self.study, self.folder, self.stopped = study, folder, False
        self._data: dict[str, str] = {}
        self._backbones: dict[Any, Backbone] = {}
        self._tuned: dict[Any, Backbone] = {}
        self._last: tuple[Any, CachedBackbone] | None = None

    def results(self, setups: Sequence[MethodSetup]) -> dict[tuple[str, int, int], RunResult]:
        """Give the rows of all setups, by product, place among the setups, and seed.

        Those that are there are read.

        A cell that cannot be measured has a row that says why, and is tried again the next time.
        Interrupted, this gives what is there.
        """
        cells = [
            (place, RunSpec(setup, product, seed))
            for product in self.study.products
            for place, setup in enumerate(setups)
            if setup.method in METHODS
            for seed in self._seeds(setup)
        ]
        # What shares a network comes together, since only one at a time is remembered.
        cells.sort(key=lambda one: self._order(one[1]))
        found: dict[tuple[str, int, int], RunResult] = {}
        give: Callable[[RunSpec], RunResult | None] = self.result
        for done, (place, cell) in enumerate(cells):
            report_progress("cells", done, len(cells))
            try:
                row = give(cell)
            except KeyboardInterrupt:
                emit("stopped; the rest is what was measured before")
                give, self.stopped = self.stored_result, True
                row = give(cell)
            if row is not None:
                found[cell.product, place, cell.seed] = row
        report_progress("cells", len(cells), len(cells))
        if self.stopped and not found:
            raise KeyboardInterrupt
        return found

    def stored_result(self, cell: RunSpec) -> RunResult | None:
        """Give the row of a cell where it is on disk, or one that says why it cannot be."""
        try:
            return self._read(RunResult(self.cache_fields(cell)))
        except FlawmapError as error:
            return _failed(cell, error)

    def result(self, cell: RunSpec) -> RunResult:
        """Give the row of a cell: the one on disk, or a new one."""
        try:
            row = RunResult(self.cache_fields(cell))
            if (known := self._read(row)) is not None:
                return known
            started = time.perf_counter()
            row = self._measure(cell, row)
            row = replace(row, seconds=time.perf_counter() - started)
        except (FlawmapError, MemoryError) as error:
            row = _failed(cell, error)
            emit(f"{cell.setup.method} on {cell.product}, seed {cell.seed}: {row.error}")
        write_json(self.folder / RESULTS_FOLDER / f"{row.key}.json", row.to_dict())
        return row

    def cache_fields(self, cell: RunSpec) -> dict[str, Any]:
        """Say all that a row depends on."""
        method = self.study.method(cell.setup, cell.seed)
        options = {name: value for name, value in method.options().items() if name != "weights"}
        transfer = to_dict(self.study.finetune) if cell.setup.finetuned else None
        by_all = transfer and self.study.finetune.mode == "products"
        taught = {name: self._hash(name) for name in self.study.products} if by_all else {}
        return {
            "product": cell.product,
            "data": self._hash(cell.product),
            "method": type(method).__name__,
            "options": options,
            "weights": self._backbone(method).fingerprint(),
            "size": list(self.study.size),
            "finetune": transfer,
            **({"taught": taught} if taught else {}),
        }

    def inspector(self, cell: RunSpec) -> Inspector:
        """Fit the inspector of a cell."""
        method = self.study.method(cell.setup, cell.seed)
        network = (
            self._tuned_backbone(cell, method) if cell.setup.finetuned else self._backbone(method)
        )
        # A registration works inside the network, and a training shows it ever new images.
        itself = (
            isinstance(method, TrainedMethod) or getattr(method, "registration", _NONE) != _NONE
        )
        method.feature_extractor = (
            network if itself else self._remembering(self._shares(cell, method), network)
        )
        return Inspector(method, name=cell.setup.method, size=self.study.size).fit(
            self.study.products[cell.product]
        )

    def _measure(self, cell: RunSpec, row: RunResult) -> RunResult:
        place = self.study.products[cell.product]
        inspector, good, samples = (
            self.inspector(cell),
            good_training_samples(place),
            labelled_test_samples(place),
        )
        evaluation = evaluate(inspector.runtime, samples)
        unreadable = len(inspector.unreadable) + sum(
            one.score is None for one in evaluation.records
        )
        counts = len(good) - len(inspector.unreadable), len(samples)
        return replace(row, metrics=evaluation.metrics, images=counts, unreadable=unreadable)

    def _read(self, row: RunResult) -> RunResult | None:
        try:
            return RunResult.from_dict(
                json.loads((self.folder / RESULTS_FOLDER / f"{row.key}.json").read_text())
            )
        except FileNotFoundError:
            return None
        except (KeyError, TypeError, ValueError) as error:
            emit(f"{row.key}.json cannot be read ({error!r}); it is measured anew")
            return None

    def _seeds(self, setup: MethodSetup) -> range:
        random = setup.finetuned or self.study.method(setup, 0).is_random
        return range(self.study.seeds if random else 1)

    def _order(self, cell: RunSpec) -> tuple[Any, ...]:
        return *self._shares(cell, self.study.method(cell.setup, cell.seed)), cell.seed

    def _shares(self, cell: RunSpec, method: Method) -> tuple[Any, ...]:
        """Say what cells have in common that look at the same images with the same network."""
        return (
            cell.product,
            cell.seed if cell.setup.finetuned else -1,
            method.backbone,
            method.layers,
        )

    def _hash(self, product: str) -> str:
        if product not in self._data:
            place = self.study.products[product]
            samples = [*good_training_samples(place), *labelled_test_samples(place)]
            files = [one for sample in samples for one in (sample.path, sample.mask) if one]
            parts = sorted(f"{file.parent.name}/{file.name} {sha256_of(file)}" for file in files)
            self._data[product] = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        return self._data[product]

    def _backbone(self, method: Method) -> Backbone:
        key = method.backbone, method.layers, method.weights
        if key not in self._backbones:
            self._backbones[key] = method.feature_extractor
        return self._backbones[key]

    def _tuned_backbone(self, cell: RunSpec, method: Method) -> Backbone:
        by_all = self.study.finetune.mode == "products"
        key = "" if by_all else cell.product, *self._shares(cell, method)[1:]
        if key not in self._tuned:
            good = [
                sample.path for sample in good_training_samples(self.study.products[cell.product])
            ]
            classes = classes_by_product(self.study.source) if by_all else {GOOD: good}
            self._tuned[key] = fine_tune(
                method.backbone,
                method.layers,
                method.weights,
                classes,
                self.study.finetune,
                seed=method.seed,
            ).backbone
        return self._tuned[key]

    def _remembering(self, shares: tuple[Any, ...], network: Backbone) -> CachedBackbone:
        if self._last is None or self._last[0] != shares:
            self._last = None  # before the next one counts the free memory
            self._last = shares, CachedBackbone(network)
        return self._last[1]


_NONE = NoRegistration()


def _failed(cell: RunSpec, error: BaseException) -> RunResult:
    about = {"method": cell.setup.method, "product": cell.product, "seed": cell.seed}
    return RunResult(about, error=str(error) or type(error).__name__)
