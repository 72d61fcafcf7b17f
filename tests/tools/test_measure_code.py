"""Small made-up packages with known figures."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import measure_code
from code_complexity import mccabe, radon
from code_metrics import measure, percentile

SHAPES = '''\
"""Shapes."""

from math import pi

SIDES, _HIDDEN = 4, 0
Number: type = float


class Circle:
    """A circle.

    Args:
        radius: not negative.
    """

    def __init__(self, radius: float) -> None:
        self.radius = radius

    def area(self) -> float:
        """Return the area.

        >>> Circle(0).area()
        0.0
        """
        # A comment is a line of the body, but no token.
        return pi * self.radius**2

    def _scale(self, factor):
        self.radius *= factor


def outer(first: int, *others: int) -> int:
    """Return the sum.

    Args:
        first: any number.
        others: more of them.
    """

    def inner(value: int) -> int:
        return value

    return inner(first) + sum(others)


def undocumented(value: int) -> int:
    return value
'''

BRANCHES = """\
def decide(a, b):
    assert a
    if a and b:
        return [x for x in a if x]
    elif a:
        return 1 if b else 2
    for x in b:
        break
    else:
        pass
    try:
        pass
    except ValueError:
        pass
    match a:
        case 1:
            pass
        case _:
            pass
    def inner():
        while True:
            pass
"""

PYPROJECT = """\
[[tool.importlinter.contracts]]
type = "layers"
containers = ["shapes"]
layers = ["cli", "shape | circle"]
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    write(tmp_path / "pyproject.toml", PYPROJECT)
    write(tmp_path / "shapes/__init__.py", '"""Shapes."""\n')
    write(tmp_path / "shapes/shape.py", SHAPES)
    write(tmp_path / "shapes/py.typed", "")
    return tmp_path / "shapes"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True)


def function_of(text: str) -> ast.FunctionDef:
    function = ast.parse(text).body[0]
    assert isinstance(function, ast.FunctionDef)
    return function


def test_modules(package: Path) -> None:
    figures = measure(package)
    lines = len(SHAPES.splitlines())
    assert figures["module_lines_median"] == lines
    assert figures["module_lines_median_all"] == (lines + 1) / 2
    assert figures["module_lines_max"] == lines
    assert figures["entries"] == 2
    assert figures["layers"] == 2


def test_bodies(package: Path) -> None:
    figures = measure(package)
    # Lines: __init__ 1, area 2, _scale 1, outer 4, inner 1, undocumented 1.
    assert figures["body_lines_median"] == 1
    assert figures["body_lines_max"] == 4
    # Tokens: 5, 8, 5, 22, 2, 2.
    assert figures["body_tokens_median"] == 5
    assert figures["body_tokens_p90"] == 22


def test_names_leave_out_private_and_imported_ones(package: Path) -> None:
    assert measure(package)["names"] == 5
    write(package / "many.py", "\n".join(f"name_{number} = {number}" for number in range(13)))
    figures = measure(package)
    assert figures["names"] == 18
    assert figures["crowded_modules"] == 1


def test_functions(package: Path) -> None:
    figures = measure(package)
    assert figures["typed"] == pytest.approx(100 * 5 / 6)
    assert figures["args_sections"] == 50
    # Circle 4, area 4, outer 5, undocumented 0 lines.
    assert figures["docstring_lines"] == 13 / 4
    assert figures["examples"] == 1


def test_text(tmp_path: Path) -> None:
    write(tmp_path / "one.py", f'"""Docstring."""\n\nx = 1\ny = "{"a" * 97}"\nz = (\n    2)\n')
    figures = measure(tmp_path)
    assert figures["tokens_per_line"] == (3 + 3 + 5) / 4
    assert figures["long_lines"] == pytest.approx(100 / 6)


def test_parameters_in_commands_are_counted_separately(tmp_path: Path) -> None:
    eight = "a, b, c, d, e, f, g, h"
    write(tmp_path / "cli/fit.py", f"def fit({eight}, i): ...\n")
    write(tmp_path / "other.py", f"class C:\n    def f(self, {eight[:-3]}): ...\n")
    write(tmp_path / "wide.py", f"def wide({eight}, *args, **options): ...\n")
    figures = measure(tmp_path)
    assert figures["wide_functions"] == 2
    assert figures["wide_outside_cli"] == 1
    assert figures["most_parameters"] == 9


def test_complexity() -> None:
    decide = function_of(BRANCHES)
    # if, elif, for, except, one case, inner, while.
    assert mccabe(decide) == 1 + 7
    # Without inner; with assert, and, comprehension and its if, conditional, else of the loop.
    assert radon(decide) == 1 + 6 + 6


def test_percentile() -> None:
    assert percentile(range(10), 0.9) == 9
    assert percentile(range(11), 0.5) == 5
    assert percentile([3], 0.9) == 3


def test_no_python_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no Python files"):
        measure(tmp_path)


def test_baseline_stands_beside_today(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    git(package.parent, "init", "--quiet")
    git(package.parent, "add", ".")
    git(package.parent, "commit", "--quiet", "--message", "Begin")
    write(package / "more.py", "NAME = 1\n")
    assert measure_code.main([str(package), "--baseline", "HEAD", "--markdown"]) == 0
    shown = capsys.readouterr().out
    assert "| public names / modules with more than 12 | 6 / 0 | 5 / 0 | ≤ 480 / = 0 |" in shown


def test_check_fails_where_an_aim_is_missed(package: Path) -> None:
    assert measure_code.main([str(package)]) == 0
    assert measure_code.main([str(package), "--check"]) == 1


def test_aims() -> None:
    assert measure_code.Aim("<", 300).is_met(299)
    assert not measure_code.Aim("<", 300).is_met(300)
    assert measure_code.Aim("≤", 4).is_met(None)
