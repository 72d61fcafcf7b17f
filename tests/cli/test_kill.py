"""What SIGKILL at a random moment leaves of each command, and what the same command makes of it.

A process that has loaded everything forks one for each command, which saves the seconds of
importing torch; the child is killed. FLAWMAP_KILL_RUNS says how often each command is killed; where
it is not set, four commands are killed twice, and the others not at all.
"""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import pytest

from flawmap.runtime import bundle
from flawmap.runtime.images.decode import decode
from helpers import SMALL, needs_fit, save, texture, with_defect

RUNS = int(os.environ.get("FLAWMAP_KILL_RUNS", "2"))
OFTEN = ("fit", "fine-tuning", "inspect", "evaluate")
SELDOM = pytest.mark.skipif("FLAWMAP_KILL_RUNS" not in os.environ, reason="make kill runs it")

pytestmark = [
    pytest.mark.kill,
    needs_fit,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
]

FORK_COMMANDS = """
import json, os, sys
import torch, openvino, matplotlib.figure, torch.utils.tensorboard
from flawmap.features.import_timm import import_timm
import_timm()
import flawmap.export, flawmap.inspector, flawmap.methods, flawmap.finetune.trainer
import flawmap.report.page, flawmap.cli
from flawmap.experiments import runs, tables, table_text
from flawmap.experiments.study import MethodSetup

flawmap.methods.METHODS["patchcore"]
lines = [
    tables.TableLine(str(ratio), MethodSetup("patchcore", {"coreset": ratio}))
    for ratio in (0.1, 0.2, 0.3)
]
tables.TABLES[1] = tables.TableSpec("Ratios", tuple(lines), tables.TABLES[1].published)
sys.stdout.write("ready\\n")
sys.stdout.flush()
for line in sys.stdin:
    arguments, output = json.loads(line)
    child = os.fork()
    if not child:
        handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(handle, 1), os.dup2(handle, 2), os.close(0)
        sys.argv = ["flawmap", *arguments]
        try:
            flawmap.cli.main()
        except SystemExit as end:
            sys.stdout.flush()
            os._exit(end.code or 0)
    sys.stdout.write(f"{child}\\n")
    sys.stdout.flush()
    status = os.waitpid(child, 0)[1]
    sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\\n")
    sys.stdout.flush()
"""


class Commands:
    """Runs commands, one at a time, each in a process of its own that begins at once."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self._log = log
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def run(self, arguments: list[str], kill_after: float | None = None) -> tuple[int, str]:
        """Exit code and what was printed; -9 where the process was killed."""
        assert self._process.stdin
        self._log.unlink(missing_ok=True)
        self._process.stdin.write(json.dumps([arguments, str(self._log)]) + "\n")
        self._process.stdin.flush()
        child = int(self._line())
        if kill_after is not None:
            time.sleep(kill_after)
            with suppress(ProcessLookupError):  # It is done already.
                os.kill(child, 9)
        code = int(self._line())
        return code, self._log.read_text("utf-8", "replace") if self._log.exists() else ""


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    log = tmp_path_factory.mktemp("log") / "output"
    command = [sys.executable, "-c", FORK_COMMANDS]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:  # type: ignore[call-overload]
        yield Commands(process, log)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, commands: Commands) -> Path:
    """A data set, images to inspect, and two inspectors, one with the other's name later."""
    folder = tmp_path_factory.mktemp("data")
    for seed in range(8):
        save(folder / "set/train/good" / f"{seed:02}.png", texture(seed))
    for seed in range(4):
        save(folder / "set/test/good" / f"{seed}.png", texture(20 + seed))
        save(folder / "set/test/spot" / f"{seed}.png", with_defect(texture(30 + seed), 30, 30))
    for name in ("old", "new"):
        for number in range(25):
            save(folder / name / f"{name}{number:02}.png", texture(number % 4))
    for name in ("old", "new"):
        fit = ["fit", str(folder / "set"), "-o", str(folder / f"{name}.flawmap")]
        code, output = commands.run([*fit, *METHOD, "--seed", "1" if name == "old" else "2"])
        assert code == 0, output
    return folder


METHOD = ["--method", "patchcore", "--backbone", "test_resnet", "--weights", "random", *SMALL]
FINETUNE = ["--finetune", "synthetic", "--set", "finetune.epochs=4"]
FINETUNE += ["--set", "finetune.image_size=64", "--set", "finetune.batch_size=4"]
TABLE = ["--backbone", "test_resnet", "--weights", "random", "--size", "64", "--seeds", "1"]


@dataclass(frozen=True)
class Case:
    """A command, and the one that wrote what it replaces; words of a folder are filled in."""

    command: list[str]
    results: str
    """What the command writes: a file or a folder."""
    before: list[str] = field(default_factory=list)
    """A command before it."""
    replaces: str = ""
    """An inspector that has the name of the one to be written."""
    keeps: str = ""
    """Files that the next run of a command that goes on does not write again."""
    compare: Callable[[Path], bytes] = Path.read_bytes
    grows: bool = False
    """Whether it writes tables line by line."""


def scorer_of(file: Path) -> bytes:
    """What an inspector computes; its file also says how long the epochs took."""
    return bundle.load(file).manifest.scorer_sha256.encode()


FIT = ["fit", "{data}/set", "-o", "{out}/p.flawmap", *METHOD]

CASES = {
    "fit": Case([*FIT, "--seed", "2"], "p.flawmap", replaces="{data}/old.flawmap"),
    "fit --memory": Case([*FIT, "--seed", "2", "--memory", "9GB"], "p.flawmap"),
    "fine-tuning": Case([*FIT, *FINETUNE], "p.flawmap", compare=scorer_of),
    "inspect": Case(
        ["inspect", "{data}/new.flawmap", "{data}/new", "-o", "{out}", "--report"],
        ".",
        before=["inspect", "{data}/old.flawmap", "{data}/old", "-o", "{out}", "--report"],
        grows=True,
    ),
    "evaluate": Case(
        ["evaluate", "{data}/new.flawmap", "{data}/set", "-o", "{out}"],
        ".",
        before=["evaluate", "{data}/old.flawmap", "{data}/set", "-o", "{out}"],
    ),
    "threshold": Case(
        ["threshold", "{out}/p.flawmap", "--false-rejects", "0.3"],
        "p.flawmap",
        replaces="{data}/old.flawmap",
    ),
    "export": Case(["export", "{data}/new.flawmap", "-o", "{out}"], "."),
    "split": Case(
        ["split", "{data}/set", "-o", "{out}/split.csv", "--seed", "2", "--resplit-test"],
        "split.csv",
        before=["split", "{data}/set", "-o", "{out}/split.csv", "--seed", "1"],
    ),
    "table": Case(
        ["table", "1", "--data", "{data}/set", "-o", "{out}", *TABLE], ".", keeps="runs/*.json"
    ),
}


def read_tensors(file: Path) -> None:
    from safetensors import safe_open

    with safe_open(file, "np") as saved:
        assert saved.keys()


def check_end(file: Path) -> None:
    data = file.read_bytes()
    assert not data or data.endswith(b"\n")


def check_page(file: Path) -> None:
    assert file.read_text("utf-8").rstrip().endswith("</html>")


READERS: dict[str, Callable[[Path], object]] = {
    ".flawmap": bundle.load,
    ".json": lambda file: json.loads(file.read_bytes()),
    ".csv": check_end,
    ".jsonl": check_end,
    ".md": check_end,
    ".html": check_page,
    ".png": decode,
    ".xml": ElementTree.parse,
    ".safetensors": read_tensors,
}


def check_whole(folder: Path) -> None:
    """Each file that has its own name can be read."""
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        if file.suffix in READERS and not file.name.endswith(".part"):
            READERS[file.suffix](file)


def rows_of(folder: Path) -> bytes:
    """The table that goes last where a new run removes what an earlier one left."""
    table = folder / "results.jsonl"
    return table.read_bytes() if table.exists() else b""


def check_lines(folder: Path, before: bytes = b"") -> None:
    """Rows of one run alone, and in the CSV table all but at most the last one.

    Where the rows are still those of `before`, it was killed before it wrote its own: overlays and
    the CSV table may be gone already.
    """
    images: list[str] = []
    rows: list[str] = []
    if (folder / "results.jsonl").exists():
        lines = [json.loads(line) for line in (folder / "results.jsonl").read_bytes().splitlines()]
        images = [Path(line["image"]).stem for line in lines]
    if (folder / "results.csv").exists():
        with (folder / "results.csv").open(encoding="utf-8-sig", newline="") as stream:
            rows = [Path(row["image"]).stem for row in csv.DictReader(stream)]
    assert rows == images[: len(rows)]
    if before and rows_of(folder) == before:
        return
    assert images == [f"new{number:02}" for number in range(len(images))]
    assert len(rows) >= len(images) - 1
    for line in lines if images else []:
        assert (folder / line["overlay"]).is_file()
        assert (folder / line["overlay"]).name.startswith("new")


def contents(case: Case, out: Path) -> dict[str, bytes]:
    """What can be compared of what a command wrote: all but tables and pages with times in them."""
    path = out / case.results
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    suffixes = (".flawmap", ".xml", ".bin", ".png", ".md", ".tex")
    return {
        file.name: case.compare(file)
        for file in files
        if file.is_file() and (file.suffix in suffixes or file.name == "split.csv")
    }


def leftovers(folder: Path) -> list[str]:
    """Temporary files; an empty one may be another process's that has not locked it yet."""
    found = [path for path in folder.rglob(".*") if path.name.endswith(".part")]
    return [path.name for path in found if path.stat().st_size]


class Trial:
    """A command in a folder of its own, with what it gives where nobody kills it."""

    def __init__(self, case: Case, commands: Commands, data: Path, folder: Path) -> None:
        self.case = case
        self.out = folder / "out"
        self._commands = commands
        self._words = {"data": data, "out": self.out}
        self._before = folder / "before"
        self.out.mkdir()
        if case.replaces:
            shutil.copyfile(self._fill([case.replaces])[0], self.out / case.results)
        if case.before:
            self._finish(case.before)
        self.old = contents(case, self.out)
        shutil.copytree(self.out, self._before)
        started = time.monotonic()
        self._code = self._finish(case.command)
        self.seconds = time.monotonic() - started
        self.expected = contents(case, self.out)

    def _fill(self, words: list[str]) -> list[str]:
        return [word.format(**self._words) for word in words]

    def _finish(self, words: list[str]) -> int:
        code, output = self._commands.run(self._fill(words))
        assert code in (0, 1), output
        return code

    def begin_anew(self) -> None:
        """The folder as it was before the command."""
        shutil.rmtree(self.out)
        shutil.copytree(self._before, self.out)

    def kill(self, moment: float) -> None:
        """Kill the command, and look at what it left."""
        before = rows_of(self.out)
        self._commands.run(self._fill(self.case.command), kill_after=moment)
        check_whole(self.out)
        if self.case.grows:
            check_lines(self.out, before)
            return
        for file, content in contents(self.case, self.out).items():
            assert content in (self.old.get(file), self.expected.get(file)), file

    def finish(self) -> None:
        """The same command again, with the same outcome as if there had been no kill."""
        kept = {file: file.stat().st_mtime_ns for file in self.out.glob(self.case.keeps or "none")}
        assert self._finish(self.case.command) == self._code
        assert contents(self.case, self.out) == self.expected
        assert {file: file.stat().st_mtime_ns for file in kept} == kept
        assert leftovers(self.out) == []
        if self.case.grows:
            check_lines(self.out)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in OFTEN else [SELDOM]) for name in CASES]
)
def test_a_kill_leaves_whole_files_and_the_next_run_is_as_if_there_was_none(
    name: str, commands: Commands, data: Path, tmp_path: Path
) -> None:
    trial = Trial(CASES[name], commands, data, tmp_path)
    for number in range(RUNS):
        if number % 2 == 0:
            trial.begin_anew()
        # Every other time it is killed again in what the kill before left.
        trial.kill(random.Random(f"{name} {number}").uniform(0, trial.seconds))
        if number % 2 or number == RUNS - 1:
            trial.finish()
