"""How the driver and the two sides talk: a job and its options are one line of JSON, what came of
it another.

A side runs in the Python of its own environment. `Side.ask` uses one process that stays, so that
measurements alternate without anything being loaded anew; `Side.once` starts a fresh one and reads
what the system says of it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

Jobs = dict[str, Callable[..., Any]]


class Child(NamedTuple):
    """What came of a process of its own."""

    answer: Any
    first: float
    """Seconds from its start to its answer."""
    wall: float
    """Seconds from its start to its end."""
    peak: float
    """The most memory it held, in MB, its shared libraries with it."""


class Failed(Exception):
    """A side could not do its job: why, and where its log is."""


class Side:
    """One of the two libraries.

    Args:
        python: of its environment.
        script: its worker.
        folder: where its processes run and leave their logs.
    """

    def __init__(self, python: Path, script: Path, folder: Path) -> None:
        self.python, self.script, self.folder = (
            python.absolute(),
            script.resolve(),
            folder.resolve(),
        )
        self.log = self.folder / "log.txt"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._worker: Any = None

    def ask(self, job: str, **options: Any) -> Any:
        """Have the process that stays do a job."""
        if self._worker is None:
            self._worker = self._start([self.script])
        self._worker.stdin.write(json.dumps([job, options], default=str) + "\n")
        self._worker.stdin.flush()
        return self._answer(self._worker.stdout.readline(), job)

    def once(self, job: str, **options: Any) -> Child:
        """Have a fresh process do a job."""
        return self.run([self.script, job, json.dumps(options, default=str)], answers=True)

    def run(self, arguments: list[Any], *, answers: bool = False) -> Child:
        """Run this side's Python on something else, as its command line."""
        import time

        started = time.perf_counter()
        process = self._start(arguments)
        process.stdin.close()
        line = process.stdout.readline() if answers else ""
        first = time.perf_counter() - started
        process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - started
        if process.returncode:
            raise Failed(f"{self.script.stem} failed at {arguments[1:3]}", self.log)
        answer = self._answer(line, str(arguments[1])) if answers else None
        return Child(answer, first, wall, usage.ru_maxrss / 1024)

    def close(self) -> None:
        """End the process that stays, with all it holds."""
        if self._worker is not None:
            self._worker.communicate()
            self._worker = None

    def _start(self, arguments: list[Any]) -> Any:
        import subprocess

        with self.log.open("a") as log:
            return subprocess.Popen(
                [str(self.python), *map(str, arguments)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=self.folder,
            )

    def _answer(self, line: str, job: str) -> Any:
        found = json.loads(line) if line else {"error": "it ended"}
        if "error" in found:
            raise Failed(f"{self.script.stem} failed at {job}: {found['error']}", self.log)
        return found["answer"]


def serve(jobs: Jobs) -> None:
    """Do the job of the command line, or without one those of standard input, one a line."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes to the log
    if len(sys.argv) > 1:
        _do(jobs, answers, sys.argv[1], json.loads(sys.argv[2]))
        return
    for line in sys.stdin:
        _do(jobs, answers, *json.loads(line))


def _do(jobs: Jobs, answers: Any, job: str, options: dict[str, Any]) -> None:
    try:
        found = {"answer": jobs[job](**options)}
    except Exception as error:
        import traceback

        traceback.print_exc()
        found = {"error": repr(error)}
    answers.write(json.dumps(found) + "\n")
    answers.flush()
