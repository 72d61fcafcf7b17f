from __future__ import annotations

from pathlib import Path

import pytest

from filled_record import FilledRecord, fill


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> FilledRecord:
    return fill(tmp_path_factory.mktemp("record") / "data")


@pytest.fixture
def record(original: FilledRecord, tmp_path: Path) -> FilledRecord:
    """A record with one of everything, of which a test may do what it likes."""
    return original.copy(tmp_path / "data")
