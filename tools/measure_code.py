"""Measures a Python package: sizes, names, complexity, documentation, each beside its aim.

    python tools/measure_code.py [SRC ...] [--markdown] [--baseline REV] [--check]

SRC is the folder of a package, src/flawmap unless given; several give a column each. With
`--baseline` each is also measured as it was at a git revision. With `--check` the exit code is 1
where one of the packages, in its present state, misses an aim. Needs the standard library only.

What is counted:

- **module lines**: all lines of a file. The first median leaves out package files of one line
  and `__main__.py`; the second takes every file.
- **function body lines**: from the first statement after the docstring to the last, with the
  blank lines and comments between. Nested functions count, on their own and within the outer
  one; functions of a docstring alone do not.
- **function body tokens**: tokens of the `tokenize` module on those lines, but for comments,
  line ends, indentation and strings that stand as a statement (docstrings).
- **tokens per code line**: such tokens of all files by the lines that they stand on.
- **lines over 100 columns**: percentage of all lines, in characters.
- **public names**: functions, classes and assigned names at the top level of a module, without
  leading underscore; imported names are not defined there.
- **entries**: files and folders directly under the package, but py.typed and __pycache__.
- **layers**: of the import-linter contract over the whole package, in the nearest pyproject.toml.
- **fully typed**: percentage of functions with an annotation of each argument but self and cls,
  and of the result.
- **highest McCabe**: statements only, as ruff's C901. **Radon above 10**: functions whose
  complexity with boolean operators, conditional expressions, comprehensions and assertions
  exceeds 10, nested functions counted within the outer one too (radon itself leaves those out).
- **more than 7 parameters**: self, cls, *args and **kwargs are not counted. The aim is that only
  functions in cli/ have so many.
- **Args section**: percentage, of the public functions with arguments, whose docstring has
  "Args:". Public: neither it nor a class around it begins with an underscore, and it stands in no
  function.
- **docstring lines**: mean over public functions, methods and classes; blank lines count.
- **examples**: docstrings of functions and classes that hold a doctest; modules are not counted.
"""

from __future__ import annotations

import argparse
import io
import operator
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from code_metrics import Figures, measure

COMPARISONS = {
    "≤": operator.le,
    "<": operator.lt,
    "≥": operator.ge,
    "=": operator.eq,
}


class Aim(NamedTuple):
    """What a figure should be: a comparison of `COMPARISONS` and its limit."""

    comparison: str
    limit: float

    def is_met(self, value: float | None) -> bool:
        """Return whether a figure meets the aim; one that cannot be told does.

        Args:
            value: the figure, None where it cannot be told.
        """
        return value is None or COMPARISONS[self.comparison](value, self.limit)

    def __str__(self) -> str:
        return f"{self.comparison} {self.limit:g}"


class Row(NamedTuple):
    """A row of the table.

    Args:
        title: what is measured.
        figures: name and aim of each figure in the row, None for a figure without aim.
        digits: decimals shown.
        unit: shown after each figure.
    """

    title: str
    figures: dict[str, Aim | None]
    digits: int = 0
    unit: str = ""

    def show(self, figures: Figures) -> str:
        """Return the figures of the row as text.

        Args:
            figures: all figures of a package.
        """
        return " / ".join(self._show_one(figures[name]) for name in self.figures)

    def show_aims(self) -> str:
        """Return the aims of the row as text."""
        return " / ".join(str(aim) if aim else "–" for aim in self.figures.values())

    def is_missed(self, figures: Figures) -> bool:
        """Return whether a figure of the row misses its aim.

        Args:
            figures: all figures of a package.
        """
        return any(aim and not aim.is_met(figures[name]) for name, aim in self.figures.items())

    def _show_one(self, value: float | None) -> str:
        if value is None:
            return "–"
        # A median may end in .5, which Python would round to the even number.
        return f"{value + 1e-9:.{self.digits}f}{self.unit}"


ROWS = [
    Row(
        "module lines: median / of all files / max",
        {
            "module_lines_median": Aim("≤", 110),
            "module_lines_median_all": None,
            "module_lines_max": Aim("<", 300),
        },
    ),
    Row(
        "function body lines: median / p90 / max",
        {
            "body_lines_median": Aim("≤", 6),
            "body_lines_p90": Aim("≤", 15),
            "body_lines_max": Aim("≤", 40),
        },
    ),
    Row(
        "function body tokens: median / p90",
        {"body_tokens_median": Aim("≤", 40), "body_tokens_p90": Aim("≤", 140)},
    ),
    Row("tokens per code line", {"tokens_per_line": Aim("≤", 7.5)}, digits=1),
    Row("lines over 100 columns", {"long_lines": Aim("=", 0)}, digits=1, unit=" %"),
    Row(
        "public names / modules with more than 12",
        {"names": Aim("≤", 480), "crowded_modules": Aim("=", 0)},
    ),
    Row("entries under the package", {"entries": Aim("≤", 22)}),
    Row("import layers", {"layers": Aim("≤", 13)}),
    Row("fully typed functions", {"typed": Aim("=", 100)}, digits=1, unit=" %"),
    Row(
        "highest McCabe / radon above 10",
        {"mccabe_max": Aim("≤", 8), "radon_above": Aim("≤", 4)},
    ),
    Row(
        "more than 7 parameters / most / outside cli",
        {"wide_functions": None, "most_parameters": None, "wide_outside_cli": Aim("=", 0)},
    ),
    Row("Args section where there are arguments", {"args_sections": Aim("≥", 80)}, unit=" %"),
    Row("docstring lines per public item", {"docstring_lines": Aim("≥", 6)}, digits=1),
    Row("docstrings with an example", {"examples": Aim("≥", 60)}),
]


def measure_revision(source: Path, revision: str) -> Figures:
    """Return the figures of a package as it was at a git revision.

    Args:
        source: folder of the package, in a git repository.
        revision: any name that git knows a commit by.

    Raises:
        subprocess.CalledProcessError: git does not know the revision.
        FileNotFoundError: the folder held no Python file then.
    """
    root = Path(_run_git(source, "rev-parse", "--show-toplevel").decode().strip())
    archive = _run_git(root, "archive", revision)
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        return measure(Path(folder) / source.resolve().relative_to(root))


def make_table(columns: dict[str, Figures]) -> list[list[str]]:
    """Return the cells of the table, its head first; figures that miss their aim have a `!`.

    Args:
        columns: figures of each package, by the head of its column.
    """
    table = [["measure", *columns, "aim"]]
    for row in ROWS:
        cells = [row.show(figures) + " !" * row.is_missed(figures) for figures in columns.values()]
        table.append([row.title, *cells, row.show_aims()])
    return table


def as_text(table: list[list[str]]) -> str:
    """Return a table with its columns aligned.

    Args:
        table: cells by row, the head first.
    """
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
    return "\n".join(lines)


def as_markdown(table: list[list[str]]) -> str:
    """Return a table in Markdown.

    Args:
        table: cells by row, the head first.
    """
    lines = [f"| {' | '.join(row)} |" for row in table]
    lines.insert(1, "|---" * len(table[0]) + "|")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table and return the exit code.

    Args:
        arguments: of the command line; those of this process if None.
    """
    options = _parse_arguments(arguments)
    today = {str(source): measure(source) for source in options.sources}
    columns: dict[str, Figures] = {}
    for source in options.sources:
        columns[str(source)] = today[str(source)]
        if options.baseline:
            columns[f"{source} at {options.baseline}"] = measure_revision(source, options.baseline)
    table = make_table(columns)
    sys.stdout.write((as_markdown if options.markdown else as_text)(table) + "\n")
    missed = any(row.is_missed(figures) for row in ROWS for figures in today.values())
    return 1 if options.check and missed else 0


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", nargs="*", type=Path, metavar="SRC", help="package folders")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument("--baseline", metavar="REV", help="also measure this git revision")
    parser.add_argument("--check", action="store_true", help="exit code 1 where an aim is missed")
    options = parser.parse_args(arguments)
    options.sources = options.sources or [Path("src/flawmap")]
    return options


def _run_git(folder: Path, *arguments: str) -> bytes:
    done = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
