from __future__ import annotations

import stat
from pathlib import Path

import pytest

from flawmap.errors import WriteError
from flawmap.support.atomic import atomic_folder, atomic_write


def test_writes_and_makes_the_folder(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "deep" / "file") as stream:
        stream.write(b"new")
    assert (tmp_path / "deep" / "file").read_bytes() == b"new"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["file"]


def test_an_interruption_leaves_the_old_content_and_no_litter(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"old")

    def write_half() -> None:
        with atomic_write(file) as stream:
            stream.write(b"half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_the_file_is_as_open_as_any_other(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "aside") as stream:
        stream.write(b"")
    (tmp_path / "plain").touch()
    assert stat.S_IMODE((tmp_path / "aside").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_a_folder_appears_when_it_is_full(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "deep" / "folder") as aside:
        (aside / "file").write_bytes(b"new")
        assert not (tmp_path / "deep" / "folder").exists()
    assert (tmp_path / "deep" / "folder" / "file").read_bytes() == b"new"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["folder"]
    (tmp_path / "plain").mkdir()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "deep" / "folder", tmp_path / "plain")}
    assert len(modes) == 1


def test_a_folder_with_something_in_it_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").touch()

    def write() -> None:
        with atomic_folder(tmp_path / "folder") as aside:
            (aside / "file").touch()

    with pytest.raises(WriteError, match="folder: could not be written"):
        write()
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "mine"]
