"""What the command line shows: bars while it works, lines when it is done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from unicodedata import category

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from flawmap.memory.forecast import FitForecast
from flawmap.runtime.calibration import Calibration
from flawmap.runtime.zone_calibration import ZoneCalibration
from flawmap.support.names import as_text
from flawmap.support.progress import Event, listen
from flawmap.training.metrics import EpochMetrics, TrainingForecast

out = Console(highlight=False, soft_wrap=True)
"""What a command has found, for people."""

notes = Console(stderr=True, highlight=False, soft_wrap=True)
"""How the work goes, and what is worth to know; `--quiet` silences it."""

err = Console(stderr=True, highlight=False, soft_wrap=True)
"""Errors and warnings, which nothing silences."""

_BREAKING = frozenset({"Cc", "Zl", "Zp"})
"""Unicode's categories of control characters and of breaks of lines and paragraphs."""

_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that show what follows in another order, so that gpj.exe reads as exe.jpg."""

_MAX_EPOCH_ROWS = 20
"""About how many epochs of a long training are shown."""


class _RateColumn(ProgressColumn):
    """Steps a second, as images; nothing before there are two."""

    def render(self, task: Task) -> Text:
        """The rate of a task.

        Args:
            task: of a bar.
        """
        return Text(_rate_text(task.speed), style="progress.data.speed")


def _rate_text(speed: float | None) -> str:
    """Steps a second as text.

    >>> [_rate_text(speed) for speed in (None, 0.25, 12.34, 1234.5)]
    ['', '0.25/s', '12/s', '1234/s']
    """
    if not speed:
        return ""
    return f"{speed:.0f}/s" if speed >= 10 else f"{speed:.2g}/s"


class _ProgressBars(Progress):
    """Bars, and above them a table of epochs that fills while the bars move."""

    epochs: Table | None = None
    epoch_columns: tuple[str, ...] = ()
    every: int = 1
    of_one_fit: bool = False

    def add_epoch(self, epoch: EpochMetrics) -> None:
        """Add a row; a method may be trained after its backbone was, and then has its own table."""
        if epoch.number > 1 and epoch.number % self.every:
            return
        columns = _epoch_columns(epoch)
        if self.epochs is not None and self.epoch_columns != columns:
            self.console.print(self.epochs)
            self.epochs = None
        if self.epochs is None:
            self.epochs = Table(*columns)
        self.epoch_columns = columns
        self.epochs.add_row(*_epoch_cells(epoch))

    def show(self, event: Event) -> None:
        """Add an epoch to its table; print any other event, which stays when the bars go."""
        if isinstance(event, EpochMetrics):
            self.add_epoch(event)
            return
        if isinstance(event, TrainingForecast):
            self.every = max(1, event.epochs // _MAX_EPOCH_ROWS)
            self.console.print(_forecast_text(event))
            return
        if isinstance(event, FitForecast):
            if self.of_one_fit:
                self.console.print(_fit_text(event))
            return
        # A sentence is a warning. Above moving bars only their own console can print.
        console = err if self.console.quiet else self.console
        console.print(escape(str(event)))

    def get_renderables(self) -> Iterable[RenderableType]:
        if self.epochs is not None:
            yield self.epochs
        yield from super().get_renderables()


@contextmanager
def progress_bars(*, of_one_fit: bool = False) -> Iterator[None]:
    """Inside the `with` block, a bar for each stage of the work, and a table of training epochs.

    The table and all messages stay on the screen when the bars go.

    Args:
        of_one_fit: whether to say what a fit takes, which of many would be said too often.

    >>> with progress_bars():
    ...     pass
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
    )
    # Into a file or a pipe the bars would draw nothing but an empty line; older versions of
    # rich end even disabled ones with it, so they are not begun.
    shown = notes.is_terminal and not notes.quiet
    progress = _ProgressBars(*columns, console=notes, transient=True, disable=not shown)
    progress.of_one_fit = of_one_fit
    with progress if shown else nullcontext():
        tasks: dict[str, TaskID] = {}

        def draw(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage)
            visible = done < total
            progress.update(tasks[stage], completed=done, total=total, visible=visible)

        with listen(draw, progress.show):
            yield
        if progress.epochs is not None:
            notes.print(progress.epochs)


def _epoch_columns(epoch: EpochMetrics) -> tuple[str, ...]:
    return tuple(_epoch_values(epoch))


def _epoch_cells(epoch: EpochMetrics) -> list[str]:
    return list(_epoch_values(epoch).values())


def _epoch_values(epoch: EpochMetrics) -> dict[str, str]:
    """What is shown of an epoch, by the name of its column."""
    values = {"epoch": str(epoch.number), "loss": f"{epoch.loss:.4f}"}
    if len(epoch.losses) > 1:
        values |= {f"{name} loss": f"{loss:.4f}" for name, loss in epoch.losses.items()}
    if epoch.accuracy is not None:
        values["accuracy"] = f"{epoch.accuracy:.1%}"
    if epoch.validation_loss is not None:
        values["validation loss"] = f"{epoch.validation_loss:.4f}"
    if epoch.validation_accuracy is not None:
        values["validation accuracy"] = f"{epoch.validation_accuracy:.1%}"
    return {**values, "seconds": f"{epoch.seconds:.0f}"}


def _forecast_text(event: TrainingForecast) -> str:
    amount = f"{event.images} images in each of {event.epochs} epochs"
    duration = _format_duration(event.seconds)
    return f"{event.what} with {amount} takes about {duration} on this machine"


def _fit_text(event: FitForecast) -> str:
    memory, disk = _format_bytes(event.memory), _format_bytes(event.disk)
    duration = _format_duration(event.seconds)
    return (
        f"This fit of {event.images} images takes about {duration} more, {memory} of memory and "
        f"{disk} of disk"
    )


def _format_bytes(count: int) -> str:
    """An amount of bytes as text, in the unit that suits it.

    >>> [_format_bytes(count) for count in (2_600_000, 960_000_000, 1_340_000_000, 20_000_000_000)]
    ['3 MB', '0.96 GB', '1.3 GB', '20 GB']
    """
    if count < 100_000_000:
        return f"{count / 1e6:.0f} MB"
    return f"{count / 1e9:.2g} GB"


def _format_duration(seconds: float) -> str:
    """A time span as text, in the unit that suits its length.

    Args:
        seconds: the span, >= 0.

    >>> [_format_duration(seconds) for seconds in (7, 600, 9000)]
    ['7 s', '10 min', '2.5 h']
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def on_one_line(text: str) -> str:
    r"""Text for a line of rich's markup, such as the name of a file from anywhere.

    Args:
        text: what may hold line breaks, or sequences that terminals obey; they are shown escaped.

    Example:
        >>> on_one_line("new\nline [x].png")
        'new\\nline \\[x].png'
    """
    return escape("".join(map(_visible, as_text(text))))


def _visible(sign: str) -> str:
    return ascii(sign)[1:-1] if category(sign) in _BREAKING or sign in _REORDERING else sign


def print_fit_summary(calibration: Calibration, file: Path) -> None:
    """Print what was fitted, what the threshold guarantees, and what weakens the guarantee.

    Args:
        calibration: of the inspector.
        file: where the inspector was saved.
    """
    images = f"{len(calibration.scores)} good images"
    fitted = f"Fitted to {images}"
    if calibration.exact:
        fitted = f"Calibrated on {images} that it was not fitted to"
    out.print(f"{fitted} → {on_one_line(str(file))} ({file.stat().st_size / 1e6:.1f} MB)")
    if isinstance(calibration, ZoneCalibration):
        for name, part in calibration.by_zone.items():
            images = part.budget.images_text(len(part.scores))
            out.print(f"Region {on_one_line(name)} rejects {_threshold_text(part)}; {images}")
        out.print(calibration.total_text())
    else:
        out.print(f"Rejects {_threshold_text(calibration)}")
    print_warnings(calibration.warnings())


def _threshold_text(calibration: Calibration) -> str:
    return (
        f"beyond score {calibration.threshold:.4f}: "
        f"{calibration.expected_false_rejects:.2%} of good parts expected, at most "
        f"{calibration.false_reject_bound:.2%} with {calibration.certainty:.0%} confidence"
    )


def print_warnings(warnings: Sequence[str]) -> None:
    """Print what a user should know.

    Args:
        warnings: a sentence each.
    """
    for warning in warnings:
        err.print(f"[yellow]{escape(warning)}[/]", soft_wrap=False)
