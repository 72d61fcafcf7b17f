from __future__ import annotations

import errno
import io
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flawmap.errors import WriteError
from flawmap.support.atomic import atomic_folder, atomic_write, open_lines


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
    assert stat.S_IMODE((tmp_path / "aside").stat().st_mode) == stat.S_IMODE(
        (tmp_path / "plain").stat().st_mode
    )


def test_a_folder_appears_when_it_is_full(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "deep" / "folder") as aside:
        (aside / "file").write_bytes(b"new")
        assert not (tmp_path / "deep" / "folder").exists()
    assert (tmp_path / "deep" / "folder" / "file").read_bytes() == b"new"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["folder"]
    (tmp_path / "plain").mkdir()
    modes = {
        stat.S_IMODE(path.stat().st_mode)
        for path in (tmp_path / "deep" / "folder", tmp_path / "plain")
    }
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


def record_syncs(
    monkeypatch: pytest.MonkeyPatch, look: Callable[[], object]
) -> list[tuple[bool, object]]:
    """Record each fsync: of a folder or not, and what `look` sees at that time."""
    synced: list[tuple[bool, object]] = []
    fsync = os.fsync

    def record(handle: int) -> None:
        synced.append((stat.S_ISDIR(os.fstat(handle).st_mode), look()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", record)
    return synced


@pytest.mark.skipif(os.name == "nt", reason="Windows opens no folder")
def test_content_is_on_the_disk_before_the_rename_and_the_name_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = record_syncs(monkeypatch, (tmp_path / "file").exists)
    with atomic_write(tmp_path / "file") as stream:
        stream.write(b"new")
    assert synced == [(False, False), (True, True)]


@pytest.mark.skipif(os.name == "nt", reason="Windows opens no folder")
def test_the_name_of_a_folder_is_on_the_disk_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = record_syncs(monkeypatch, (tmp_path / "folder").exists)
    with atomic_folder(tmp_path / "folder") as aside:
        (aside / "file").touch()
    assert synced == [(True, True)]


@pytest.mark.parametrize(("code", "fails"), [(errno.EINVAL, False), (errno.EIO, True)])
@pytest.mark.skipif(os.name == "nt", reason="Windows opens no folder")
def test_a_file_system_that_cannot_sync_a_folder_is_no_failure(
    code: int, fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(code, os.strerror(code))

    def write() -> None:
        with atomic_write(tmp_path / "file") as stream:
            stream.write(b"new")

    monkeypatch.setattr(os, "fsync", fsync)
    if fails:
        with pytest.raises(WriteError, match="Input/output"):
            write()
    else:
        write()
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_full_disk_leaves_complete_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "lines"

    class FullDisk(io.FileIO):
        """Takes five bytes, then has no space left."""

        room = 5

        def write(self, data: bytes) -> int:  # type: ignore[override]
            if not self.room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written = super().write(data[: self.room])
            self.room -= written
            return written

    def write() -> None:
        with open_lines(file) as append:
            append(b"one\n")
            append(b"two\n")

    monkeypatch.setattr("flawmap.support.atomic.FileIO", FullDisk)
    with pytest.raises(WriteError, match="No space left on device"):
        write()
    monkeypatch.undo()
    assert file.read_bytes() == b"one\n"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(WriteError, match="could not be written"),
        open_lines(tmp_path / "file" / "table"),
    ):
        pass


def test_an_error_of_the_block_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    def write_and_print() -> None:
        with open_lines(tmp_path / "rows") as append:
            append(b"1\n")
            raise OSError(errno.ENOSPC, "the screen is full")

    with pytest.raises(OSError, match="the screen is full") as caught:
        write_and_print()
    assert not isinstance(caught.value, WriteError)
    assert (tmp_path / "rows").read_bytes() == b"1\n"


def test_lines_of_two_writers_do_not_mix(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    with open_lines(file, b"header\n") as first:
        first(b"first 1\n")
        with open_lines(file, b"header\n") as second:
            first(b"first 2\n")
            second(b"second 1\n")
        assert file.read_bytes() == b"header\nsecond 1\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows renames no open file")
def test_a_name_that_another_writer_takes_at_once_stays_its(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "lines"
    replace = Path.replace

    def replace_twice(path: Path, target: Path) -> Path:
        done = replace(path, target)
        target.unlink()
        target.write_bytes(b"of another\n")
        return done

    monkeypatch.setattr(Path, "replace", replace_twice)
    with open_lines(file, b"header\n") as append:
        append(b"mine\n")
    assert file.read_bytes() == b"of another\n"
