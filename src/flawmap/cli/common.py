"""What the commands share: the application, its exit codes, and option types."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flawmap.errors import OptionError

if TYPE_CHECKING:
    from flawmap.data.tile_size import TileSize


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


def parse_budgets(texts: Sequence[str]) -> dict[str, float]:
    """Budgets of regions by name.

    Args:
        texts: a name and a fraction each, as bore=0.05.

    Raises:
        OptionError: a text is no such pair, or a name stands twice.

    >>> parse_budgets(["bore=0.05", "#ff0000=0.01"])
    {'bore': 0.05, '#ff0000': 0.01}
    """
    budgets: dict[str, float] = {}
    for text in texts:
        name, _, fraction = text.rpartition("=")
        try:
            value = float(fraction)
        except ValueError:
            name = ""
        if not name:
            raise OptionError(f"--region-budget {text}; write a name and a fraction, as bore=0.05")
        if name in budgets:
            raise OptionError(f"--region-budget {text}: the region {name} has a budget already")
        budgets[name] = value
    return budgets


def parse_tile(tile: str | None, overlap: float | None) -> TileSize:
    """The tiles that images are cut into.

    Args:
        tile: side of a tile in pixels, or auto.
        overlap: fraction of a tile that its neighbours share; None for the default.

    Raises:
        OptionError: there is no tile, or it is neither, or a value is out of its range.

    >>> parse_tile("256", None)
    TileSize(pixels=256, overlap=0.25)
    """
    from flawmap.data.tile_size import TileSize

    if tile is None:
        raise OptionError(f"--overlap {overlap} without --tile; add --tile 512")
    if tile.lower() != "auto" and not tile.isdecimal():
        raise OptionError(f"--tile {tile}; use the side of a tile in pixels, such as 512, or auto")
    pixels = int(tile) if tile.isdecimal() else None
    return TileSize(pixels) if overlap is None else TileSize(pixels, overlap)


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
