"""Images are thinned by halves, as far as memory and disk need it, and no further."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from flawmap.errors import OptionError, WriteError
from flawmap.memory.forecast import FitSizes
from flawmap.methods import fit_memory
from flawmap.methods.fit_memory import choose_kept, least_memory

SIZES = FitSizes(
    images=100_000,
    patches=784,
    kept=784,
    channels=152,
    reduced=0,
    rows=5000,
    bank_channels=152,
    item_bytes=2,
    weights=3_000_000,
    threads=2,
)
BASE = 600_000_000


def sizes_for(kept: int) -> FitSizes:
    return replace(SIZES, kept=kept)


@pytest.fixture(autouse=True)
def room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_memory, "_room", lambda _: 20 * 10**9)


@pytest.mark.parametrize(
    ("memory", "kept"), [(10**10, 392), (3 * 10**9, 196), (1_500_000_000, 98), (10**9, 24)]
)
def test_less_memory_or_disk_keeps_fewer_patches(memory: int, kept: int) -> None:
    # All 784 take 24 GB of disk; 392 take 2.4 GB of memory.
    assert choose_kept(sizes_for, memory, BASE, Path()) == kept
    assert least_memory(sizes_for(kept), BASE) <= memory


def test_all_are_kept_where_there_is_room() -> None:
    few = replace(SIZES, images=1000)
    assert choose_kept(lambda kept: replace(few, kept=kept), 10**9, BASE, Path()) == 784


def test_an_image_keeps_enough_for_all_rows_of_the_bank() -> None:
    few = replace(SIZES, images=20)

    def sizes(kept: int) -> FitSizes:
        return replace(few, kept=kept, rows=min(5000, 20 * kept))

    least = least_memory(sizes(250), BASE)
    assert choose_kept(sizes, least_memory(sizes(784), BASE), BASE, Path()) == 784
    with pytest.raises(OptionError, match=f"takes {least / 1e9:.2f} GB at least"):
        choose_kept(sizes, 10**8, BASE, Path())


def test_what_an_earlier_run_kept_stays_where_there_is_memory_for_it() -> None:
    assert choose_kept(sizes_for, 3 * 10**9, BASE, Path(), before=98) == 98
    with pytest.raises(OptionError, match=r"or delete part\.scratch to begin anew"):
        choose_kept(sizes_for, 10**9, BASE, Path("part.scratch"), before=392)


def test_images_that_cannot_be_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_memory, "_room", lambda _: 10**9)

    def sizes(kept: int) -> FitSizes:
        return replace(SIZES, kept=kept, can_thin=False)

    with pytest.raises(WriteError, match=r"take 23833\.6 MB at least; .* half, 1000\.0 MB"):
        choose_kept(sizes, 10**11, BASE, Path())
