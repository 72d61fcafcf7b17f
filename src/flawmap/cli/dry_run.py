"""What a command would do, for `--dry-run`: what it would read, use and write."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from flawmap.cli.common import ExitCode
from flawmap.cli.console import on_one_line, out
from flawmap.cli.output import add_result
from flawmap.data.sample import Sample
from flawmap.data.wording import list_counts

_Counts = Mapping[str, Mapping[str, int]]
"""Number of images by split or folder, and in it by label or kind."""

DryRunOption = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Say what would be read, used and written, and do none of it. Exit code: "
        f"{ExitCode.ALL_GOOD} it could begin · {ExitCode.SOME_UNREADABLE} it would leave out what "
        f"cannot be used · {ExitCode.NOTHING_DONE} nothing could be done.",
    ),
]


def print_reads(source: object, images: _Counts, unused: _Counts | None = None) -> None:
    """Print which images would be read, and which would not.

    Args:
        source: where they are.
        images: how many, by split or folder, and in it by label or kind.
        unused: those that are there and would not be read.
    """
    unused = unused or {}
    add_result(dry_run=True, reads={"source": str(source), "images": images, "unused": unused})
    out.print(f"Would read {on_one_line(str(source))}: {_counts_text(images)}")
    if unused:
        out.print(f"Would not read {_counts_text(unused)}")


def print_settings(settings: Mapping[str, Any]) -> None:
    """Print what would be used.

    Args:
        settings: by name; None for what is not set.
    """
    add_result(settings=settings)
    typed = [
        f"{name.replace('_', ' ')} {_text(value)}"
        for name, value in settings.items()
        if value is not None
    ]
    out.print(f"Would use {on_one_line(', '.join(typed))}")


def print_writes(files: Iterable[Path], removed: Sequence[Path] = ()) -> None:
    """Print which files would be written, and which would be removed.

    Args:
        files: to be written.
        removed: results of an earlier run that would go.
    """
    writes = [{"file": str(file), "replaces": os.path.lexists(file)} for file in files]
    add_result(writes=writes, removes=[str(file) for file in removed])
    names = [
        f"{write['file']} (in place of the one there)" if write["replaces"] else str(write["file"])
        for write in writes
    ]
    out.print(f"Would write {on_one_line(', '.join(names))}")
    if removed:
        files_text = "1 file" if len(removed) == 1 else f"{len(removed)} files"
        out.print(f"Would remove {files_text} of an earlier run, first {_name(removed[0])}")


def images_by_split(samples: Iterable[Sample]) -> dict[str, dict[str, int]]:
    """Number of images by split, and in it by defect type.

    Args:
        samples: of a data set.

    Example:
        >>> images_by_split([Sample(Path("a.png"), "train"), Sample(Path("b.png"), "test", "dent")])
        {'train': {'good': 1}, 'test': {'dent': 1}}
    """
    counts: dict[str, Counter[str]] = {}
    for sample in samples:
        counts.setdefault(sample.split, Counter())[sample.defect_type] += 1
    return {split: dict(sorted(of_split.items())) for split, of_split in counts.items()}


def images_by_folder(paths: Iterable[Path]) -> dict[str, dict[str, int]]:
    """Number of images by folder.

    Args:
        paths: of images.
    """
    counts = Counter(str(path.parent) for path in paths)
    return {folder: {"images": count} for folder, count in counts.items()}


def why_not_opened(path: Path) -> str:
    """Why a file cannot be read, as far as can be told without reading it; empty where it can.

    Args:
        path: of an image.

    Example:
        >>> why_not_opened(Path("nowhere.png"))
        'nowhere.png: No such file or directory'
    """
    try:
        status = path.stat()
    except OSError as error:
        return f"{path}: {error.strerror}"
    if not stat.S_ISREG(status.st_mode):
        return f"{path}: no regular file, so it would not be opened"
    if not os.access(path, os.R_OK):
        return f"{path}: may not be read"
    return "" if status.st_size else f"{path}: the file is empty"


def _name(file: Path) -> str:
    return on_one_line(str(file))


def _counts_text(images: _Counts) -> str:
    parts = [f"{split}: {list_counts(counts)}" for split, counts in images.items()]
    return on_one_line(" · ".join(parts) or "no images")


def _text(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " × ".join(map(str, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
