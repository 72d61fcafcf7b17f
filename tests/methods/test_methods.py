"""The registry of methods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flawmap import Inspector
from flawmap.errors import OptionError
from flawmap.methods import METHODS, MethodEntry, get_preset, make_method, register
from flawmap.methods.padim import PaDiM
from flawmap.methods.patchcore import PatchCore
from flawmap.methods.preset import Preset
from flawmap.support.options import with_option
from helpers import TINY, texture

GOOD = [texture(seed) for seed in range(6)]


class OwnPatchCore(PatchCore):
    """PatchCore under another name."""


def test_every_factory_makes_a_method_with_its_class() -> None:
    for entry in METHODS.values():
        assert type(entry.factory()) is METHODS.class_of(entry)


def test_a_method_is_saved_by_the_name_of_its_class() -> None:
    assert METHODS.name_of(PaDiM) == ("padim", "")
    assert METHODS.name_of(type(make_method("improved-patchcore"))) == ("patchcore", "")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"name": "patchwork"}, "there is no method 'patchwork'; there are patchcore, flawmap, "),
        ({"name": "padim", "coreset": 0.1}, "padim has no option coreset; it has backbone, "),
        ({"name": "glass", "preset": "huge"}, "glass has no preset 'huge'; it has cpu, paper"),
        ({"name": "padim", "preset": "cpu"}, "padim has no preset 'cpu', nor any other; "),
    ],
)
def test_what_there_is_not_is_named(options: dict[str, Any], why: str) -> None:
    with pytest.raises(OptionError, match=why):
        make_method(**options)


@pytest.mark.parametrize("value", [int, 3, "padim", make_method("padim")])
def test_what_is_no_method_is_refused(value: object) -> None:
    with pytest.raises(OptionError, match="is neither a MethodEntry nor a class with the base"):
        METHODS.register("own", value)


def test_the_default_preset_applies_where_none_is_asked_for() -> None:
    presets = {
        "fine": Preset("a full bank", (64, 96), {"coreset": 1.0, "sigma": 2.0}),
        "coarse": Preset("a small bank", options={"coreset": 0.001}),
    }
    register("two-presets", MethodEntry(PatchCore, presets=presets, default_preset="fine"))
    assert make_method("two-presets").options() == PatchCore(coreset=1.0, sigma=2.0).options()
    assert (
        make_method("two-presets", sigma=3.0).options()
        == PatchCore(coreset=1.0, sigma=3.0).options()
    )
    assert make_method("two-presets", "coarse").options() == PatchCore(coreset=0.001).options()
    assert get_preset("two-presets") is presets["fine"]
    assert get_preset("patchcore") == Preset("the method's own defaults")
    inspectors = Inspector("two-presets"), Inspector("two-presets", preset="coarse")
    sizes = [(each.preprocessing.height, each.preprocessing.width) for each in inspectors]
    assert sizes == [(64, 96), (224, 224)]
    assert Inspector("two-presets", size=32).preprocessing.height == 32


def test_a_default_preset_that_is_not_there_is_refused() -> None:
    with pytest.raises(OptionError, match="default preset 'huge' is not among the presets cpu, "):
        MethodEntry(PatchCore, presets=METHODS["glass"].presets, default_preset="huge")


@pytest.mark.parametrize("settings", [{"preset": "paper"}, {"coreset": 0.1}])
def test_settings_beside_a_method_that_is_made_are_refused(settings: dict[str, Any]) -> None:
    why = f"{next(iter(settings))}.* beside a method that is made already; give them to PatchCore"
    with pytest.raises(OptionError, match=why):
        Inspector(PatchCore(), **settings)


def test_a_registered_method_is_made_saved_and_loaded(tmp_path: Path) -> None:
    inspector = Inspector(OwnPatchCore(**TINY), size=64).fit(GOOD)
    inspector.save(tmp_path / "unregistered.flawmap")
    with pytest.raises(OptionError, match=f"'OwnPatchCore' comes from module {__name__}"):
        Inspector.load(tmp_path / "unregistered.flawmap")
    register("own-patchcore", MethodEntry(OwnPatchCore, "ours", learned="as PatchCore"))
    Inspector("own-patchcore", size=64, **TINY).fit(GOOD).save(tmp_path / "own.flawmap")
    loaded = Inspector.load(tmp_path / "own.flawmap")
    assert type(loaded.method) is OwnPatchCore
    assert loaded.inspect(GOOD[0]).score == inspector.inspect(GOOD[0]).score


def test_a_class_stands_for_an_entry() -> None:
    register("own-class", OwnPatchCore)
    assert METHODS["own-class"].learned == "PatchCore under another name."


@pytest.mark.parametrize("name", ["patchcore", "padim", "spade", "glass", "ddad"])
def test_a_negative_sigma_is_refused(name: str) -> None:
    with pytest.raises(OptionError, match=r"sigma=-1.0; use 0 or more"):
        with_option(make_method(name), "sigma=-1")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (["layers=[]"], r"layers=\[\]; name one or more"),
        (["layers=[-1, 2]"], r"layers=\[-1, 2\]; name one or more, each 0 or more"),
        (["seed=-1"], "seed=-1; use 0 or more"),
        (["context=PooledNeighbourhood", "context.length=0"], "length=0; use 1 or more"),
        (["reducer.dim=0"], "dim=0; use 1 or more"),
        (["reducer.eps=1"], "eps=1.0; use more than 0, less than 1"),
        (["reducer=GaussianRandomProjection", "reducer.dim=0"], "dim=0; use 1 or more"),
        (["reducer=GaussianRandomProjection", "reducer.ratio=2"], "ratio=2.0; use 0 to 1"),
        (["reducer=UniformRandomProjection", "reducer.dim=-1"], "dim=-1; use 1 or more"),
        (["reducer=PCA", "reducer.ratio=-1"], "ratio=-1.0; use 0 to 1"),
        (["reducer=PCA", "reducer.rows=0"], "rows=0; use 1 or more"),
        (["image_score=Reweighted", "image_score.neighbours=0"], "neighbours=0; use 1 or more"),
    ],
)
def test_an_option_out_of_its_range_is_refused_before_anything_is_fitted(
    changes: list[str], why: str
) -> None:
    method = make_method("patchcore")
    for change in changes[:-1]:
        method = with_option(method, change)
    with pytest.raises(OptionError, match=why):
        with_option(method, changes[-1])
