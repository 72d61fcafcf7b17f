"""What is left of a loaded inspector when a process forks or ends in the middle of its work."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from small_bundle import save_small_bundle

START = """
import os, sys, threading, time
import numpy as np
from flawmap import load

runtime = load(sys.argv[1])
images = [np.full((64, 64, 3), level, np.uint8) for level in range(0, 250, 5)]
"""
FORK = """
inspections = runtime.inspect_many(images)
next(inspections)
child = os.fork()
if not child:
    {in_child}
    sys.exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(list(inspections)))
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_bundle(tmp_path_factory.mktemp("saved") / "part.flawmap")


def run_script(saved: Path, script: str) -> tuple[int, list[str], str]:
    # From Python 3.12 on a fork beside threads is warned of, which these tests do on purpose.
    quiet = "-W", "ignore:This process:DeprecationWarning"
    command = [sys.executable, *quiet, "-c", START + textwrap.dedent(script), str(saved)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout.split("\n")[:-1], done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("in_child", ["pass", "del inspections, runtime"])
def test_a_forked_process_ends(saved: Path, in_child: str) -> None:
    assert run_script(saved, FORK.format(in_child=in_child)) == (0, ["7 49"], "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_stream_that_began_before_a_fork_is_refused_at_once(saved: Path) -> None:
    in_child = "list(inspections)"
    code, printed, said = run_script(saved, FORK.format(in_child=in_child))
    assert (code, printed) == (0, ["1 49"])
    assert "ForkError: the inspector was loaded in process" in said.splitlines()[-1]


@pytest.mark.parametrize(
    "work",
    ["for _ in runtime.inspect_many(images * 99): pass", "while True: runtime.inspect(images[0])"],
)
def test_a_program_ends_while_daemon_threads_inspect(saved: Path, work: str) -> None:
    script = f"""
    def work():
        {work}
    for _ in range(3):
        threading.Thread(target=work, daemon=True).start()
    time.sleep(0.3)
    print("end")
    """
    code, printed, said = run_script(saved, script)
    assert (code, printed) == (0, ["end"]), said


def test_a_program_ends_with_a_stream_that_is_not_done(saved: Path) -> None:
    script = "inspections = runtime.inspect_many(images * 99); next(inspections); print('end')"
    assert run_script(saved, script) == (0, ["end"], "")


def test_a_source_that_fails_loses_nothing_that_it_gave(saved: Path) -> None:
    script = """
    def camera():
        yield from images[:5]
        raise KeyError("no light")
    inspections = []
    try:
        for inspection in runtime.inspect_many(camera()):
            inspections.append(inspection)
    except KeyError:
        print(len(inspections), runtime.inspect(images[0]).score == inspections[0].verdict.score)
    """
    assert run_script(saved, script) == (0, ["5 True"], "")


@pytest.mark.parametrize("switch", ["-O", "-OO"])
def test_without_assertions_and_docstrings_it_scores_alike(saved: Path, switch: str) -> None:
    script = START + "print(runtime.inspect(images[0]).score)"
    scores = {
        subprocess.run(
            [sys.executable, *switches, "-W", "error", "-c", script, str(saved)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for switches in ([], [switch])
    }
    assert len(scores) == 1
