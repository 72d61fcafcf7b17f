from __future__ import annotations

import pytest

from flawmap.cli.console import out
from flawmap.errors import OptionError
from flawmap.methods import METHODS
from helpers import run


@pytest.mark.parametrize("columns", [80, 120])
def test_methods_are_listed(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(out, "width", columns)
    code, output = run("methods")
    assert code == 0
    assert output.split()[:4] == ["method", "learned", "size", "exportable"]
    for name, entry in METHODS.items():
        assert name in output
        assert entry.citation in output
        assert entry.storage in output
    for preset in METHODS["glass"].presets:
        assert preset in output
    assert max(map(len, output.splitlines()[:-1])) <= columns


def rows(output: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split()[1:] for line in output.splitlines() if line.strip()}


def test_the_options_of_a_method_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(out, "width", 120)
    code, output = run("methods", "improved-patchcore")
    assert code == 0
    listed = rows(output)
    assert listed["coreset"] == ["float", "0.01", "p"]
    assert listed["reducer_scope"] == ["coreset", "|", "bank", "bank", "coreset"]
    assert listed["layers"] == ["list", "of", "int", "[2,", "3]"]
    assert listed["reducer.ratio"] == ["float", "0.1", "r"]
    assert listed["PooledNeighbourhood"] == ["count_padding=true,", "length=1024"]
    assert listed["Reweighted"] == ["neighbours=9"]
    assert "Li et al. 2025" in output


def test_no_name_is_cut_at_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(out, "width", 80)
    for name in METHODS:
        code, output = run("methods", name)
        assert code == 0
        assert "…" not in output


def test_a_preset_shows_its_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(out, "width", 120)
    code, output = run("methods", "ddad", "--preset", "smoke")
    assert code == 0
    smoke = METHODS["ddad"].presets["smoke"].options
    assert rows(output)["epochs"] == ["int", str(smoke["epochs"]), "40"]
    listed = [line.split()[1:3] for line in output.splitlines() if line.startswith("  ddad")]
    assert [preset for preset, _ in listed] == ["cpu", "paper", "smoke"]
    assert [preset for preset, mark in listed if mark == "(default)"] == ["cpu"]


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(
        OptionError, match="there is no method 'patchwork'; there are patchcore, flawmap, "
    ):
        run("methods", "patchwork")
    with pytest.raises(OptionError, match="glass has no preset 'huge'; it has cpu, paper, smoke"):
        run("methods", "glass", "--preset", "huge")


def test_a_preset_needs_a_method() -> None:
    with pytest.raises(OptionError, match="--preset cpu of which method"):
        run("methods", "--preset", "cpu")
