"""Rows in a file are read as those of a tensor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flawmap.memory.bank import Bank
from flawmap.memory.choose_coreset import choose_coreset
from flawmap.memory.leave_out import LeaveOut
from flawmap.memory.scratch_rows import ScratchRows


def clusters(rows: int, channels: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(40, channels, generator=generator)
    noise = torch.randn(rows, channels, generator=generator)
    chosen = torch.randint(40, (rows,), generator=generator)
    return (centres[chosen] + 0.3 * noise).half()


def in_file(folder: Path, vectors: torch.Tensor) -> ScratchRows:
    rows = ScratchRows(folder / "vectors", vectors.shape[1], vectors.dtype)
    for block in vectors.split(1000):
        rows.append(block)
    return rows


@given(data=st.data())
def test_rows_are_those_of_the_tensor(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    vectors = clusters(data.draw(st.integers(1, 3000)))
    rows = in_file(tmp_path_factory.mktemp("rows"), vectors)
    assert rows.shape == vectors.shape
    start, stop = data.draw(st.integers(-5, 3005)), data.draw(st.integers(-5, 3005))
    step = data.draw(st.integers(1, 5))
    assert torch.equal(rows[start:stop:step], vectors[start:stop:step])
    numbers = torch.tensor(data.draw(st.lists(st.integers(0, len(vectors) - 1))), dtype=torch.long)
    assert torch.equal(rows[numbers], vectors[numbers])
    assert torch.equal(rows.index_select(0, numbers), vectors[numbers])
    assert torch.equal(torch.cat(list(rows.split(700))), vectors)


def test_coreset_and_leave_out_are_the_same_from_a_file(tmp_path: Path) -> None:
    vectors = clusters(4000)
    rows = in_file(tmp_path, vectors)
    picks = choose_coreset(vectors, 0.05)
    assert torch.equal(choose_coreset(rows, 0.05), picks)
    bank = Bank(vectors[picks].float(), picks // 100)
    groups = torch.arange(40)
    in_memory = LeaveOut(bank, vectors, groups)
    from_file = LeaveOut(bank, rows, groups)
    for (index, _, expected), (other, _, found) in zip(
        in_memory.each_image(), from_file.each_image(), strict=True
    ):
        assert index == other
        assert torch.equal(found.distances, expected.distances)
        assert torch.equal(found.rows, expected.rows)


def test_what_was_appended_is_there_again(tmp_path: Path) -> None:
    vectors = clusters(30)
    in_file(tmp_path, vectors)
    with (tmp_path / "vectors").open("ab") as stream:
        stream.write(b"half a row")
    rows = ScratchRows(tmp_path / "vectors", 12, torch.float16)
    assert len(rows) == 30
    rows.truncate(20)
    rows.append(vectors[20:])
    assert torch.equal(rows[:], vectors)


def test_a_file_larger_than_memory_takes_none(tmp_path: Path) -> None:
    rows = ScratchRows(tmp_path / "vectors", 1024, torch.float16)
    with rows.file.open("wb") as stream:
        stream.truncate(2 * 1024 * 2**24)  # 34 GB of zeros, which take no room on the disk
    rows = ScratchRows(rows.file, 1024, torch.float16)
    picked = torch.from_numpy(np.random.default_rng(0).integers(0, 2**24, 5000))
    assert not rows[picked].any()
    assert not rows[2**24 - 3 :].any()
