from __future__ import annotations

import os
import struct
import sys
import threading
from pathlib import Path

import pytest

from flawmap import load
from flawmap.errors import BundleError, OptionError
from flawmap.runtime.saved_bytes import as_path, read_saved

unix_only = pytest.mark.skipif(sys.platform == "win32", reason="needs pipes and devices of Unix")


@pytest.mark.parametrize("file", ["part.flawmap", b"part.flawmap", Path("part.flawmap")])
def test_any_path_will_do(file: str | bytes | Path) -> None:
    assert as_path(file) == Path("part.flawmap")


@pytest.mark.parametrize("file", [None, 5, ["part.flawmap"]])
def test_what_is_no_path_is_refused(file: object) -> None:
    with pytest.raises(OptionError, match="is no path; give the path of the file"):
        as_path(file)


def test_a_name_with_a_zero_byte_is_refused() -> None:
    with pytest.raises(BundleError, match="cannot be read"):
        load("a\0b")


@pytest.mark.skipif(sys.platform != "linux", reason="needs files with holes")
@pytest.mark.parametrize("start", [b"", struct.pack("<Q", 2**39), struct.pack("<Q", 2)])
def test_a_terabyte_is_refused_before_it_is_read(tmp_path: Path, start: bytes) -> None:
    file = tmp_path / "part.flawmap"
    file.write_bytes(start)
    os.truncate(file, 2**40)
    with pytest.raises(BundleError, match="damaged, or not a file that flawmap saved"):
        read_saved(file)


@unix_only
def test_a_device_that_never_ends_is_refused() -> None:
    with pytest.raises(BundleError, match="/dev/zero: is a device"):
        read_saved(Path("/dev/zero"))


@unix_only
def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    content = bytes(range(256)) * 1000
    writer = threading.Thread(target=pipe.write_bytes, args=[content])
    writer.start()
    assert read_saved(pipe) == content
    writer.join()


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"cannot be read \("):
        read_saved(tmp_path)
