"""How many patches of each image a fit can keep, within its memory and the room on the disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from flawmap.errors import OptionError, WriteError
from flawmap.memory.forecast import FitSizes

_MOST_SCRATCH = 20 * 10**9
"""Bytes of vectors on the disk beyond which each image is thinned."""

_MARGIN = 30_000_000
"""Bytes that the same fit may take more another time."""

_MOST_OF_FREE = 0.5
"""Part of the free disk that vectors may take."""


def choose_kept(
    sizes_for: Callable[[int], FitSizes], limit: int, base: int, folder: Path, before: int = 0
) -> int:
    """How many patches of each image are kept: all, or a half, a quarter, … of them.

    Halves, so that a little more or less free memory makes no other fit of the same images. An
    image keeps enough for the bank to have all its rows.

    Args:
        sizes_for: of the fit, by the number of patches that an image keeps.
        limit: most resident memory of this process, in bytes.
        base: what is resident now, with the encoder ready.
        folder: for the vectors.
        before: what an earlier run of the same fit kept, which stays; 0 for no such run.

    Raises:
        OptionError: the memory is less than the least possible.
        WriteError: the disk has no room for the least possible.
    """
    patches = sizes_for(1).patches
    fewest = _fewest(sizes_for, patches)
    choices = [before]
    if not before:
        choices = [patches >> halvings for halvings in range(patches.bit_length())]
        choices = [kept for kept in choices if kept > fewest] + [fewest]
    room = _room(folder)
    for kept in choices:
        sizes = sizes_for(kept)
        has_memory = least_memory(sizes, base) <= limit
        if has_memory and (before or sizes.vector_bytes <= room):
            return kept
    sizes = sizes_for(choices[-1])
    least = least_memory(sizes, base)
    if least > limit:
        anew = f", or delete {folder} to begin anew with fewer patches" if before else ""
        raise OptionError(
            f"a memory limit of {limit / 1e9:.2f} GB; this fit takes {least / 1e9:.2f} GB at "
            "least, with its vectors on the disk; allow that, or use a smaller backbone, fewer "
            f"rows of the bank or fewer images{anew}"
        )
    raise WriteError(
        f"{folder}: no room for the vectors of good images, which take "
        f"{sizes.vector_bytes / 1e6:.1f} MB at least; of the free disk they may take half, "
        f"{room / 1e6:.1f} MB; free some, or write to another disk"
    )


def least_memory(sizes: FitSizes, base: int) -> int:
    """Most resident memory of a fit whose vectors are on the disk, in bytes.

    Args:
        sizes: of the fit.
        base: what is resident when its first images are embedded.
    """
    return base + max(sizes.search_bytes, sizes.graph_bytes, sizes.decoding_bytes) + _MARGIN


def thinning_note(kept: int, patches: int, unit: str) -> str:
    """What a user should know of a fit whose images are thinned.

    Args:
        kept: patches of an image, or of a tile.
        patches: that it has.
        unit: `image` or `tile`.
    """
    return (
        f"Each {unit} kept {kept} of its {patches} patches for the bank to choose from, since all "
        "of them had no room within --memory or on the disk. Scores are those of all patches."
    )


def _fewest(sizes_for: Callable[[int], FitSizes], patches: int) -> int:
    whole = sizes_for(patches)
    if not whole.can_thin:
        return patches
    return min(patches, max(1, -(-whole.rows // max(1, whole.images))))


def _room(folder: Path) -> int:
    """Bytes that vectors may take on the disk."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return min(_MOST_SCRATCH, int(_MOST_OF_FREE * shutil.disk_usage(folder).free))
