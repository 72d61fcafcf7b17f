"""Rows of numbers in a file, for more of them than memory holds.

What is read becomes a tensor in memory; the rest takes none. Nothing is mapped: mapped pages count
as this process's memory, and each row brings the pages around it, up to a whole file in the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flawmap.errors import WriteError
from flawmap.support.tensors import Patches

_NUMPY_TYPES: dict[torch.dtype, np.dtype[Any]] = {
    torch.float16: np.dtype(np.float16),
    torch.float32: np.dtype(np.float32),
}


class ScratchRows:
    """Rows of numbers in a file; read like a tensor (row, channel) on the CPU.

    Args:
        file: that holds them, row by row without a header; it is made where there is none.
        channels: numbers of a row.
        dtype: of the numbers, float16 or float32, in this machine's byte order.

    Example:
        >>> file = getfixture("tmp_path") / "vectors"
        >>> rows = ScratchRows(file, channels=2, dtype=torch.float16)
        >>> rows.append(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
        >>> rows[torch.tensor([2, 0])]
        tensor([[5., 6.],
                [1., 2.]], dtype=torch.float16)
        >>> len(rows), rows.shape
        (3, torch.Size([3, 2]))
    """

    device = torch.device("cpu")
    """Where the tensors are that are read."""

    def __init__(self, file: Path, channels: int, dtype: torch.dtype) -> None:
        self.file = file
        self.dtype = dtype
        self._channels = channels
        self._type = _NUMPY_TYPES[dtype]
        self._row_bytes = channels * self._type.itemsize
        file.touch()
        self._count = file.stat().st_size // self._row_bytes

    def __len__(self) -> int:
        """The number of complete rows."""
        return self._count

    @property
    def shape(self) -> torch.Size:
        """Number of rows, and of numbers in each."""
        return torch.Size((self._count, self._channels))

    def append(self, rows: Tensor) -> None:
        """Add rows at the end.

        Args:
            rows: (row, channel), of any floating type.

        Raises:
            WriteError: there is no space.
        """
        content = rows.to(self.dtype).contiguous().numpy()
        try:
            with self.file.open("ab", buffering=0) as stream:
                content.tofile(stream)
        except OSError as error:
            raise WriteError(
                f"{self.file}: no room for the vectors of good images ({error.strerror})"
            ) from error
        self._count += len(rows)

    def truncate(self, count: int) -> None:
        """Keep the first rows only.

        Args:
            count: how many, at most as many as there are.
        """
        with self.file.open("r+b") as stream:
            stream.truncate(count * self._row_bytes)
        self._count = count

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        """These rows, (row, channel).

        Args:
            rows: a slice, or numbers of rows in any order.
        """
        if isinstance(rows, slice):
            start, stop, step = rows.indices(self._count)
            stop = max(start, stop)
            if step == 1:
                return self._read(start, stop)
            rows = torch.arange(start, stop, step)
        return self._gather(rows)

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        """These rows, as `__getitem__` gives them.

        Args:
            dim: the axis, which is that of the rows.
            rows: their numbers.
        """
        assert dim == 0, "only rows can be selected"
        return self._gather(rows)

    def split(self, rows: int) -> Iterator[Tensor]:
        """All rows in order, in blocks.

        Args:
            rows: of a block, 1 or more; the last may have fewer.
        """
        for start in range(0, self._count, rows):
            yield self[start : start + rows]

    def new_empty(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """A tensor in memory, of the rows' type unless another is given.

        Args:
            shape: of the tensor.
            dtype: its type.
        """
        return torch.empty(*shape, dtype=dtype or self.dtype)

    def new_ones(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """A tensor of ones in memory, of the rows' type unless another is given.

        Args:
            shape: of the tensor.
            dtype: its type.
        """
        return torch.ones(*shape, dtype=dtype or self.dtype)

    def _read(self, start: int, stop: int) -> Tensor:
        count = stop - start
        numbers = np.fromfile(
            self.file, self._type, count * self._channels, offset=start * self._row_bytes
        )
        return torch.from_numpy(numbers.reshape(count, self._channels))

    def _gather(self, rows: Tensor) -> Tensor:
        result: np.ndarray[Any, Any] = np.empty((len(rows), self._channels), self._type)
        content = result.reshape(-1).view(np.uint8).data
        size = self._row_bytes
        with self.file.open("rb", buffering=0) as stream:
            for number, row in enumerate(rows.tolist()):
                stream.seek(row * size)
                stream.readinto(content[number * size : (number + 1) * size])
        return torch.from_numpy(result)


PatchRows = Patches | ScratchRows
"""One vector per patch, in memory or in a file."""
