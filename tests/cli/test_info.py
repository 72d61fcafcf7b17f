from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from flawmap import FineTuneConfig, Inspector, load
from flawmap.cli.common import ExitCode
from flawmap.errors import BundleError
from helpers import TINY, run, run_in_a_process, run_json, texture

GOOD = [texture(seed) for seed in range(8)]


def test_what_it_prints_is_what_the_runtime_has(part: Path) -> None:
    code, output = run("info", part)
    assert code == 0
    runtime = load(part)
    lines = [line.split(maxsplit=2) for line in output.splitlines()]
    hashes = {line[0]: line[2].strip() for line in lines if len(line) > 2 and line[1] == "hash"}
    assert hashes == {
        "model": runtime.model_sha256,
        "scorer": runtime.scorer_sha256,
        "weights": runtime.weights_sha256,
    }
    assert f"{runtime.calibration.threshold:.4f}" in output
    assert "method        flawmap" in output
    assert "coreset 0.1" in output
    assert "sigma" not in output  # it has its default
    assert "64 × 64" in output
    assert "fitted on 20" in output
    assert "1.00% of good parts rejected, on average" in output
    assert "A budget of 1.00% takes 99 good images, 79 more than there are" in output


def test_json_is_one_object(part: Path) -> None:
    code, facts = run_json("info", part)
    runtime = load(part)
    calibration = runtime.calibration
    assert code == 0
    assert facts["bytes"] == part.stat().st_size
    assert facts["method_options"] == runtime.method_options
    assert facts["changed_options"] == {"coreset": 0.1}
    assert (facts["height"], facts["width"]) == (64, 64)
    assert (facts["fitted_images"], facts["calibration"]["images"]) == (20, 20)
    assert facts["calibration"]["threshold"] == calibration.threshold
    assert facts["calibration"]["false_reject_bound"] == calibration.false_reject_bound
    assert facts["calibration"]["guarantees"] == calibration.guarantees()
    assert facts["model_sha256"] == runtime.model_sha256
    assert facts["scorer_sha256"] == runtime.scorer_sha256
    assert set(facts["versions"]) == {"flawmap", "openvino", "torch"}
    assert facts["has_graph"] is True
    assert facts["finetuning"] is None


def test_groups_and_images_that_only_calibrate(tmp_path: Path) -> None:
    inspector = Inspector(size=64, calibration_fraction=0.5, confidence=0.9, **TINY)
    inspector.fit(GOOD, groups=list("aabbccdd")).save(tmp_path / "part.flawmap")
    facts = run_json("info", tmp_path / "part.flawmap")[1]
    calibration = facts["calibration"]
    assert facts["fitted_images"] + calibration["images"] == 8
    assert facts["fitted_images"] < 8
    assert calibration["kind"] == "split"
    assert set(calibration["groups"]) < set("abcd")
    _, output = run("info", tmp_path / "part.flawmap")
    assert f"split, {calibration['images']} good images, {len(calibration['groups'])} gr" in output
    assert "1.00% of good parts rejected, 90% sure" in output


def test_a_named_methods_own_defaults_are_no_changes(tmp_path: Path) -> None:
    options: dict[str, Any] = {"backbone": "test_resnet", "weights": "random", "seed": 3}
    Inspector("patchcore-paper", size=64, **options).fit(GOOD).save(tmp_path / "part.flawmap")
    facts = run_json("info", tmp_path / "part.flawmap")[1]
    assert facts["method_options"]["image_score"]["type"] == "Reweighted"
    assert facts["changed_options"] == options


def test_why_there_is_no_graph(tmp_path: Path) -> None:
    options = {name: value for name, value in TINY.items() if name != "coreset"}
    Inspector("spade", size=64, **options).fit(GOOD).save(tmp_path / "part.flawmap")
    _, output = run("info", tmp_path / "part.flawmap")
    assert "SPADE cannot be a graph" in " ".join(output.split())
    assert run_json("info", tmp_path / "part.flawmap")[1]["has_graph"] is False


def test_a_fine_tuning(tmp_path: Path) -> None:
    config = FineTuneConfig(epochs=2, image_size=64, batch_size=8)
    inspector = Inspector(size=64, finetune=config, **TINY).fit(GOOD)
    inspector.save(tmp_path / "part.flawmap")
    facts = run_json("info", tmp_path / "part.flawmap")[1]["finetuning"]
    assert (facts["mode"], facts["epochs"], facts["excluded_images"]) == ("synthetic", 2, 0)
    assert facts["changed_options"] == {"epochs": 2, "image_size": 64, "batch_size": 8}
    assert inspector.finetune_record is not None
    assert facts["classes"] == inspector.finetune_record.classes
    assert "synthetic, 2 epochs: good (" in run("info", tmp_path / "part.flawmap")[1]


def test_a_folder_with_a_damaged_file(part: Path, tmp_path: Path) -> None:
    (tmp_path / "Black.flawmap").write_bytes(part.read_bytes())
    (tmp_path / "White.flawmap").write_bytes(part.read_bytes()[:-1])
    done = run_in_a_process("info", tmp_path, "--json")
    assert done.returncode == ExitCode.SOME_UNREADABLE
    assert "White.flawmap: damaged" in done.stderr
    facts = json.loads(done.stdout)
    assert list(facts) == ["Black"]
    assert facts["Black"]["model_sha256"] == load(part).model_sha256


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot be read"):
        run("info", tmp_path / "nowhere.flawmap")


def test_it_needs_neither_torch_nor_the_graph(part: Path) -> None:
    script = """
        import sys
        sys.argv = ["flawmap", "info", sys.argv[1]]
        from flawmap.cli import app
        try:
            app()
        except SystemExit:
            print({"torch", "openvino"} & set(sys.modules))
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(part)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")
