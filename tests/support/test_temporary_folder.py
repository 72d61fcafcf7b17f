from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from flawmap.errors import WriteError
from flawmap.support import temporary_folder as module
from flawmap.support.temporary_folder import temporary_folder


class Usage(NamedTuple):
    free: int


def test_a_full_disk_for_temporary_files_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.mkdir()
    large.mkdir()
    free = {str(small): 100, str(large): 10_000}

    def usage(folder: Any) -> Usage:
        return Usage(free[folder])

    monkeypatch.setattr(tempfile, "tempdir", str(small))
    monkeypatch.setattr(module, "_OTHER_FOLDERS", ("/no/such/folder", str(large)))
    monkeypatch.setattr(shutil, "disk_usage", usage)
    free["/no/such/folder"] = 10_000
    with temporary_folder(1000) as folder:
        assert folder.parent == large
    assert list(large.iterdir()) == []
    with (
        pytest.raises(WriteError, match=r"1\.0 MB has no room .*small has 0\.0 MB.* set TMPDIR"),
        temporary_folder(1_000_000),
    ):
        pass
