"""Times two commits in turn, and says where the second is slower.

    python bench/compare_commits.py BASE HEAD [--dataset FOLDER] [--rounds 5]

Each commit has a git worktree of its own in a temporary folder, and fits its own file, for the
format of saved files may differ. All runs use this interpreter, and so the same libraries. The
rounds alternate, A B B A A B, so that a machine that slows down slows both. Timed are

- **cold start**: a fresh process that loads a saved inspector and inspects one image;
- **inspect**: one image by a loaded inspector, the median of many calls in one process;
- **folder**: `flawmap inspect` over a folder, start of the process included;
- **fit**: `flawmap fit` on a folder, start of the process included;
- **coreset**: the exact greedy coreset on drawn vectors.

FOLDER holds images of good parts; images are drawn unless it is given. The exit code is 1 if the
median of HEAD exceeds that of BASE by more than 10 % in any section.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
WORKER = Path(__file__).with_name("compare_worker.py")
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
SLOWER = 1.10
"""A ratio HEAD / BASE above this is flagged."""

SIDE = 224
CALLS = 100
"""Calls whose median is the latency of one image."""

VECTORS = (100_000, 128, 1_000)
"""Rows and channels of the drawn vectors, and how many the coreset takes."""

EXIT_CODES_OF_INSPECT = (0, 1)
"""Exit codes of `flawmap inspect`: all good, some rejected."""


@dataclass(frozen=True)
class Checkout:
    """A commit in a worktree of its own."""

    name: str
    worktree: Path
    work: Path

    @property
    def file(self) -> Path:
        """The inspector that this commit fits."""
        return self.work / "part.flawmap"

    def run(self, *arguments: object, allowed: Sequence[int] = (0,)) -> str:
        """Run Python with the package of this commit; return what it prints."""
        command = [sys.executable, *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": str(self.worktree / "src")}
        done = subprocess.run(
            command, check=False, env=environment, cwd=self.work, capture_output=True, text=True
        )
        if done.returncode not in allowed:
            raise SystemExit(f"{self.name}: {' '.join(command)} failed\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def flawmap(self, *arguments: object, allowed: Sequence[int] = (0,)) -> None:
        self.run("-m", "flawmap", *arguments, allowed=allowed)

    def worker(self, *arguments: object) -> str:
        return self.run(WORKER, *arguments).splitlines()[-1]

    def check(self) -> None:
        """Stop unless the package comes from this worktree."""
        package = Path(self.worker("where")).resolve()
        print(f"{self.name}: {package}")
        if not package.is_relative_to(self.worktree.resolve()):
            raise SystemExit(f"{self.name}: flawmap comes from {package}, not from its worktree")


@dataclass(frozen=True)
class Sections:
    """What is timed; each method gives seconds."""

    folder: Path
    image: Path

    def cold_start(self, commit: Checkout) -> float:
        return timed(lambda: commit.worker("first", commit.file, self.image))

    def inspect(self, commit: Checkout) -> float:
        return float(commit.worker("inspect", commit.file, self.image, CALLS))

    def inspect_folder(self, commit: Checkout) -> float:
        arguments = ("inspect", commit.file, self.folder, "-o", commit.work / "results")
        return timed(lambda: commit.flawmap(*arguments, allowed=EXIT_CODES_OF_INSPECT))

    def fit(self, commit: Checkout) -> float:
        return timed(lambda: commit.flawmap("fit", self.folder, "-o", commit.file))

    def coreset(self, commit: Checkout) -> float:
        return float(commit.worker("coreset", *VECTORS))

    def all(self) -> dict[str, Callable[[Checkout], float]]:
        return {
            "cold start": self.cold_start,
            "inspect": self.inspect,
            "folder": self.inspect_folder,
            "fit": self.fit,
            "coreset": self.coreset,
        }


def timed(job: Callable[[], object]) -> float:
    began = time.perf_counter()
    job()
    return time.perf_counter() - began


@contextmanager
def checked_out(name: str, revision: str, folder: Path) -> Iterator[Checkout]:
    """Yield a commit in a new worktree, and remove it at the end."""
    worktree, work = folder / name / "tree", folder / name / "work"
    work.mkdir(parents=True)
    git("worktree", "add", "--quiet", "--detach", str(worktree), revision)
    try:
        yield Checkout(f"{name} {revision}", worktree, work)
    finally:
        git("worktree", "remove", "--force", str(worktree))


def git(*arguments: str) -> None:
    subprocess.run(["git", "-C", str(REPOSITORY), *arguments], check=True)


def draw_images(folder: Path, count: int) -> None:
    """Draw images of a brushed plate with a darker band, each with a grain of its own."""
    folder.mkdir()
    for seed in range(count):
        noise = np.random.default_rng(seed).normal(0, 40, (SIDE, SIDE, 3)).astype(np.float32)
        image = 140 + cv2.GaussianBlur(noise, (0, 0), sigmaX=4, sigmaY=0.8)
        image[SIDE // 3 : SIDE // 2] -= 40
        cv2.imwrite(str(folder / f"{seed:03}.png"), image.clip(0, 255).astype(np.uint8))


def find_images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def measure(
    base: Checkout, head: Checkout, section: Callable[[Checkout], float], rounds: int
) -> tuple[list[float], list[float]]:
    """Return the seconds of both commits, by round; each round begins with the other one."""
    seconds: dict[str, list[float]] = {base.name: [], head.name: []}
    for number in range(rounds):
        for commit in (base, head) if number % 2 == 0 else (head, base):
            seconds[commit.name].append(section(commit))
    return seconds[base.name], seconds[head.name]


def show(name: str, base: list[float], head: list[float], note: str) -> bool:
    """Print the line of a section; return whether HEAD is too slow."""
    medians = statistics.median(base), statistics.median(head)
    ratio = medians[1] / medians[0]
    figures = (medians[0], min(base), medians[1], min(head))
    cells = "".join(f"{1000 * value:12,.1f}" for value in figures)
    flag = "  SLOWER" if ratio > SLOWER else ""
    print(f"{name:<10}{cells}{ratio:8.3f}{flag}{note}", flush=True)
    return ratio > SLOWER


def rates(images: int, base: list[float], head: list[float]) -> str:
    per_second = (images / statistics.median(base), images / statistics.median(head))
    return "  {:.1f} and {:.1f} images/s".format(*per_second)


def compare(base: Checkout, head: Checkout, folder: Path, rounds: int) -> bool:
    """Print the table; return whether HEAD is too slow in a section."""
    images = find_images(folder)
    if not images:
        raise SystemExit(f"{folder}: no images in this folder")
    sections = Sections(folder, images[0])
    for commit in (base, head):
        commit.check()
        sections.fit(commit)  # Not timed: the other sections need its file.
    print(f"{len(images)} images, {rounds} rounds; milliseconds")
    columns = ("base median", "min", "head median", "min")
    print(f"{'section':<10}{''.join(f'{column:>12}' for column in columns)}{'ratio':>8}")
    slower = False
    for name, section in sections.all().items():
        times = measure(base, head, section, rounds)
        note = rates(len(images), *times) if name in ("folder", "fit") else ""
        slower |= show(name, *times, note)
    return slower


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", metavar="BASE", help="git revision to compare with")
    parser.add_argument("head", metavar="HEAD", help="git revision that should not be slower")
    parser.add_argument("--dataset", type=Path, metavar="FOLDER", help="images of good parts")
    parser.add_argument("--rounds", type=int, default=5, help="times that each commit runs")
    parser.add_argument("--images", type=int, default=100, help="how many to draw")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        folder = options.dataset.resolve() if options.dataset else root / "images"
        if not options.dataset:
            draw_images(folder, options.images)
        with (
            checked_out("base", options.base, root) as base,
            checked_out("head", options.head, root) as head,
        ):
            return int(compare(base, head, folder, options.rounds))


if __name__ == "__main__":
    sys.exit(main())
