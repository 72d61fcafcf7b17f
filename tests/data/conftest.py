"""A folder that this process may not read."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_NOBODY = 65_534


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
            os.seteuid(_NOBODY)
        try:
            yield root / "cam2"
        finally:
            os.seteuid(user)
            (root / "cam2").chmod(0o755)
