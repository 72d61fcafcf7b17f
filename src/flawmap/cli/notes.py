"""What was found in folders and manifests, as lines: what was left out, and why."""

from __future__ import annotations

from collections.abc import Iterable

from flawmap.cli.console import err, on_one_line


def print_left_out(notes: Iterable[str], unusable: Iterable[str]) -> None:
    """Print what was passed over, and what cannot be used.

    Args:
        notes: what was passed over, a sentence each.
        unusable: what cannot be used, a sentence each.
    """
    for note in notes:
        err.print(f"[yellow]note:[/] {on_one_line(note)}")
    for line in unusable:
        err.print(f"[yellow]skipped:[/] {on_one_line(line)}")
