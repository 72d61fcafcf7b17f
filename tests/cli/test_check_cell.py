from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from flawmap.errors import OptionError
from helpers import run, run_in_a_process


def test_it_prints_the_defect_prevalence_that_a_pair_needs() -> None:
    code, output = run("check-cell", "70.18", "89.35")
    assert code == 0
    assert "1.2507 or more" in output
    assert "1.2507 – 4.1948" in output
    assert "55.57 – 80.75" in output
    assert "Impossible" not in output


def test_where_there_is_no_bound_any_prevalence_will_do() -> None:
    code, output = run("check-cell", "99.75", "95.85")
    assert code == 0
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in output.splitlines()
        if "│" in line
    ]
    assert rows[0] == ["any", "any", "any"]
    assert rows[1] == ["the best for F1", "0.7390 or less", "42.50 or less"]
    assert rows[2][0] == "Youden's"


def test_a_pair_that_no_test_set_gives() -> None:
    code, output = run("check-cell", "99", "100")
    assert code == 1
    assert "no fraction of defects fits both metrics, whatever the threshold" in output


def test_a_given_test_set_is_checked() -> None:
    assert run("check-cell", "70.18", "89.35", "--positives", "126", "--negatives", "100")[0] == 0
    code, output = run("check-cell", "70.18", "89.35", "--positives", "125", "--negatives", "100")
    assert code == 1
    assert "no test set of 125 defective and 100 good fits both metrics" in output


def test_the_exit_code_is_about_the_threshold_that_was_named() -> None:
    command = ("check-cell", "99.75", "95.85", "--positives", "300", "--negatives", "92")
    code, output = run(*command)
    assert code == 0
    assert output.count("impossible") == 2
    code, output = run(*command, "--threshold", "f1-max")
    assert code == 1
    assert "where the threshold is the best for F1" in output
    assert run(*command[:-3], "60", *command[-2:], "--threshold", "youden")[0] == 0


def test_figures_may_be_exact_or_coarser() -> None:
    assert "1.2509 or more" in run("check-cell", "70.18", "89.35", "--auroc-rounding", "0")[1]
    assert "1.2500 or more" in run("check-cell", "70.18", "89.35", "--f1-rounding", "0.005")[1]


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (("170", "20"), "AUROC is 170; give percent"),
        (("99", "100.1"), "F1 is 100.1; give percent"),
        (("nan", "90"), "AUROC is nan"),
        (("0.9931", "0.9882"), "give percent, 99.31 98.82"),
        (("99", "98", "--positives", "3"), "--positives and --negatives"),
    ],
)
def test_what_cannot_be_checked(pair: tuple[str, ...], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        run("check-cell", *pair)


def test_bad_figures_read_as_no_verdict() -> None:
    done = run_in_a_process("check-cell", "170", "20")
    assert done.returncode == 3
    assert done.stderr.startswith("flawmap: AUROC is 170")


def test_it_needs_no_torch() -> None:
    script = """
        import sys
        sys.argv = ["flawmap", "check-cell", "99", "98"]
        from flawmap.cli import app
        try:
            app()
        except SystemExit:
            print("torch" in sys.modules)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("False\n")
