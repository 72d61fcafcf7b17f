"""What all tests share: shapes checked at run time, a folder of small images."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

settings.register_profile("patient", deadline=None)  # a busy machine is no failure
settings.load_profile("patient")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the command line does, before torch is loaded
install_import_hook("flawmap", "helpers.check_types")

from helpers import save, texture


@pytest.fixture
def good_folder(tmp_path: Path) -> Path:
    """A folder of twelve good images."""
    for seed in range(12):
        save(tmp_path / "good" / f"{seed:02}.png", texture(seed))
    return tmp_path / "good"
