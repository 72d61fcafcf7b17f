"""Prints the lowest version of each dependency that pyproject.toml allows, as pip constraints.

    python tools/lowest_versions.py [--pinned FILE] [EXTRA ...] > lowest.txt
    pip install --constraint lowest.txt --editable ".[EXTRA,...]"

Each line is `name==version`, the version being that of `>=` in pyproject.toml; a dependency without
one is an error. `--pinned` takes torch and torchvision from a file of constraints instead, since
a machine may hold only one build of them. The extras of the extras named are followed.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
_PINNED = ("torch", "torchvision")


def requirements(project: dict[str, Any], extras: Iterable[str]) -> Iterator[Requirement]:
    """The dependencies of a project with some of its extras, as far as this machine needs them.

    Args:
        project: the table `project` of a pyproject.toml.
        extras: their names; an extra that names others of the project brings theirs.
    """
    optional: dict[str, list[str]] = project.get("optional-dependencies", {})
    pending: list[str] = [*project["dependencies"]]
    pending += [line for extra in extras for line in optional[extra]]
    for line in pending:
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate():
            continue
        if requirement.name == project["name"]:
            pending += [line for extra in sorted(requirement.extras) for line in optional[extra]]
        else:
            yield requirement


def lowest(requirement: Requirement) -> str:
    """The constraint that fixes a dependency to its lowest version.

    Args:
        requirement: with a version by `>=` or `==`.

    Raises:
        ValueError: it has neither, so it has no lowest version.

    Example:
        >>> lowest(Requirement("numpy>=2.0,<3"))
        'numpy==2.0'
    """
    for specifier in requirement.specifier:
        if specifier.operator in (">=", "=="):
            return f"{canonicalize_name(requirement.name)}=={specifier.version}"
    raise ValueError(f"{requirement}: no lowest version; write >=")


def pinned(constraints: str) -> dict[str, str]:
    """The lines of torch and torchvision in a file of constraints, by name.

    Args:
        constraints: the file's text.
    """
    lines = [line for line in constraints.splitlines() if "==" in line]
    found = {line.partition("==")[0].strip(): line.strip() for line in lines}
    return {name: found[name] for name in _PINNED}


def main(arguments: list[str]) -> int:
    """Print the constraints.

    Args:
        arguments: of the command line.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("extras", nargs="*", metavar="EXTRA")
    parser.add_argument("--pinned", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    project = tomllib.loads(_PYPROJECT.read_text("utf-8"))["project"]
    lines = {
        str(canonicalize_name(requirement.name)): lowest(requirement)
        for requirement in requirements(project, options.extras)
    }
    if options.pinned:
        lines |= pinned(options.pinned.read_text("utf-8"))
    print(*sorted(lines.values()), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
