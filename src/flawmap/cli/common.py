"""What the commands share: the application, its exit codes, and option types."""

from __future__ import annotations

import re
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from flawmap.errors import OptionError


class ExitCode(IntEnum):
    """What a command did, as its exit code says it."""

    ALL_GOOD = 0
    SOME_REJECTED = 1
    SOME_UNREADABLE = 2
    NOTHING_DONE = 3


EXIT_CODES = f"""Exit code: {ExitCode.ALL_GOOD} all good · {ExitCode.SOME_REJECTED} some rejected ·
{ExitCode.SOME_UNREADABLE} some images or products could not be used (the others were done) ·
{ExitCode.NOTHING_DONE} nothing was done, the message says why."""
"""Last line of the help of most commands."""

app = typer.Typer(
    name="flawmap",
    help="Is fitted to images of good parts only, and shows where a new part differs.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

InspectorFile = Annotated[
    Path,
    typer.Argument(
        help="The file that `flawmap fit` wrote, or a folder of such files.",
        metavar="INSPECTOR.flawmap",
    ),
]
OutputFolder = Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")]
SeedOption = Annotated[
    int, typer.Option(help="Seed of everything random: the same seed gives the same file.")
]
ConfidenceOption = Annotated[
    float | None,
    typer.Option(
        help="0.95 to be 95 % sure of the budget with this very threshold; else the budget holds "
        "on average."
    ),
]
PrecisionOption = Annotated[
    Literal["f32", "bf16", "int8"] | None,
    typer.Option(
        "--precision",
        help="What the network computes in; unless given, what the file was fitted in (f32 by "
        "default).",
    ),
]
MinAreaOption = Annotated[
    int,
    typer.Option(
        help="Omit regions of fewer pixels; the verdict does not change.", min=0, metavar="PIXELS"
    ),
]


def parse_memory(text: str) -> int:
    """An amount of memory in bytes.

    Args:
        text: a number and a unit, as 1GB, 800 MB or 1.5GiB.

    Raises:
        OptionError: the text is no such amount.

    >>> parse_memory("1GB"), parse_memory("1.5 GiB")
    (1000000000, 1610612736)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT])(I?)B\s*", text, re.IGNORECASE)
    if not match:
        raise OptionError(f"memory {text!r} is no amount; write a number and a unit, as 1GB")
    number, letter, binary = match.groups()
    return int(float(number) * (1024 if binary else 1000) ** (1 + "KMGT".index(letter.upper())))


def parse_size(text: str) -> tuple[int, int]:
    """Height and width of a network's input, in pixels.

    Args:
        text: one side of a square, or HEIGHTxWIDTH.

    Raises:
        OptionError: the text is neither.

    >>> parse_size("224"), parse_size("224x320")
    ((224, 224), (224, 320))
    """
    try:
        sides = [int(side) for side in text.lower().split("x")]
    except ValueError:
        sides = []
    if len(sides) not in (1, 2):
        raise OptionError(
            f"size {text!r} is neither a number of pixels nor HEIGHTxWIDTH; write 224 or 224x320"
        )
    return sides[0], sides[-1]
