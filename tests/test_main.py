"""The start of the command: signals while it imports, packages that are not there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers import begin_as_in_a_terminal, run_in_a_process

WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "{package}":
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
sys.argv = ["flawmap", *sys.argv[1:]]
from flawmap.__main__ import main
main()
"""

SLOW_IMPORT = """
import sys, time
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "flawmap.cli":
            print("importing", flush=True)
            time.sleep(30)
sys.meta_path.insert(0, Slow())
from flawmap.__main__ import main
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no such signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_while_it_imports_ends_it_without_a_word(name: str) -> None:
    with begin_as_in_a_terminal([sys.executable, "-c", SLOW_IMPORT]) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == "importing\n"
        time.sleep(0.05)
        process.send_signal(getattr(signal, name))
        assert process.stderr.read() == ""
    assert process.returncode == 128 + getattr(signal, name)


@pytest.mark.parametrize("package", ["cv2", "psutil", "openvino"])
def test_a_missing_package_is_one_line_and_no_verdict(package: str, tmp_path: Path) -> None:
    arguments = ["inspect", tmp_path / "part.flawmap", tmp_path]
    (tmp_path / "a.png").touch()
    command = [sys.executable, "-c", WITHOUT.format(package=package), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = " ".join(done.stderr.split())
    assert done.returncode == 3
    assert f"cannot be imported (No module named '{package}'); install flawmap again" in said
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no HOME")
def test_a_home_that_cannot_be_written_is_no_matter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", os.devnull)
    (tmp_path / "a.png").touch()
    done = run_in_a_process("inspect", "nothing.flawmap", tmp_path / "a.png", "-o", tmp_path)
    assert done.returncode == 3
    assert done.stderr == "flawmap: nothing.flawmap: cannot be read (No such file or directory)\n"


@pytest.mark.parametrize("encoding", ["idna", "utf-16", "cp437"])
def test_any_encoding_that_python_knows(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    assert run_in_a_process("--version").returncode == 0
