"""The command line: a file per command.

What is printed, drawn or written for the user is in this package and in no other.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from typing import Annotated

import typer
from rich.markup import escape
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
    split,
    table,
    threshold,
)
from flawmap.cli.common import ExitCode, app
from flawmap.cli.console import err, on_one_line, out
from flawmap.errors import FlawmapError
from flawmap.support.optional_deps import explain_import_error

_COMMAND_ORDER = (
    "fit",
    "inspect",
    "info",
    "threshold",
    "evaluate",
    "export",
    "split",
    "methods",
    "demo",
    "table",
    "figure",
    "check_cell",
)
"""The commands in the order in which a user comes to need them; the help lists them so."""

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
    "split",
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
    """Run the command line; an error of flawmap's becomes one line and an exit code."""
    _limit_spinning()
    _silence_libraries()
    warnings.showwarning = _show_warning
    try:
        code = app(standalone_mode=False)
    except (FlawmapError, ImportError) as error:
        explained = explain_import_error(error) if isinstance(error, ImportError) else error
        if not isinstance(explained, FlawmapError):
            raise
        err.print(f"[red]flawmap:[/] {on_one_line(str(explained))}")
        code = ExitCode.NOTHING_DONE
    except Exception as error:
        # A usage error knows how to show itself. All else is a mistake of ours, and its exit code
        # must not read as a verdict.
        getattr(error, "show", err.print_exception)()
        code = ExitCode.NOTHING_DONE
    sys.exit(code)


def _limit_spinning() -> None:
    # Where another program wants the cores too, torch's threads (GNU OpenMP) wait for each other by
    # spinning, and take twenty times as long as alone. Spinning briefly costs nothing when alone.
    # The variable is read when torch is loaded.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    err.print(f"[yellow]{escape(str(message))}[/]")


def _silence_libraries() -> None:
    # What OpenCV and the hub print beside our message says the same at length.
    from cv2.utils import logging as cv2_logging

    cv2_logging.setLogLevel(cv2_logging.LOG_LEVEL_SILENT)
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
