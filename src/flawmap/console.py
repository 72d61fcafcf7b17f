"""What the command line shows: bars while it works, lines and tables when it is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from flawmap.calibration import Calibration
from flawmap.progress import listening

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


@contextmanager
def bars() -> Iterator[None]:
    """Draw a bar for each stage that the code below says it is in."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        tasks: dict[str, TaskID] = {}

        def draw(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage)
            progress.update(tasks[stage], completed=done, total=total, visible=done < total)

        with listening(draw):
            yield


def line(record: dict[str, Any]) -> str:
    """Say a row of the results in one line."""
    if record["error"]:
        return f"[yellow]error [/]  {escape(record['error'])}"
    word = "[red]reject[/]" if record["reject"] else "[green]good  [/]"
    return f"{word}  p {record['p_value']:.4f}  score {record['score']:9.4f}  {escape(record['path'])}"


def percent(share: float | None) -> str:
    """Say a share in percent with two decimals; a dash where there is none."""
    return "–" if share is None else f"{100 * share:.2f}"


def print_left_out(unreadable: Sequence[Any]) -> None:
    """Name the pictures that could not be used, and why."""
    for left_out in unreadable:
        err.print(f"[yellow]left out:[/] {escape(str(left_out.error))}")


def print_learned(calibration: Calibration, output: Path) -> None:
    """Say what was learned, and what the budget of false rejects came to."""
    count = len(calibration.scores)
    out.print(f"Learned from {count} good pictures → {escape(str(output))} ({output.stat().st_size / 1e6:.1f} MB)")
    out.print(f"Rejects beyond score {calibration.threshold:.4f}: {calibration.budget:.2%} of good parts expected")
    if count < calibration.pictures_needed:
        out.print(
            f"[yellow]A budget of {calibration.false_rejects:.2%} takes {calibration.pictures_needed} good pictures or "
            f"more, {calibration.pictures_needed - count} more than there are; until then the threshold is the highest "
            f"score among the {count}.[/]"
        )
