"""What the command line shows: bars while it works, lines and tables when it is done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table

from flawmap.metrics.metric import Metric
from flawmap.runtime.calibration import (
    DEFAULT_CONFIDENCE,
    Budget,
    Calibration,
    false_reject_upper_bound,
)
from flawmap.support.progress import Event, listen
from flawmap.training.metrics import FineTuneEpoch, TrainingEpoch, TrainingForecast

if TYPE_CHECKING:
    from flawmap.runtime.record import Record

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

_SUMMARY_METRICS = (
    "image AUROC",
    "F1 max",
    "F1 at the threshold",
    "pixel AUROC",
    "AUPRO",
)
"""The metrics that stand side by side for several products."""

_LISTED_BUDGETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
"""Fractions of good parts for which `flawmap threshold` lists a threshold."""

_MAX_EPOCH_ROWS = 20
"""About how many epochs of a long training are shown."""


class _ProgressBars(Progress):
    """Bars, and above them a table of epochs that fills while the bars move."""

    epochs: Table | None = None
    epoch_type: type | None = None
    every: int = 1

    def add_epoch(self, epoch: FineTuneEpoch | TrainingEpoch) -> None:
        """Add a row; a method may be trained after its backbone was, and then has its own table."""
        if epoch.number > 1 and epoch.number % self.every:
            return
        if self.epochs is not None and self.epoch_type is not type(epoch):
            self.console.print(self.epochs)
            self.epochs = None
        if self.epochs is None:
            self.epochs = training_table(epoch)
        self.epoch_type = type(epoch)
        self.epochs.add_row(*_epoch_cells(epoch))

    def show(self, event: Event) -> None:
        """Add an epoch to its table; print any other event, which stays when the bars go."""
        if isinstance(event, FineTuneEpoch | TrainingEpoch):
            self.add_epoch(event)
            return
        if isinstance(event, TrainingForecast):
            self.every = max(1, event.epochs // _MAX_EPOCH_ROWS)
        self.console.print(_event_text(event))

    def get_renderables(self) -> Iterable[RenderableType]:
        if self.epochs is not None:
            yield self.epochs
        yield from super().get_renderables()


@contextmanager
def progress_bars() -> Iterator[None]:
    """Inside the `with` block, a bar for each stage of the work, and a table of training epochs.

    The table and all messages stay on the screen when the bars go.

    >>> with progress_bars():
    ...     pass
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    # Into a file or a pipe the bars would draw nothing but an empty line.
    disable = not err.is_terminal
    with _ProgressBars(*columns, console=err, transient=True, disable=disable) as progress:
        tasks: dict[str, TaskID] = {}

        def draw(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage)
            visible = done < total
            progress.update(tasks[stage], completed=done, total=total, visible=visible)

        with listen(draw, progress.show):
            yield
        if progress.epochs is not None:
            err.print(progress.epochs)


def training_table(epoch: FineTuneEpoch | TrainingEpoch) -> Table:
    """Table of a training, still without rows.

    Args:
        epoch: its first epoch, which tells what the columns are.

    >>> [column.header for column in training_table(TrainingEpoch(1, {"loss": 0.5}, 3.0)).columns]
    ['epoch', 'loss', 'seconds']
    """
    if isinstance(epoch, FineTuneEpoch):
        names = ["loss", "accuracy", "validation loss", "validation accuracy"]
        return Table("epoch", *names, "seconds")
    names = list(epoch.losses) if len(epoch.losses) > 1 else []
    return Table("epoch", "loss", *(f"{name} loss" for name in names), "seconds")


def _epoch_cells(epoch: FineTuneEpoch | TrainingEpoch) -> list[str]:
    cells = [str(epoch.number), f"{epoch.loss:.4f}"]
    if isinstance(epoch, FineTuneEpoch):
        cells.append(f"{epoch.accuracy:.1%}")
        cells.append(f"{epoch.validation_loss:.4f}")
        cells.append(f"{epoch.validation_accuracy:.1%}")
    elif len(epoch.losses) > 1:
        cells += [f"{loss:.4f}" for loss in epoch.losses.values()]
    return [*cells, f"{epoch.seconds:.0f}"]


def _event_text(event: Event) -> str:
    if isinstance(event, TrainingForecast):
        amount = f"{event.images} images in each of {event.epochs} epochs"
        duration = format_duration(event.seconds)
        return f"{event.what} with {amount} takes about {duration} on this machine"
    return escape(str(event))


def format_duration(seconds: float) -> str:
    """A time span as text, in the unit that suits its length.

    Args:
        seconds: the span, >= 0.

    >>> [format_duration(seconds) for seconds in (7, 600, 9000)]
    ['7 s', '10 min', '2.5 h']
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def format_record(record: Record) -> str:
    """An inspected image as one line.

    Args:
        record: its row in the results.
    """
    if record.score is None or record.p_value is None:
        return f"[yellow]error [/]  {escape(record.error)}"
    word = "[red]reject[/]" if record.verdict == "reject" else "[green]good  [/]"
    numbers = f"p {record.p_value:.4f}  score {record.score:9.4f}"
    return f"{word}  {numbers}  {escape(record.image)}"


def format_percent(fraction: float | None) -> str:
    """A fraction in percent with two decimals; a dash where there is none.

    Args:
        fraction: 0…1, or None.

    >>> format_percent(0.1234), format_percent(None)
    ('12.34', '–')
    """
    return "–" if fraction is None else f"{100 * fraction:.2f}"


def print_unreadable(unreadable: Sequence[Any]) -> None:
    """Print which images could not be used, and why.

    Args:
        unreadable: images with their errors.
    """
    for image in unreadable:
        err.print(f"[yellow]skipped:[/] {escape(str(image.error))}")


def print_fit_summary(calibration: Calibration, file: Path) -> None:
    """Print what was learned, what the threshold guarantees, and what stands against it.

    Args:
        calibration: of the inspector.
        file: where the inspector was saved.
    """
    images = f"{len(calibration.scores)} good images"
    learned = f"Learned from {images}"
    if calibration.exact:
        learned = f"Calibrated on {images} that it did not learn from"
    out.print(f"{learned} → {escape(str(file))} ({file.stat().st_size / 1e6:.1f} MB)")
    confidence = calibration.budget.confidence or DEFAULT_CONFIDENCE
    out.print(
        f"Rejects beyond score {calibration.threshold:.4f}: "
        f"{calibration.expected_false_rejects:.2%} of good parts expected, at most "
        f"{calibration.false_reject_bound:.2%} with {confidence:.0%} confidence"
    )
    print_notes(calibration.warnings())


def print_notes(notes: Sequence[str]) -> None:
    """Print what a user should know.

    Args:
        notes: a sentence each.
    """
    for note in notes:
        out.print(f"[yellow]{escape(note)}[/]", soft_wrap=False)


def print_budgets(calibration: Calibration) -> None:
    """Print which thresholds there are, which one is set, and what each guarantees.

    Args:
        calibration: of the inspector.
    """
    table = Table(
        "",
        "budget",
        "threshold",
        "expected",
        "at most, 95 % sure",
        "good images needed",
        title_justify="left",
    )
    budgets = {*map(Budget, _LISTED_BUDGETS), calibration.budget}
    for budget in sorted(budgets, key=lambda budget: budget.false_rejects):
        mark = "→" if budget == calibration.budget else ""
        table.add_row(mark, *_budget_cells(replace(calibration, budget=budget)))
    out.print(table)
    for guarantee in calibration.guarantees():
        out.print(guarantee)


def _budget_cells(calibration: Calibration) -> list[str]:
    budget = calibration.budget
    name = f"{budget.false_rejects:.2%}"
    if budget.confidence:
        name += f", {budget.confidence:.0%} sure"
    count = len(calibration.scores)
    bound = false_reject_upper_bound(budget.rank(count), count)
    needed = f"{budget.images_needed}"
    if calibration.images_missing:
        needed += f", {calibration.images_missing} more"
    return [
        name,
        f"{calibration.threshold:.4f}",
        f"{calibration.expected_false_rejects:.2%}",
        f"{bound:.2%}",
        needed,
    ]


def print_metrics(title: str, metrics: Mapping[str, Metric]) -> None:
    """Print metrics with their intervals; in place of one that is unavailable, the reason.

    Args:
        title: of the table.
        metrics: by name.
    """
    table = Table(title, "%", "95 % interval")
    for name, metric in metrics.items():
        interval = ""
        if metric.low is not None:
            interval = f"{format_percent(metric.low)} – {format_percent(metric.high)}"
        table.add_row(name, format_percent(metric.value), metric.unavailable or interval)
    out.print(table)


def print_product_summary(
    products: Mapping[str, Mapping[str, Metric]], *, means: bool = True
) -> None:
    """Print the main metrics of each product.

    Args:
        products: metrics by name, by product.
        means: whether a line of means over the products follows.
    """
    table = Table(Column("%", no_wrap=True), *_SUMMARY_METRICS)
    for product, metrics in products.items():
        values = [metrics[name].value for name in _SUMMARY_METRICS]
        table.add_row(product, *map(format_percent, values))
    if means:
        averages = [
            _mean([metrics[name].value for metrics in products.values()])
            for name in _SUMMARY_METRICS
        ]
        table.add_section()
        table.add_row("mean", *map(format_percent, averages))
    out.print(table)


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of the values; None where one is missing, for the rest would have another meaning."""
    available = [value for value in values if value is not None]
    if not available or len(available) < len(values):
        return None
    return sum(available) / len(available)
