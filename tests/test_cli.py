"""The commands as a user types them, in a process of their own where start and exit matter."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flawmap import cli
from flawmap.cli import app
from flawmap.errors import DatasetError, OptionError, WeightsUnavailable
from flawmap.prepare import read
from helpers import save, texture, with_defect

SMALL = ["--size", "64", "--coreset", "0.1"]


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=True)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def run_in_a_process(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flawmap", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("part")
    for seed in range(20):
        save(folder / "good parts (散热片)" / f"{seed:02}.png", texture(seed))
    code, output = run("fit", folder / "good parts (散热片)", "-o", folder / "part.flawmap", *SMALL)
    assert code == 0, output
    return folder / "part.flawmap"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    save(tmp_path / "new (1)" / "坏" / "defect.jpg", with_defect(texture(50, 90, 70), 40, 30))
    for seed in range(3):
        save(tmp_path / "new (1)" / f"good {seed}.png", texture(seed))
    return tmp_path / "new (1)"


def test_fit_says_what_it_learned_and_what_the_budget_takes(good_folder: Path, tmp_path: Path) -> None:
    code, output = run("fit", good_folder, "-o", tmp_path / "p.flawmap", "--false-rejects", "0.01", *SMALL)
    assert code == 0
    assert "Learned from 12 good pictures" in output
    assert "takes 99 good pictures or more, 87 more than there are" in output.replace("\n", " ")


def test_inspect_leaves_a_line_a_table_and_a_picture_each(part: Path, pictures: Path, tmp_path: Path) -> None:
    code, output = run("inspect", part, pictures, "-o", tmp_path / "out")
    assert code == 1
    assert re.search(r"reject  p 0\.0476  score +\d+\.\d{4}  .*坏/defect\.jpg", output)
    assert "3 good, 1 rejected, 0 unreadable" in output
    with (tmp_path / "out" / "results.csv").open(encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["path", "score", "p_value", "reject", "error", "milliseconds"]
    assert [row["reject"] for row in rows] == ["0", "0", "0", "1"]
    lines = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert [line["reject"] for line in lines] == [False, False, False, True]
    assert float(rows[3]["score"]) == lines[3]["score"]
    assert read(tmp_path / "out/maps/坏/defect.jpg.png").shape == (90, 70, 3)


def test_all_good_exits_with_0(part: Path, pictures: Path, tmp_path: Path) -> None:
    code, output = run("inspect", part, *sorted(pictures.glob("*.png")), "-o", tmp_path / "out")
    assert code == 0
    assert "3 good, 0 rejected" in output


def test_one_bad_picture_stops_nothing_and_exits_with_2(part: Path, pictures: Path, tmp_path: Path) -> None:
    (pictures / "broken.png").write_text("no picture")
    missing = tmp_path / "nowhere.png"
    code, output = run("inspect", part, pictures, missing, "-o", tmp_path / "out")
    assert code == 2
    assert "3 good, 1 rejected, 2 unreadable" in output
    lines = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    errors = [line["error"] for line in lines if line["error"]]
    assert len(errors) == 2
    assert all(line["score"] is None for line in lines if line["error"])


def test_the_same_name_twice_keeps_both_maps(part: Path, tmp_path: Path) -> None:
    twice = [save(tmp_path / folder / "a.png", texture(1)) for folder in ("one", "two")]
    run("inspect", part, *twice, "-o", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out" / "maps").iterdir()) == ["a.png (2).png", "a.png.png"]


def test_a_bad_picture_among_the_good_ones_is_left_out_and_said(good_folder: Path, tmp_path: Path) -> None:
    (good_folder / "99.jpg").write_bytes(b"\xff\xd8cut")
    code, output = run("fit", good_folder, "-o", tmp_path / "p.flawmap", *SMALL)
    assert code == 2
    assert "left out:" in output
    assert "99.jpg" in output
    assert (tmp_path / "p.flawmap").exists()


def test_evaluate_writes_its_figures(part: Path, tmp_path: Path) -> None:
    for seed in range(4):
        save(tmp_path / "data/test/good" / f"{seed}.png", texture(seed))
        save(tmp_path / "data/test/spot" / f"{seed}.png", with_defect(texture(seed), 30, 30))
    code, output = run("evaluate", part, tmp_path / "data", "-o", tmp_path / "out")
    assert code == 0
    assert re.search(r"image AUROC\s+│\s+100\.00", output)
    assert json.loads((tmp_path / "out/metrics.json").read_text())["share of defects"] == 0.5
    assert "kind" in (tmp_path / "out/scores.csv").read_text(encoding="utf-8-sig").splitlines()[0]


def test_methods_are_listed() -> None:
    code, output = run("methods")
    assert code == 0
    assert "improved-patchcore" in output
    assert "Li et al. 2025" in output


def test_any_option_of_a_method_can_be_set(good_folder: Path, tmp_path: Path) -> None:
    from flawmap import Inspector

    changes = ["context.ratio=0.25", "reducer=PCA", "reducer.ratio=0.2", "image_score=Reweighted", "sigma=2"]
    settings = [word for change in changes for word in ("--set", change)]
    file = tmp_path / "p.flawmap"
    code, _ = run("fit", good_folder, "-o", file, "--method", "improved-patchcore", *SMALL, *settings)
    assert code == 0
    options = Inspector.load(file).method.options()
    assert options["context"]["ratio"] == 0.25
    assert options["reducer"]["kind"] == "PCA"
    assert options["reducer"]["ratio"] == 0.2
    assert options["image_score"]["kind"] == "Reweighted"
    assert options["sigma"] == 2


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--method", "patchwork"], "there is no method 'patchwork'"),
        (["--size", "big"], "'big' is neither a number of pixels nor HEIGHTxWIDTH"),
        (["--set", "colour=red"], "write NAME=VALUE with a name among"),
        (["--set", "coreset=much"], "expected float @ options.coreset"),
        (["--set", "context=Sideways"], "Sideways"),
        (["--coreset", "3"], "not a share"),
        (["--false-rejects", "2"], "not between 0 and 1"),
        (["--backbone", "resnet19"], "timm has no backbone 'resnet19'"),
    ],
)
def test_options_that_cannot_be(good_folder: Path, arguments: list[str], why: str) -> None:
    with pytest.raises(OptionError, match=why):
        run("fit", good_folder, *arguments)


def test_weights_that_are_not_there(good_folder: Path) -> None:
    with pytest.raises(WeightsUnavailable):
        run("fit", good_folder, "--weights", "nowhere.safetensors")


def test_a_folder_without_pictures(part: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no pictures in this folder"):
        run("inspect", part, tmp_path / "empty")


def test_an_error_is_one_line_and_exit_code_3(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    done = run_in_a_process("inspect", tmp_path / "no (such).flawmap", tmp_path)
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.startswith("flawmap:")
    assert "no (such).flawmap" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_word_reads_as_no_verdict() -> None:
    done = run_in_a_process("inspect", "--colour", "red")
    assert done.returncode == 3
    assert "No such option" in done.stderr


def test_results_that_cannot_be_written(part: Path, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file where the folder should be")
    done = run_in_a_process("inspect", part, pictures, "-o", tmp_path / "out")
    assert done.returncode == 3
    assert "could not be written" in done.stderr


def test_help_and_version_need_no_torch() -> None:
    script = """
        import sys
        sys.argv = ["flawmap", "--version"]
        from flawmap.cli import app
        try:
            app()
        except SystemExit:
            print("torch" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"flawmap {cli.flawmap.__version__}", "False"]
