from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from flawmap import Inspector, Runtime
from flawmap.data.layouts import labelled_test_samples
from flawmap.data.sample import Sample
from flawmap.engine.run import make_engine
from flawmap.errors import DatasetError, OptionError
from flawmap.evaluation import evaluate
from flawmap.experiments import feature_cache
from flawmap.experiments.feature_cache import CachedBackbone
from flawmap.experiments.runs import RunResult, RunSpec, StudyRunner
from flawmap.experiments.study import MethodSetup, StudyConfig
from flawmap.features.aggregation import ChannelAggregation
from flawmap.finetune.config import FineTuneConfig
from flawmap.finetune.trainer import fine_tune
from flawmap.runtime.images.decode import decode
from flawmap.support.progress import listen
from helpers import value_of

SMALL: dict[str, Any] = {"coreset": 0.1}
PATCHCORE = MethodSetup("patchcore", SMALL)
AGGREGATED = MethodSetup(
    "patchcore", SMALL | {"reducer": ChannelAggregation(0.2), "reducer_scope": "bank"}
)
FINETUNED = MethodSetup("patchcore", SMALL, finetuned=True)
SHORT = FineTuneConfig(epochs=1, batch_size=4, image_size=32, frozen_stages=1)


@pytest.fixture
def study(products: Path) -> StudyConfig:
    return StudyConfig(products, "test_resnet", "random", (64, 64), 2, SHORT)


@pytest.fixture
def runner(study: StudyConfig, tmp_path: Path) -> StudyRunner:
    return StudyRunner(study, tmp_path)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    calls: list[object] = []

    def count(*given: Any) -> object:
        calls.append(given)
        return evaluate(*given)

    monkeypatch.setattr("flawmap.experiments.runs.evaluate", count)
    return calls


def test_a_run_is_measured_once(runner: StudyRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(monkeypatch)
    first = runner.results([PATCHCORE, AGGREGATED])
    assert set(first) == {
        (name, index, seed) for name in ("left", "right") for index in (0, 1) for seed in (0, 1)
    }
    assert len(calls) == 8
    # Another process, and a table in which the same spec stands elsewhere.
    again = StudyRunner(runner.study, runner.folder).results([AGGREGATED, PATCHCORE])
    assert len(calls) == 8
    assert again["left", 1, 1] == first["left", 0, 1]


def test_an_interrupted_study_resumes(runner: StudyRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []

    def stop(*given: Any) -> object:
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(given)
        return evaluate(*given)

    monkeypatch.setattr("flawmap.experiments.runs.evaluate", stop)
    assert len(runner.results([PATCHCORE])) == 3
    calls = counted(monkeypatch)
    assert len(StudyRunner(runner.study, runner.folder).results([PATCHCORE])) == 4
    assert len(calls) == 1


def test_what_was_measured_before_outlives_an_interruption(
    runner: StudyRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = runner.results([PATCHCORE])
    (runner.folder / "runs" / f"{full['left', 0, 0].key}.json").unlink()

    def stop(*_: Any) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr("flawmap.experiments.runs.evaluate", stop)
    assert set(StudyRunner(runner.study, runner.folder).results([PATCHCORE])) == set(full) - {
        ("left", 0, 0)
    }


def test_a_result_has_the_metrics_of_evaluate(runner: StudyRunner) -> None:
    result = runner.result(RunSpec(PATCHCORE, "left", 0))
    method = runner.study.method(PATCHCORE, 0)
    inspector = Inspector(method, size=(64, 64)).fit(runner.study.products["left"])
    samples = labelled_test_samples(runner.study.products["left"])
    expected = evaluate(inspector.runtime, samples).metrics["image AUROC"]
    assert value_of(result.metrics["image AUROC"]) == pytest.approx(value_of(expected))
    assert value_of(result.metrics["pixel AUROC"]) > 0.9
    assert (result.images, result.unreadable, result.error) == ((6, 6), 0, "")
    stored = json.loads((runner.folder / "runs" / f"{result.key}.json").read_text())
    assert stored["cache_fields"]["product"] == "left"


def test_cached_maps_score_as_computed_ones(runner: StudyRunner, products: Path) -> None:
    cached = runner.inspector(RunSpec(AGGREGATED, "left", 1))
    method = runner.study.method(AGGREGATED, 1)
    plain = Inspector(method, size=(64, 64)).fit(products / "left")
    assert isinstance(cached.method.feature_extractor, CachedBackbone)
    assert not isinstance(plain.method.feature_extractor, CachedBackbone)
    assert torch.allclose(
        torch.tensor(cached.calibration.scores),
        torch.tensor(plain.calibration.scores),
        rtol=1e-4,
        atol=1e-6,
    )
    new = decode(products / "left/test/spot/7.png")
    assert cached.inspect(new).score == pytest.approx(plain.inspect(new).score, rel=1e-4)


def test_runs_of_one_product_and_network_compute_the_maps_of_each_image_once(
    runner: StudyRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def make_counting(*given: Any) -> object:
        engine = make_engine(*given)

        def count(images: Tensor) -> object:
            sizes.append(len(images))
            return engine(images)

        return count

    monkeypatch.setattr("flawmap.experiments.feature_cache.make_engine", make_counting)
    runner.results([PATCHCORE, AGGREGATED])
    assert sum(sizes) == 2 * 12


def test_the_finetuned_network_is_trained_once_a_seed(
    study: StudyConfig, products: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = StudyRunner(replace(study, source=products / "left"), tmp_path)
    calls = []

    def count(*given: Any, seed: int) -> object:
        calls.append(given)
        return fine_tune(*given, seed=seed)

    monkeypatch.setattr("flawmap.experiments.backbones.fine_tune", count)
    results = runner.results([FINETUNED, replace(AGGREGATED, finetuned=True), PATCHCORE])
    assert len(calls) == 2
    finetuned, plain = results["left", 0, 0].cache_fields, results["left", 2, 0].cache_fields
    assert finetuned["finetune"]["epochs"] == 1
    assert plain["finetune"] is None
    assert finetuned["weights"] == plain["weights"]


def test_another_image_is_another_run(runner: StudyRunner, products: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(products, copied)
    other = StudyRunner(replace(runner.study, source=copied), tmp_path)
    spec = RunSpec(PATCHCORE, "left", 0)
    assert other.cache_fields(spec) == runner.cache_fields(spec)
    (copied / "left/test/good/6.png").write_bytes((copied / "left/test/good/7.png").read_bytes())
    assert StudyRunner(other.study, tmp_path).cache_fields(spec) != runner.cache_fields(spec)


def test_settings_and_seeds_are_other_runs(runner: StudyRunner) -> None:
    spec = RunSpec(PATCHCORE, "left", 0)
    others = [
        RunSpec(AGGREGATED, "left", 0),
        RunSpec(PATCHCORE, "right", 0),
        RunSpec(PATCHCORE, "left", 1),
        RunSpec(FINETUNED, "left", 0),
    ]
    keys = {json.dumps(runner.cache_fields(other), sort_keys=True) for other in [spec, *others]}
    assert len(keys) == 5


def test_a_run_that_fails_stops_no_other_and_is_tried_again(
    runner: StudyRunner, monkeypatch: pytest.MonkeyPatch
) -> None:

    def fail(runtime: Runtime, samples: list[Sample]) -> object:
        if "left" in str(samples[0]):
            raise DatasetError("the disk is gone")
        return evaluate(runtime, samples)

    monkeypatch.setattr("flawmap.experiments.runs.evaluate", fail)
    heard: list[object] = []
    with listen(lambda *_: None, heard.append):
        results = runner.results([PATCHCORE])
    assert results["left", 0, 0].error == "the disk is gone"
    assert results["right", 0, 0].error == ""
    assert any("patchcore on left, seed 0: the disk is gone" in str(event) for event in heard)
    monkeypatch.setattr("flawmap.experiments.runs.evaluate", evaluate)
    again = StudyRunner(runner.study, runner.folder).results([PATCHCORE])
    assert not any(result.error for result in again.values())


def test_missing_weights_are_an_error_of_the_run(products: Path, tmp_path: Path) -> None:
    runner = StudyRunner(
        StudyConfig(products, "test_resnet", str(tmp_path / "none.safetensors"), (64, 64), 1),
        tmp_path,
    )
    assert "no such file" in runner.results([PATCHCORE])["left", 0, 0].error


def test_missing_weights_are_reported_after_an_interruption_too(
    products: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = StudyRunner(
        StudyConfig(products, "test_resnet", str(tmp_path / "none.safetensors"), (64, 64), 1),
        tmp_path,
    )

    def stop(_: RunSpec) -> RunResult:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "result", stop)
    assert "no such file" in runner.results([PATCHCORE])["right", 0, 0].error


def test_runs_at_two_strides_share_no_maps(runner: StudyRunner) -> None:
    finer = replace(PATCHCORE, options={**PATCHCORE.options, "stride": 8})
    results = runner.results([PATCHCORE, finer])
    plain, dilated = (results["left", index, 0] for index in range(2))
    assert plain.key != dilated.key
    assert runner.inspector(RunSpec(finer, "left", 0)).method.feature_extractor.stride == 8


def test_what_draws_nothing_is_measured_once(runner: StudyRunner) -> None:
    assert {key[2] for key in runner.results([MethodSetup("spade", {"neighbours": 2})])} == {0}


def test_a_method_that_is_not_there_has_no_results(runner: StudyRunner) -> None:
    assert runner.results([MethodSetup("no-such-method")]) == {}


def test_a_damaged_result_is_measured_again(runner: StudyRunner) -> None:
    result = runner.result(RunSpec(PATCHCORE, "left", 0))
    (runner.folder / "runs" / f"{result.key}.json").write_text("{")
    assert (
        StudyRunner(runner.study, runner.folder).result(RunSpec(PATCHCORE, "left", 0)).metrics
        == result.metrics
    )


def test_the_memory_that_is_free_is_the_limit(
    runner: StudyRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = runner.result(RunSpec(PATCHCORE, "left", 0))
    monkeypatch.setattr(feature_cache, "available_memory", lambda: 100_000)
    extractor = runner.inspector(RunSpec(PATCHCORE, "right", 0)).method.feature_extractor
    assert isinstance(extractor, CachedBackbone)
    assert extractor.num_cached < 6
    monkeypatch.undo()
    again = StudyRunner(runner.study, runner.folder / "else").result(RunSpec(PATCHCORE, "left", 0))
    assert again.metrics == full.metrics


def test_one_data_set_is_one_product(products: Path) -> None:
    assert list(StudyConfig(products / "left").products) == ["left"]
    with pytest.raises(DatasetError, match="no test images"):
        StudyConfig(products / "left/train/good").products  # noqa: B018


@pytest.mark.parametrize("wrong", [{"seeds": 0}, {"finetune": FineTuneConfig("leaky")}])
def test_studies_that_cannot_be(products: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="use"):
        StudyConfig(products, **wrong)
