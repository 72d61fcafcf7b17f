from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flawmap.support.atomic import atomic_folder, atomic_write
from flawmap.support.targets import check_file_target, check_folder_target
from flawmap.support.temporary import remove_leftovers

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL and its locks")

FILL = """
import os, sys
from pathlib import Path
from flawmap.support.atomic import atomic_folder, atomic_write
target = Path(sys.argv[1])
with atomic_write(target) as stream, atomic_folder(target.with_name("folder")) as folder:
    stream.write(b"half")
    stream.flush()
    (folder / "half").touch()
    print("filling", flush=True)
    sys.stdin.read()
"""


def begin_to_fill(target: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", FILL, str(target)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "filling\n"
    return process


def test_what_a_killed_process_left_goes_and_what_is_being_filled_stays(tmp_path: Path) -> None:
    mine = tmp_path / ".notes.12345678.part"
    mine.touch()
    with begin_to_fill(tmp_path / "file") as process:
        assert len(list(tmp_path.iterdir())) == 3
        check_folder_target(tmp_path)
        check_file_target(tmp_path / "file")
        assert len(list(tmp_path.iterdir())) == 3
        process.send_signal(signal.SIGKILL)
    check_file_target(tmp_path / "another")
    assert len(list(tmp_path.iterdir())) == 3
    check_file_target(tmp_path / "file")
    assert [path.name.startswith((".folder.", ".notes.")) for path in tmp_path.iterdir()] == [
        True,
        True,
    ]
    check_folder_target(tmp_path)
    assert list(tmp_path.iterdir()) == [mine]


def test_an_empty_one_may_be_a_moment_old(tmp_path: Path) -> None:
    young, old = (tmp_path / f".file.{name}.flawmap.part" for name in ("young", "old"))
    young.touch()
    old.touch()
    os.utime(old, (0, 0))
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [young]


def test_nothing_is_left_where_all_goes_well(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "file"), atomic_folder(tmp_path / "folder"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
    remove_leftovers(tmp_path / "no such folder")
