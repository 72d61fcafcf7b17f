from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from flawmap import Inspector
from flawmap.errors import DatasetError, OptionError
from flawmap.experiments import runs as cells
from flawmap.experiments.runs import MethodSetup, RunResult, RunSpec, StudyConfig, StudyRunner
from flawmap.features.reducers import ChannelAggregation
from flawmap.finetune.config import FineTuneConfig
from flawmap.runtime.decode import decode
from flawmap.support.progress import listen

SMALL = {"coreset": 0.1}
PATCHCORE = MethodSetup("patchcore", SMALL)
AGGREGATED = MethodSetup(
    "patchcore", SMALL | {"reducer": ChannelAggregation(0.2), "reducer_scope": "bank"}
)
TUNED = MethodSetup("patchcore", SMALL, finetuned=True)
SHORT = FineTuneConfig(epochs=1, batch_size=4, image_size=32, frozen_stages=1)


@pytest.fixture
def study(products: Path) -> StudyConfig:
    return StudyConfig(products, "test_resnet", "random", (64, 64), 2, SHORT)


@pytest.fixture
def lab(study: StudyConfig, tmp_path: Path) -> StudyRunner:
    return StudyRunner(study, tmp_path)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    calls: list[object] = []
    run = cells.evaluate
    monkeypatch.setattr(cells, "evaluate", lambda *given: (calls.append(given), run(*given))[1])
    return calls


def test_a_cell_is_measured_once(lab: StudyRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(monkeypatch)
    first = lab.results([PATCHCORE, AGGREGATED])
    assert set(first) == {
        (name, place, seed) for name in ("left", "right") for place in (0, 1) for seed in (0, 1)
    }
    assert len(calls) == 8
    # Another process, and a table in which the same cell stands elsewhere.
    again = StudyRunner(lab.study, lab.folder).results([AGGREGATED, PATCHCORE])
    assert len(calls) == 8
    assert again["left", 1, 1] == first["left", 0, 1]


def test_an_interrupted_run_goes_on(lab: StudyRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(monkeypatch)
    run = cells.evaluate

    def stop(*given: object) -> object:
        if len(calls) == 3:
            raise KeyboardInterrupt
        return run(*given)

    monkeypatch.setattr(cells, "evaluate", stop)
    assert len(lab.results([PATCHCORE])) == 3
    monkeypatch.setattr(cells, "evaluate", run)
    assert len(StudyRunner(lab.study, lab.folder).results([PATCHCORE])) == 4
    assert len(calls) == 4


def test_what_was_measured_before_outlives_an_interruption(
    lab: StudyRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = lab.results([PATCHCORE])
    (lab.folder / "rows" / f"{whole['left', 0, 0].key}.json").unlink()

    def stop(*_: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(cells, "evaluate", stop)
    assert set(StudyRunner(lab.study, lab.folder).results([PATCHCORE])) == set(whole) - {
        ("left", 0, 0)
    }


def test_a_row_has_what_evaluate_says(lab: StudyRunner) -> None:
    row = lab.result(RunSpec(PATCHCORE, "left", 0))
    assert 0.5 < (row.metrics["image AUROC"].value or 0) <= 1
    assert row.metrics["pixel AUROC"].value is not None
    assert (row.images, row.unreadable, row.error) == ((6, 6), 0, "")
    assert (
        json.loads((lab.folder / "rows" / f"{row.key}.json").read_text())["about"]["product"]
        == "left"
    )


def test_what_is_looked_up_scores_as_what_is_computed(lab: StudyRunner, products: Path) -> None:
    remembering = lab.inspector(RunSpec(AGGREGATED, "left", 1))
    method = lab.study.method(AGGREGATED, 1)
    plain = Inspector(method, size=(64, 64)).fit(products / "left")
    assert remembering.method.feature_extractor.remembers
    assert not plain.method.feature_extractor.remembers
    assert torch.allclose(
        torch.tensor(remembering.calibration.scores),
        torch.tensor(plain.calibration.scores),
        rtol=1e-4,
        atol=1e-6,
    )
    new = decode(products / "left/test/spot/7.png")
    assert remembering.inspect(new).score == pytest.approx(plain.inspect(new).score, rel=1e-4)


def test_cells_of_one_product_and_network_look_at_each_image_once(
    lab: StudyRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    look = cells.CachedBackbone._seen
    monkeypatch.setattr(
        cells.CachedBackbone, "_seen", lambda self, new: (seen.extend(new), look(self, new))[1]
    )
    lab.results([PATCHCORE, AGGREGATED])
    assert len(seen) == len(set(seen)) == 2 * 12


def test_the_tuned_network_is_trained_once_a_seed(
    lab: StudyRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    run = cells.fine_tune
    monkeypatch.setattr(cells, "tune", lambda *given: (calls.append(given), run(*given))[1])
    rows = lab.results([TUNED, replace(AGGREGATED, tuned=True), PATCHCORE])
    assert len(calls) == 2 * 2
    assert rows["left", 0, 0].about["finetune"]["epochs"] == 1
    assert rows["left", 0, 0].about["weights"] == rows["left", 2, 0].about["weights"]


def test_another_image_is_another_row(lab: StudyRunner, products: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(products, copied)
    other = StudyRunner(replace(lab.study, source=copied), tmp_path)
    cell = RunSpec(PATCHCORE, "left", 0)
    assert other.cache_fields(cell) == lab.cache_fields(cell)
    (copied / "left/test/good/6.png").write_bytes((copied / "left/test/good/7.png").read_bytes())
    assert StudyRunner(other.study, tmp_path).cache_fields(cell) != lab.cache_fields(cell)


def test_settings_and_seeds_are_other_rows(lab: StudyRunner) -> None:
    cell = RunSpec(PATCHCORE, "left", 0)
    others = [
        RunSpec(AGGREGATED, "left", 0),
        RunSpec(PATCHCORE, "right", 0),
        RunSpec(PATCHCORE, "left", 1),
        RunSpec(TUNED, "left", 0),
    ]
    keys = {json.dumps(lab.cache_fields(one), sort_keys=True) for one in [cell, *others]}
    assert len(keys) == 5


def test_a_cell_that_fails_stops_no_other_and_is_tried_again(
    lab: StudyRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = cells.evaluate

    def fail(runtime: object, samples: list[object]) -> object:
        if "left" in str(samples[0]):
            raise DatasetError("the disk is gone")
        return run(runtime, samples)

    monkeypatch.setattr(cells, "evaluate", fail)
    heard: list[object] = []
    with listen(lambda *_: None, heard.append):
        rows = lab.results([PATCHCORE])
    assert rows["left", 0, 0].error == "the disk is gone"
    assert rows["right", 0, 0].error == ""
    assert any("patchcore on left, seed 0: the disk is gone" in str(one) for one in heard)
    monkeypatch.setattr(cells, "evaluate", run)
    assert not any(
        row.error for row in StudyRunner(lab.study, lab.folder).results([PATCHCORE]).values()
    )


def test_weights_that_cannot_be_had_are_an_error_of_the_cell(
    products: Path, tmp_path: Path
) -> None:
    lab = StudyRunner(
        StudyConfig(products, "test_resnet", str(tmp_path / "none.safetensors"), (64, 64), 1),
        tmp_path,
    )
    assert "no such file" in lab.results([PATCHCORE])["left", 0, 0].error


def test_weights_that_cannot_be_had_are_told_after_an_interruption_too(
    products: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = StudyRunner(
        StudyConfig(products, "test_resnet", str(tmp_path / "none.safetensors"), (64, 64), 1),
        tmp_path,
    )

    def stop(_: RunSpec) -> RunResult:
        raise KeyboardInterrupt

    monkeypatch.setattr(lab, "row", stop)
    assert "no such file" in lab.results([PATCHCORE])["right", 0, 0].error


def test_what_draws_nothing_is_measured_once(lab: StudyRunner) -> None:
    assert {key[2] for key in lab.results([MethodSetup("spade", {"neighbours": 2})])} == {0}


def test_a_system_that_is_not_there_has_no_rows(lab: StudyRunner) -> None:
    assert lab.results([MethodSetup("no-such-method")]) == {}


def test_a_damaged_row_is_measured_anew(lab: StudyRunner) -> None:
    row = lab.result(RunSpec(PATCHCORE, "left", 0))
    (lab.folder / "rows" / f"{row.key}.json").write_text("{")
    assert (
        StudyRunner(lab.study, lab.folder).result(RunSpec(PATCHCORE, "left", 0)).metrics
        == row.metrics
    )


def test_the_memory_that_is_free_is_the_limit(
    lab: StudyRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = lab.result(RunSpec(PATCHCORE, "left", 0))
    monkeypatch.setattr("flawmap.experiments.feature_cache.available_memory", lambda: 100_000)
    inspector = lab.inspector(RunSpec(PATCHCORE, "right", 0))
    assert len(inspector.method.feature_extractor._maps) < 6
    monkeypatch.undo()
    assert (
        whole.metrics
        == StudyRunner(lab.study, lab.folder / "else").result(RunSpec(PATCHCORE, "left", 0)).metrics
    )


def test_one_data_set_is_one_product(products: Path) -> None:
    assert list(StudyConfig(products / "left").products) == ["left"]
    with pytest.raises(DatasetError, match="no test images"):
        StudyConfig(products / "left/train/good").products  # noqa: B018


@pytest.mark.parametrize("wrong", [{"seeds": 0}, {"finetune": FineTuneConfig("leaky")}])
def test_studies_that_cannot_be(products: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(OptionError, match="use"):
        StudyConfig(products, **wrong)
