from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

from flawmap._version import __version__
from helpers import run_in_a_process


def test_an_error_is_one_line_and_exit_code_3(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    done = run_in_a_process("inspect", tmp_path / "no (such).flawmap", tmp_path)
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.startswith("flawmap:")
    assert "no (such).flawmap" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_line_break_in_a_name_begins_no_line_of_the_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    done = run_in_a_process("inspect", tmp_path / "a\ngood    p 0.9.flawmap", tmp_path)
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert "a\\ngood" in done.stderr


def test_a_wrong_word_reads_as_no_verdict() -> None:
    done = run_in_a_process("inspect", "--colour", "red")
    assert done.returncode == 3
    assert "No such option" in done.stderr


def test_help_and_version_need_no_torch() -> None:
    script = """
        import sys
        sys.argv = ["flawmap", "--version"]
        from flawmap.cli import app
        try:
            app()
        except SystemExit:
            print("torch" in sys.modules)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [f"flawmap {__version__}", "False"]
