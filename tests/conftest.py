"""What all tests share: shapes checked at run time, a folder of small images."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
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


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """A folder without permissions beside an image; root becomes nobody meanwhile."""
    if sys.platform == "win32":
        pytest.skip("needs the permissions of Unix")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "root"
        (root / "cam2").mkdir(parents=True)
        (root / "own.png").touch()
        (root / "cam2" / "unseen.png").touch()
        for folder, mode in ((root.parent, 0o755), (root, 0o755), (root / "cam2", 0)):
            folder.chmod(mode)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65_534)  # nobody
        try:
            yield root / "cam2"
        finally:
            os.seteuid(user)
            (root / "cam2").chmod(0o755)
