"""What the command line shows: bars while it works, lines and tables when it is done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from flawmap.metrics.metric import Metric
from flawmap.runtime.calibration import DEFAULT_CONFIDENCE, Budget, Calibration, false_reject_upper_bound
from flawmap.support.progress import Event, listen
from flawmap.training.metrics import FineTuneEpoch, TrainingEpoch, TrainingForecast

out = Console(highlight=False, soft_wrap=True)
SUMMARY_METRICS = ("image AUROC", "F1 max", "F1 at the threshold", "pixel AUROC", "AUPRO")
"""The figures that stand side by side for several products."""

LISTED_BUDGETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
"""Those that `flawmap threshold` shows."""

MAX_EPOCH_ROWS = 20
"""About how many epochs of a long training are shown."""

err = Console(stderr=True, highlight=False, soft_wrap=True)


class _Bars(Progress):
    """Bars, and above them a table that fills while they move."""

    rows: Table | None = None
    kind: type | None = None
    every: int = 1

    def add(self, epoch: FineTuneEpoch | TrainingEpoch) -> None:
        """Add a row; a method may be trained after its backbone was, and then has a table of its own."""
        if epoch.number > 1 and epoch.number % self.every:
            return
        if self.rows and self.kind is not type(epoch):
            self.console.print(self.rows)
            self.rows = None
        self.rows, self.kind = self.rows or training_table(epoch), type(epoch)
        self.rows.add_row(*_cells(epoch))

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from [self.rows] if self.rows else []
        yield from super().get_renderables()


@contextmanager
def progress_bars() -> Iterator[None]:
    """Draw a bar for each stage that the code below says it is in; what it tells besides stays when the bars go."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # Into a file or a pipe they would draw nothing but an empty line.
    with _Bars(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        tasks: dict[str, TaskID] = {}

        def draw(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage)
            progress.update(tasks[stage], completed=done, total=total, visible=done < total)

        def show(news: Event) -> None:
            if isinstance(news, FineTuneEpoch | TrainingEpoch):
                progress.add(news)
            else:
                if isinstance(news, TrainingForecast):
                    progress.every = max(1, news.epochs // MAX_EPOCH_ROWS)
                progress.console.print(_say(news))

        with listen(draw, show):
            yield
        if progress.rows:
            err.print(progress.rows)


def training_table(news: FineTuneEpoch | TrainingEpoch) -> Table:
    """Make the table of a training, without rows."""
    if isinstance(news, TrainingEpoch):
        return Table("epoch", "loss", *(f"of it {name}" for name in news.losses if len(news.losses) > 1), "seconds")
    return Table("epoch", "loss", "told right", "loss, checked", "told right, checked", "seconds")


def _cells(epoch: FineTuneEpoch | TrainingEpoch) -> list[str]:
    if isinstance(epoch, TrainingEpoch):
        parts = list(epoch.losses.values()) if len(epoch.losses) > 1 else []
        return [str(epoch.number), *(f"{loss:.4f}" for loss in (epoch.loss, *parts)), f"{epoch.seconds:.0f}"]
    trained, checked = ((epoch.loss, epoch.accuracy), (epoch.validation_loss, epoch.validation_accuracy))
    figures = [cell for loss, accuracy in (trained, checked) for cell in (f"{loss:.4f}", f"{accuracy:.1%}")]
    return [str(epoch.number), *figures, f"{epoch.seconds:.0f}"]


def _say(news: Event) -> str:
    if isinstance(news, TrainingForecast):
        pictures = f"{news.images} pictures in each of {news.epochs} epochs"
        return f"{news.what} with {pictures} takes about {format_duration(news.seconds)} on this machine"
    return escape(str(news))


def format_duration(seconds: float) -> str:
    """Say a time span in words that suit its length."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def format_record(record: dict[str, Any]) -> str:
    """Say a row of the results in one line."""
    if record["error"]:
        return f"[yellow]error [/]  {escape(record['error'])}"
    word = "[red]reject[/]" if record["reject"] else "[green]good  [/]"
    return f"{word}  p {record['p_value']:.4f}  score {record['score']:9.4f}  {escape(record['path'])}"


def format_percent(share: float | None) -> str:
    """Say a share in percent with two decimals; a dash where there is none."""
    return "–" if share is None else f"{100 * share:.2f}"


def print_unreadable(unreadable: Sequence[Any]) -> None:
    """Name the pictures that could not be used, and why."""
    for left_out in unreadable:
        err.print(f"[yellow]left out:[/] {escape(str(left_out.error))}")


def print_fit_summary(calibration: Calibration, part: Path) -> None:
    """Say what was learned, what the threshold promises, and what stands against it."""
    count = f"{len(calibration.scores)} good pictures"
    learned = f"Calibrated on {count} that it did not learn" if calibration.exact else f"Learned from {count}"
    out.print(f"{learned} → {escape(str(part))} ({part.stat().st_size / 1e6:.1f} MB)")
    out.print(
        f"Rejects beyond score {calibration.threshold:.4f}: {calibration.expected_false_rejects:.2%} of good parts expected, ", end=""
    )
    out.print(f"at most {calibration.false_reject_bound:.2%} with {calibration.budget.confidence or DEFAULT_CONFIDENCE:.0%} certainty")
    print_notes(calibration.warnings())


def print_notes(notes: Sequence[str]) -> None:
    """Show what a user should know, a sentence each."""
    for note in notes:
        out.print(f"[yellow]{escape(note)}[/]", soft_wrap=False)


def print_budgets(calibration: Calibration) -> None:
    """Show what thresholds there are, the one that is set among them, and what each promises."""
    count = len(calibration.scores)
    table = Table(
        "", "budget", "threshold", "expected", "at most, 95 % sure", "good pictures needed", title_justify="left"
    )
    for budget in sorted({*map(Budget, LISTED_BUDGETS), calibration.budget}, key=lambda budget: budget.false_rejects):
        one = replace(calibration, budget=budget)
        needed = f"{budget.images_needed}" + (f", {one.images_missing} more" if one.images_missing else "")
        sure = f", {budget.confidence:.0%} sure" if budget.confidence else ""
        bound = false_reject_upper_bound(budget.rank(count), count)
        mark = "→" if budget == calibration.budget else ""
        table.add_row(
            mark,
            f"{budget.false_rejects:.2%}{sure}",
            f"{one.threshold:.4f}",
            f"{one.expected_false_rejects:.2%}",
            f"{bound:.2%}",
            needed,
        )
    out.print(table)
    for promise in calibration.guarantees():
        out.print(promise)


def print_metrics(title: str, metrics: Mapping[str, Metric]) -> None:
    """Show figures with their intervals; in place of one that cannot be had, the reason."""
    table = Table(title, "%", "95 % interval")
    for name, metric in metrics.items():
        interval = "" if metric.low is None else f"{format_percent(metric.low)} – {format_percent(metric.high)}"
        table.add_row(name, format_percent(metric.value), metric.unavailable or interval)
    out.print(table)


def print_product_summary(figures: Mapping[str, Mapping[str, Metric]], *, means: bool = True) -> None:
    """Show the main figures of each product, and their means where these mean something."""
    table = Table(Column("%", no_wrap=True), *SUMMARY_METRICS)
    for name, metrics in figures.items():
        table.add_row(name, *(format_percent(metrics[shown].value) for shown in SUMMARY_METRICS))
    if means:
        table.add_section()
        table.add_row(
            "mean", *(format_percent(_mean([metrics[shown].value for metrics in figures.values()])) for shown in SUMMARY_METRICS)
        )
    out.print(table)


def _mean(values: Sequence[float | None]) -> float | None:
    """Average; a mean over fewer than all would say something else."""
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there and len(there) == len(values) else None
