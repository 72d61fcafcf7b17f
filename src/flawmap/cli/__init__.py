"""The command line: a file per command. Prints, bars and files are here and in `console.py`, nowhere below."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from typing import Annotated

import typer
from rich.markup import escape

from flawmap._version import __version__
from flawmap.cli import check_cell, evaluate, export, fit, inspect, split, table, threshold
from flawmap.cli import methods as others
from flawmap.cli.common import NOTHING_DONE, app
from flawmap.cli.console import err, out
from flawmap.errors import FlawmapError
from flawmap.support.optional_deps import explain_import_error

AS_USED = (
    "fit",
    "inspect",
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
"""The commands in the order in which a user comes to need them, as the help lists them."""

app.registered_commands.sort(key=lambda command: AS_USED.index(getattr(command.callback, "__name__", "")))

__all__ = ["app", "check_cell", "evaluate", "export", "fit", "inspect", "main", "others", "split", "table", "threshold"]


def _version(asked: bool) -> bool:
    if asked:
        out.print(f"flawmap {__version__}")
        raise typer.Exit
    return asked


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")] = False,
) -> None:
    del version


def main() -> None:
    """Run the command line; an error of flawmap's becomes one line and an exit code."""
    _share_the_cores()
    _silence_libraries()
    warnings.showwarning = _show_warning
    try:
        code = app(standalone_mode=False)
    except (FlawmapError, ImportError) as error:
        explained = explain_import_error(error) if isinstance(error, ImportError) else error
        if not isinstance(explained, FlawmapError):
            raise
        err.print(f"[red]flawmap:[/] {escape(str(explained))}")
        code = NOTHING_DONE
    except Exception as error:
        # A wrong word on the command line knows how to show itself. All else is a mistake of ours, whose exit code must
        # not read as a verdict.
        getattr(error, "show", err.print_exception)()
        code = NOTHING_DONE
    sys.exit(code)


def _share_the_cores() -> None:
    # Where another program wants the cores too, torch's threads (GNU OpenMP) wait for each other by spinning, and take
    # twenty times as long as alone. Spinning briefly costs nothing when alone. Read when torch is loaded.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    err.print(f"[yellow]{escape(str(message))}[/]")


def _silence_libraries() -> None:
    # What OpenCV and the hub print beside our message says the same at length.
    from cv2.utils import logging as cv2_logging

    cv2_logging.setLogLevel(cv2_logging.LOG_LEVEL_SILENT)
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
