"""A run of a study: a method on a product with a seed, measured once, then a file on disk."""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from flawmap.data.layouts import good_training_samples, labelled_test_samples
from flawmap.data.read_mask import mask_files
from flawmap.data.splits import sha256_of
from flawmap.errors import FlawmapError
from flawmap.evaluation import evaluate
from flawmap.experiments.backbones import StudyBackbones
from flawmap.experiments.study import MethodSetup, StudyConfig
from flawmap.inspector import Inspector
from flawmap.methods import METHODS
from flawmap.metrics.metric import Metric
from flawmap.support.options import to_dict
from flawmap.support.progress import emit, report_progress
from flawmap.support.tables import write_json

RunKey = tuple[str, int, int]
"""Product, index of the setup, and seed."""


class RunSpec(NamedTuple):
    """What one run measures.

    Args:
        setup: the method with its options.
        product: name of the product.
        seed: of everything random.
    """

    setup: MethodSetup
    product: str
    seed: int


@dataclass(frozen=True)
class RunResult:
    """What a run measured.

    Args:
        cache_fields: all that the result depends on: settings, and hashes of data and weights.
        metrics: by name, as `evaluate` returns them.
        images: number of good images that the method was fitted and calibrated on, and number of
            test images.
        unreadable: number of images that could not be read.
        seconds: from the first image to the last metric, without what other runs had done before.
        error: why there are no metrics; empty where there are.

    Example:
        >>> result = RunResult({"method": "padim"}, {"F1 max": Metric(0.9)}, images=(200, 392))
        >>> RunResult.from_dict(result.to_dict()) == result
        True
    """

    cache_fields: dict[str, Any]
    metrics: dict[str, Metric] = field(default_factory=dict)
    images: tuple[int, int] = (0, 0)
    unreadable: int = 0
    seconds: float = 0.0
    error: str = ""

    @property
    def key(self) -> str:
        """The name of the result's file: a hash of all that the result depends on."""
        text = json.dumps(self.cache_fields, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:20]

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON can hold it; `from_dict` takes it."""
        metrics = {name: metric.to_dict() for name, metric in self.metrics.items()}
        return vars(self) | {"metrics": metrics}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunResult:
        """The result that `to_dict` was called on.

        Args:
            values: what `to_dict` returned.

        Raises:
            KeyError: a field is missing.
            TypeError: a field is unknown, or has another type.
        """
        metrics = {name: Metric(**metric) for name, metric in values["metrics"].items()}
        return cls(**{**values, "metrics": metrics, "images": tuple(values["images"])})


class StudyRunner:
    """Runs methods on products, and keeps results on disk and backbones in memory.

    Args:
        study: what the runs have in common.
        folder: for the results, in a folder `runs` below it.

    Attributes:
        stopped: whether the user interrupted `results`.

    Example:
        >>> runner = StudyRunner(StudyConfig(Path("tiles"), seeds=1), Path("tables"))
        >>> results = runner.results([MethodSetup("padim")])  # doctest: +SKIP
        >>> results["tiles", 0, 0].metrics["image AUROC"].value  # doctest: +SKIP
        0.893
    """

    def __init__(self, study: StudyConfig, folder: Path) -> None:
        self.study = study
        self.folder = folder
        self.stopped = False
        self._backbones = StudyBackbones(study)
        self._data_sha256: dict[str, str] = {}

    def results(self, setups: Sequence[MethodSetup]) -> dict[RunKey, RunResult]:
        """The results of all setups on all products; those on disk are read, the others measured.

        A run that fails has a result that says why, and is tried again the next time. After an
        interruption (Ctrl-C) only results from disk come back.

        Args:
            setups: one per line of a table; unknown methods have no results.

        Raises:
            KeyboardInterrupt: interrupted before there was any result.
        """
        specs = self._specs(setups)
        results: dict[RunKey, RunResult] = {}
        measure: Callable[[RunSpec], RunResult | None] = self.result
        for done, (key, spec) in enumerate(specs):
            report_progress("runs", done, len(specs))
            try:
                result = measure(spec)
            except KeyboardInterrupt:
                emit("stopped; the rest is what was measured before")
                self.stopped = True
                measure = self.stored_result
                result = measure(spec)
            if result is not None:
                results[key] = result
        report_progress("runs", len(specs), len(specs))
        if self.stopped and not results:
            raise KeyboardInterrupt
        return results

    def stored_result(self, spec: RunSpec) -> RunResult | None:
        """The result of a run that is on disk, or one that says why the run is impossible.

        Args:
            spec: method, product and seed of the run.

        Returns:
            None where the run could be measured and was not yet.
        """
        try:
            return self._read(RunResult(self.cache_fields(spec)))
        except FlawmapError as error:
            return _failed(spec, error)

    def result(self, spec: RunSpec) -> RunResult:
        """The result of a run: the one on disk, or else a new one, which is then on disk.

        Args:
            spec: method, product and seed of the run.

        Returns:
            The result; where the run failed, its `error` says why.
        """
        try:
            result = RunResult(self.cache_fields(spec))
            stored = self._read(result)
            if stored is not None:
                return stored
            started = time.perf_counter()
            result = self._measure(spec, result)
            result = replace(result, seconds=time.perf_counter() - started)
        except (FlawmapError, MemoryError) as error:
            result = _failed(spec, error)
            emit(f"{spec.setup.method} on {spec.product}, seed {spec.seed}: {result.error}")
        write_json(self._file(result), result.to_dict())
        return result

    def cache_fields(self, spec: RunSpec) -> dict[str, Any]:
        """All that the result of a run depends on, as JSON can hold it.

        Args:
            spec: method, product and seed of the run.

        Raises:
            FlawmapError: the run is impossible: no such option, layer, weights or data.
        """
        method = self.study.method(spec.setup, spec.seed)
        options = {name: value for name, value in method.options().items() if name != "weights"}
        fields = {
            "product": spec.product,
            "data": self._data_hash(spec.product),
            "method": type(method).__name__,
            "options": options,
            "weights": self._backbones.pretrained(method).fingerprint(),
            "size": list(self.study.size),
            "finetune": to_dict(self.study.finetune) if spec.setup.finetuned else None,
        }
        if spec.setup.finetuned and self.study.finetune.mode == "products":
            fields["finetune_data"] = {name: self._data_hash(name) for name in self.study.products}
        return fields

    def inspector(self, spec: RunSpec) -> Inspector:
        """The fitted inspector of a run.

        Args:
            spec: method, product and seed of the run.

        Raises:
            FlawmapError: the run is impossible.
        """
        method = self.study.method(spec.setup, spec.seed)
        method.feature_extractor = self._backbones.for_method(
            method, spec.product, finetuned=spec.setup.finetuned
        )
        inspector = Inspector(method, size=self.study.size)
        inspector.name = spec.setup.method
        return inspector.fit(self.study.products[spec.product])

    def _specs(self, setups: Sequence[MethodSetup]) -> list[tuple[RunKey, RunSpec]]:
        """All runs; those that share a network follow each other, for one cache is kept."""
        available = [item for item in enumerate(setups) if item[1].method in METHODS]
        specs = []
        for product, (index, setup) in itertools.product(self.study.products, available):
            for seed in self._seeds(setup):
                spec = RunSpec(setup, product, seed)
                specs.append(((product, index, seed), spec))
        return sorted(specs, key=lambda item: self._order(item[1]))

    def _order(self, spec: RunSpec) -> tuple[Any, ...]:
        method = self.study.method(spec.setup, spec.seed)
        key = self._backbones.key(method, spec.product, finetuned=spec.setup.finetuned)
        return *key, spec.seed

    def _seeds(self, setup: MethodSetup) -> range:
        is_random = setup.finetuned or self.study.method(setup, 0).is_random
        return range(self.study.seeds if is_random else 1)

    def _measure(self, spec: RunSpec, result: RunResult) -> RunResult:
        folder = self.study.products[spec.product]
        inspector = self.inspector(spec)
        samples = labelled_test_samples(folder)
        evaluation = evaluate(inspector.runtime, samples)
        unreadable = len(inspector.unreadable)
        num_good = len(good_training_samples(folder)) - unreadable
        unreadable += sum(record.score is None for record in evaluation.records)
        return replace(
            result,
            metrics=evaluation.metrics,
            images=(num_good, len(samples)),
            unreadable=unreadable,
        )

    def _file(self, result: RunResult) -> Path:
        return self.folder / "runs" / f"{result.key}.json"

    def _read(self, result: RunResult) -> RunResult | None:
        try:
            return RunResult.from_dict(json.loads(self._file(result).read_text("utf-8")))
        except FileNotFoundError:
            return None
        except (KeyError, TypeError, ValueError) as error:
            emit(f"{result.key}.json cannot be read ({error!r}); it is measured again")
            return None

    def _data_hash(self, product: str) -> str:
        if product not in self._data_sha256:
            folder = self.study.products[product]
            lines = []
            for sample in [*good_training_samples(folder), *labelled_test_samples(folder)]:
                files = [sample.path, *mask_files(sample.mask)] if sample.mask else [sample.path]
                lines += [f"{file.parent.name}/{file.name} {sha256_of(file)}" for file in files]
            digest = hashlib.sha256("\n".join(sorted(lines)).encode())
            self._data_sha256[product] = digest.hexdigest()
        return self._data_sha256[product]


def _failed(spec: RunSpec, error: BaseException) -> RunResult:
    fields = {"method": spec.setup.method, "product": spec.product, "seed": spec.seed}
    return RunResult(fields, error=str(error) or type(error).__name__)
