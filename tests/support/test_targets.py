from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flawmap.errors import WriteError
from flawmap.support.atomic import atomic_write
from flawmap.support.targets import check_file_target, check_folder_target

unix_only = pytest.mark.skipif(sys.platform == "win32", reason="needs links, modes or mounts")


def write(file: Path, content: bytes = b"new") -> None:
    with atomic_write(file) as stream:
        stream.write(content)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 40 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if done.returncode:
        pytest.skip("only root may mount a disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_place_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    check_file_target(tmp_path / "new" / "file")
    check_folder_target(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_place_of_a_file_and_a_file_in_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match="it is a folder"):
        check_file_target(tmp_path / "folder")
    with pytest.raises(WriteError, match="file: could not be written"):
        check_folder_target(tmp_path / "file")
    with pytest.raises(WriteError, match="below: could not be written"):
        check_file_target(tmp_path / "file" / "below")


def test_a_protected_file_is_not_replaced_even_by_root(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"old")
    file.chmod(0o444)
    for attempt in (write, check_file_target):
        with pytest.raises(WriteError, match=r"protected from writing.* chmod"):
            attempt(file)
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@unix_only
def test_a_link_stays_and_a_mode_too(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    file = tmp_path / "far" / "file"
    file.write_bytes(b"old")
    file.chmod(0o640)
    (tmp_path / "link").symlink_to("far/file")
    check_file_target(tmp_path / "link")
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert file.read_bytes() == b"new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    (tmp_path / "to nothing").symlink_to("far/new")
    write(tmp_path / "to nothing")
    assert (tmp_path / "far" / "new").read_bytes() == b"new"


@unix_only
def test_a_device_is_written_and_not_replaced(tmp_path: Path) -> None:
    check_file_target(Path(os.devnull))
    write(Path(os.devnull))
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


@unix_only
def test_a_full_disk_and_one_that_may_not_be_written(tiny_disk: Path) -> None:
    with pytest.raises(WriteError, match="No space left on device"):
        write(tiny_disk / "file", bytes(50_000))
    assert list(tiny_disk.iterdir()) == []
    (tiny_disk / "full").write_bytes(bytes(40_960))
    with pytest.raises(WriteError, match="No space left on device"):
        check_folder_target(tiny_disk / "results")
    (tiny_disk / "full").unlink()
    check_folder_target(tiny_disk / "results")
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    with pytest.raises(WriteError, match="Read-only file system"):
        check_file_target(tiny_disk / "new" / "file")
    (tiny_disk.parent / "link").symlink_to(tiny_disk)
    with pytest.raises(WriteError, match="Read-only file system"):
        check_folder_target(tiny_disk.parent / "link" / "new")


def test_a_name_as_long_as_the_disk_takes(tmp_path: Path) -> None:
    for name in ("n" * 251 + ".csv", "散" * 85):
        check_file_target(tmp_path / name)
        write(tmp_path / name)
        assert (tmp_path / name).read_bytes() == b"new"
