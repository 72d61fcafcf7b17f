from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from flawmap import Inspector, load
from flawmap.errors import OptionError
from helpers import run


@pytest.fixture
def mine(part: Path, tmp_path: Path) -> Path:
    (tmp_path / "mine.flawmap").write_bytes(part.read_bytes())
    return tmp_path / "mine.flawmap"


def test_the_threshold_moves_without_fitting_again(mine: Path) -> None:
    before = Inspector.load(mine)
    code, output = run("threshold", mine, "--false-rejects", "0.2")
    assert code == 0
    after = Inspector.load(mine)
    assert f"{after.calibration.threshold:.4f}" in output
    assert after.calibration.threshold < before.calibration.threshold
    assert after.calibration.expected_false_rejects == 4 / 21
    assert after.budget.false_rejects == 0.2
    run("threshold", mine, "--false-rejects", "0.3", "--confidence", "0.9")
    assert Inspector.load(mine).budget.confidence == 0.9


def test_a_new_threshold_changes_the_models_hash_and_not_the_scorers(mine: Path) -> None:
    before = load(mine)
    run("threshold", mine, "--false-rejects", "0.2")
    after = load(mine)
    assert after.model_sha256 != before.model_sha256
    assert after.scorer_sha256 == before.scorer_sha256


def test_the_table_shows_what_each_budget_promises_and_changes_nothing(mine: Path) -> None:
    before = mine.read_bytes()
    code, output = run("threshold", mine)
    assert code == 0
    assert "10.00%" in output
    assert "979 more" in output  # of the 999 that one in a thousand takes
    assert mine.read_bytes() == before


def test_the_budget_that_is_set_is_marked(mine: Path) -> None:
    run("threshold", mine, "--false-rejects", "0.03", "--confidence", "0.9")
    _, output = run("threshold", mine)
    (marked,) = [line for line in output.splitlines() if "→" in line]
    assert "3.00%, 90%" in marked


@pytest.mark.parametrize("budget", ["0", "2", "-1"])
def test_budgets_that_cannot_be(mine: Path, budget: str) -> None:
    with pytest.raises(OptionError, match="not between 0 and 1"):
        run("threshold", mine, "--false-rejects", budget)


def test_a_confidence_needs_a_budget(mine: Path) -> None:
    with pytest.raises(OptionError, match="--false-rejects"):
        run("threshold", mine, "--confidence", "0.95")


def test_it_needs_no_torch(mine: Path) -> None:
    script = """
        import sys
        sys.argv = ["flawmap", "threshold", sys.argv[1], "--false-rejects", "0.1"]
        from flawmap.cli import app
        try:
            app()
        except SystemExit:
            print("torch" in sys.modules)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(mine)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.endswith(
        "False\n"
    )
