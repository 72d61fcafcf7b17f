from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import lowest_versions
from lowest_versions import lowest, requirements

PROJECT: dict[str, Any] = {
    "name": "part",
    "dependencies": ["Jinja2>=3.1,<4", "gone>=1; python_version < '3'"],
    "optional-dependencies": {"a": ["x>=2"], "b": ["part[a]", "y==3"], "c": ["z>=4"]},
}


def test_extras_bring_those_that_they_name() -> None:
    found = [str(requirement) for requirement in requirements(PROJECT, ["b"])]
    assert found == ["Jinja2<4,>=3.1", "y==3", "x>=2"]


def test_a_dependency_without_a_lowest_version_is_an_error() -> None:
    assert lowest(Requirement("Jinja2>=3.1,<4")) == "jinja2==3.1"
    with pytest.raises(ValueError, match="no lowest version"):
        lowest(Requirement("jinja2<4"))


def test_the_pins_lie_in_the_ranges() -> None:
    pins = {}
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines():
        name, _, version = line.partition("==")
        pins[canonicalize_name(name)] = version
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for requirement in requirements(project, ["dev"]):
        pinned = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pinned), requirement


def test_every_dependency_has_a_lowest_version(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["dev", "--pinned", str(ROOT / "constraints.txt")]
    assert lowest_versions.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    pinned = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    torch = [line for line in lines if line.startswith("torch")]
    assert len(torch) == 2
    assert set(torch) <= set(pinned)
    assert len(lines) > 30
