"""Which images `flawmap inspect` inspects, which it leaves out, and the names of overlays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from flawmap.data.listing import Folder, counting_suffixes, passed_over, unusable
from flawmap.errors import DatasetError


class NamedImage(NamedTuple):
    """An image to inspect.

    Args:
        path: of the image.
        overlay: file of its overlay, below the folder of the results.
    """

    path: Path
    overlay: str


class ImagesToInspect(NamedTuple):
    """What is inspected, and what is not.

    Args:
        images: in the order in which they are inspected. A folder that cannot be read stands among
            them, so that it has a row with the error.
        notes: what was passed over, a sentence each.
        unusable: what cannot be used and is not opened, a sentence each.
    """

    images: list[NamedImage]
    notes: list[str]
    unusable: list[str]


def images_to_inspect(arguments: Iterable[Path]) -> ImagesToInspect:
    """The images to inspect, each with its overlay's name: its path below the named folder.

    Args:
        arguments: images, and folders, which are inspected with all folders in them.

    Raises:
        DatasetError: there are no images in a folder.
    """
    paths: list[Path] = []
    names: list[str] = []
    folders: list[Folder] = []
    for argument in arguments:
        below = Folder(argument).walk() if argument.is_dir() else []
        named = _by_name(below) if argument.is_dir() else {argument.name: argument}
        if not named:
            reasons = "; ".join([*passed_over(below), *unusable(below)])
            raise DatasetError(
                f"{argument}: no images in this folder; files with {counting_suffixes()} count"
                f"{reasons and f' ({reasons})'}"
            )
        names += named
        paths += named.values()
        folders += below
    overlays = [f"overlays/{name}.png" for name in unique_names(names)]
    images = [NamedImage(*pair) for pair in zip(paths, overlays, strict=True)]
    readable = [folder for folder in folders if not folder.error]
    return ImagesToInspect(images, passed_over(folders), unusable(readable))


def product_folders(roots: Iterable[Path]) -> dict[str, Path]:
    """The folders in some folders, by name; the last of one name counts.

    Args:
        roots: folders with a subfolder for each product.
    """
    return {folder.name: folder.path for root in roots for folder in Folder(root).folders}


def _by_name(folders: Iterable[Folder]) -> dict[str, Path]:
    """The images of some folders, and closed folders, in the order of their paths."""
    found: dict[tuple[str, ...], Path] = {}
    for folder in folders:
        if folder.error:
            found[folder.parts or (folder.name,)] = folder.path
        for name in folder.images:
            found[*folder.parts, name] = folder.path / name
    return {"/".join(parts): found[parts] for parts in sorted(found)}


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
