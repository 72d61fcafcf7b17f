from __future__ import annotations

import subprocess
import sys

import pytest

import flawmap
from helpers import needs_fit


def test_every_public_name_is_there() -> None:
    assert len(flawmap.__all__) <= 20
    assert sorted(flawmap.__all__) == dir(flawmap)
    assert all(getattr(flawmap, name).__doc__ for name in flawmap.__all__ if name != "METHODS")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Inspektor'"):
        _ = flawmap.Inspektor


def loaded_after(statement: str) -> set[str]:
    """Which heavy modules a fresh process has loaded after a statement."""
    heavy = {"torch", "timm", "cv2", "openvino", "numpy"}
    script = f"import sys; {statement}; print(*sys.modules)"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return heavy & set(done.stdout.split())


def test_public_names_are_loaded_on_first_use() -> None:
    assert loaded_after("import flawmap") == set()
    assert "numpy" in loaded_after("from flawmap import Budget")
    needs_no_torch = "Runtime, Verdict, Region, Inspection, Budget, Calibration, FineTuneConfig"
    assert not {"torch", "timm"} & loaded_after(
        f"from flawmap import {needs_no_torch}, evaluate, load"
    )


@needs_fit
def test_what_fits_is_loaded_with_torch() -> None:
    assert "torch" in loaded_after("from flawmap import Inspector")
