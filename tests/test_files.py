from __future__ import annotations

import stat
from pathlib import Path

import pytest

from flawmap.files import write_aside


def test_writes_and_makes_the_folder(tmp_path: Path) -> None:
    with write_aside(tmp_path / "deep" / "file") as stream:
        stream.write(b"new")
    assert (tmp_path / "deep" / "file").read_bytes() == b"new"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["file"]


def test_an_interruption_leaves_the_old_content_and_no_litter(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"old")

    def write_half() -> None:
        with write_aside(file) as stream:
            stream.write(b"half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_the_file_is_as_open_as_any_other(tmp_path: Path) -> None:
    with write_aside(tmp_path / "aside") as stream:
        stream.write(b"")
    (tmp_path / "plain").touch()
    assert stat.S_IMODE((tmp_path / "aside").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)
