"""Which preset a run's method has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flawmap.errors import OptionError
from flawmap.experiments.study import MethodSetup, StudyConfig
from flawmap.methods import make_method


@pytest.mark.parametrize(
    ("study", "setup", "expected"),
    [
        ({}, {"method": "glass"}, ("glass", "cpu")),
        ({"preset": "smoke"}, {"method": "glass"}, ("glass", "smoke")),
        ({"preset": "smoke"}, {"method": "glass", "preset": "paper"}, ("glass", "paper")),
        ({"preset": "smoke"}, {"method": "padim"}, ("padim", None)),
    ],
)
def test_a_setups_preset_goes_before_that_of_the_study(
    study: dict[str, Any], setup: dict[str, Any], expected: tuple[str, str | None]
) -> None:
    method = StudyConfig(Path("tiles"), **study).method(MethodSetup(**setup), seed=1)
    assert method.options() == make_method(*expected, seed=1).options()


def test_a_preset_that_no_method_has_is_refused() -> None:
    with pytest.raises(OptionError, match=r"no method has a preset 'huge'; use one of .*cpu, "):
        StudyConfig(Path("tiles"), preset="huge")
