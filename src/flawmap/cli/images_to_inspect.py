"""Which images `flawmap inspect` inspects, and the names of their overlays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from flawmap.errors import DatasetError


class NamedImage(NamedTuple):
    path: Path
    overlay: str
    """File of its overlay, below the folder of the results."""


def product_folders(roots: Iterable[Path]) -> dict[str, Path]:
    folders: dict[str, Path] = {}
    for root in roots:
        for path in sorted(root.glob("*")):
            if path.is_dir():
                folders[path.name] = path
    return folders


def images_to_inspect(arguments: Iterable[Path]) -> list[NamedImage]:
    """The images to inspect, each with its overlay's name: its path below the named folder."""
    from flawmap.data.layouts import images_below

    paths: list[Path] = []
    names: list[str] = []
    for argument in arguments:
        below = images_below(argument) if argument.is_dir() else [argument]
        if not below:
            raise DatasetError(f"{argument}: no images in this folder")
        base = argument if argument.is_dir() else argument.parent
        paths += below
        names += [path.relative_to(base).as_posix() for path in below]
    overlays = [f"overlays/{name}.png" for name in unique_names(names)]
    return [NamedImage(*pair) for pair in zip(paths, overlays, strict=True)]


def unique_names(names: Iterable[str]) -> Iterator[str]:
    """The names; a name that occurred before gets a number behind it.

    A name depends on those before it only. Names that differ in upper and lower case count as the
    same, as they do in the file systems of Windows and macOS.

    Args:
        names: names of files.

    Example:
        >>> list(unique_names(["a.png", "b.png", "A.png", "a.png"]))
        ['a.png', 'b.png', 'A.png (2)', 'a.png (3)']
    """
    used: set[str] = set()
    numbers: Counter[str] = Counter()
    for name in names:
        key = name.casefold()
        unique = name
        while unique.casefold() in used:
            numbers[key] += 1
            unique = f"{name} ({numbers[key] + 1})"
        used.add(unique.casefold())
        yield unique
