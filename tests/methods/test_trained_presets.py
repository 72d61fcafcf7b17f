from __future__ import annotations

import pytest

from flawmap.methods import METHODS, make_method

TRAINED = ["crad", "ddad", "glass", "vqflow"]


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("preset", ["cpu", "paper", "smoke"])
def test_every_preset_makes_its_method_and_keeps_its_own_options(name: str, preset: str) -> None:
    expected = METHODS[name].presets[preset].options
    options = make_method(name, preset).options()
    assert {key: options[key] for key in expected} == {
        key: list(value) if isinstance(value, tuple) else value for key, value in expected.items()
    }


@pytest.mark.parametrize("name", TRAINED)
def test_cpu_applies_unless_told_otherwise(name: str) -> None:
    assert make_method(name).options() == make_method(name, "cpu").options()


@pytest.mark.parametrize("name", TRAINED)
def test_smoke_is_the_shortest(name: str) -> None:
    epochs = {preset: make_method(name, preset).options()["epochs"] for preset in ("cpu", "smoke")}
    assert epochs["smoke"] == 2 < epochs["cpu"]
