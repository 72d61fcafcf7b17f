"""The command line: a file per command.

What is printed, drawn or written for the user is in this package and in no other.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path
from signal import Signals
from typing import Annotated

import typer
from typer.models import CommandInfo

from flawmap._version import __version__
from flawmap.cli import (
    check_cell,
    demo,
    evaluate,
    export,
    figure,
    fit,
    info,
    inspect,
    methods,
    preview,
    record,
    serve,
    split,
    station,
    table,
    threshold,
)
from flawmap.cli.common import ExitCode, app
from flawmap.cli.console import err, on_one_line, out
from flawmap.cli.streams import prepare_streams
from flawmap.errors import FlawmapError
from flawmap.support.atomic import count_completed
from flawmap.support.optional_deps import explain_import_error
from flawmap.support.signals import catch_signals, received_signal
from flawmap.support.system import is_out_of_memory

_COMMAND_ORDER = (
    "preview",
    "fit",
    "inspect",
    "info",
    "threshold",
    "evaluate",
    "export",
    "split",
    "serve",
    "methods",
    "demo",
    "table",
    "figure",
    "check_cell",
)
"""The commands in the order in which a user comes to need them; the help lists them so."""

_SIGNAL_CODE = 128
"""The exit code of a program that a signal ended is this and the signal's number."""

__all__ = [
    "app",
    "check_cell",
    "demo",
    "evaluate",
    "export",
    "figure",
    "fit",
    "info",
    "inspect",
    "main",
    "methods",
    "preview",
    "record",
    "serve",
    "split",
    "station",
    "table",
    "threshold",
]


def _position(command: CommandInfo) -> int:
    name = getattr(command.callback, "__name__", "")
    return _COMMAND_ORDER.index(name) if name in _COMMAND_ORDER else len(_COMMAND_ORDER)


app.registered_commands.sort(key=_position)


def _version(requested: bool) -> bool:
    if requested:
        out.print(f"flawmap {__version__}")
        raise typer.Exit
    return requested


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    del version


def main() -> None:
    """Run the command line; an error of flawmap's becomes one line and an exit code.

    Ends with 128 + its number after a signal that asked it to end.
    """
    prepare_streams()
    catch_signals()
    _limit_spinning()
    _silence_libraries()
    warnings.showwarning = _show_warning
    code = _run() if _is_somewhere() else ExitCode.NOTHING_DONE
    number = received_signal()
    sys.exit(code if number is None else _SIGNAL_CODE + number)


def _is_somewhere() -> bool:
    """Whether the folder that this runs in is there; without it torch ends the process."""
    try:
        Path.cwd()
    except OSError:
        _print_line("the folder that this was started in is not there any more; cd to another one")
        return False
    return True


def _run() -> int:
    """Exit code of the command that was typed."""
    try:
        code = app(standalone_mode=False)
    except (KeyboardInterrupt, Exception) as error:
        # What an interrupted import raises is no KeyboardInterrupt.
        if received_signal() is None:
            _print_error(error)
        code = ExitCode.NOTHING_DONE
    if (number := received_signal()) is not None:
        _print_interruption(number)
    return int(code or 0)


def _print_error(error: BaseException) -> None:
    """Print why a command did not do its work, in one line if it is no mistake of ours."""
    if isinstance(error, ImportError):
        error = explain_import_error(error)
    if isinstance(error, FlawmapError):
        _print_line(str(error))
    elif isinstance(error, ImportError) and not (error.name or "").startswith("flawmap"):
        reason = f"a package that it needs cannot be imported ({error})"
        _print_line(f"{reason}; install flawmap again")
    elif is_out_of_memory(error):
        _print_line("there is not enough memory; close other programs, or use smaller images")
    elif isinstance(error, OSError) and error.strerror:
        _print_line(": ".join([*map(str, filter(None, [error.filename])), error.strerror]))
    else:
        # A usage error knows how to show itself. All else is a mistake of ours, and its exit code
        # must not read as a verdict.
        getattr(error, "show", err.print_exception)()


def _print_line(message: str) -> None:
    err.print(f"[red]flawmap:[/] {on_one_line(message)}")


def _print_interruption(number: int) -> None:
    count = count_completed()
    files = "1 file" if count == 1 else f"{count} files"
    written = f"{files} had been written, complete" if count else "nothing was written"
    _print_line(f"stopped by {Signals(number).name}; {written}")


def _limit_spinning() -> None:
    # Where another program wants the cores too, torch's threads (GNU OpenMP) wait for each other by
    # spinning, and take twenty times as long as alone. Spinning briefly costs nothing when alone.
    # The variable is read when torch is loaded.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    err.print(f"[yellow]{on_one_line(str(message))}[/]")


def _silence_libraries() -> None:
    # OpenVINO warns by the root logger where its telemetry cannot write to the home folder.
    logging.getLogger().setLevel(logging.ERROR)
    # What OpenCV and the hub print beside our message says the same at length.
    from cv2.utils import logging as cv2_logging

    cv2_logging.setLogLevel(cv2_logging.LOG_LEVEL_SILENT)
    # Read when the hub's package is imported, which sets the level of its logger.
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
