"""The bytes of a safetensors file in pieces, so that no copy of all arrays is in memory.

`safetensors.save` copies each array and then all of them: three times a WideResNet's 209 MB, which
was the peak of its fit. The bytes are the same.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

# In the order in which safetensors writes them backwards: what is aligned widely comes first.
_TYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "int16": "I16",
    "uint16": "U16",
    "float16": "F16",
    "int32": "I32",
    "uint32": "U32",
    "float32": "F32",
    "float64": "F64",
    "int64": "I64",
    "uint64": "U64",
}
_RANKS = {name: rank for rank, name in enumerate(_TYPES)}
_ALIGNMENT = 8
"""The header ends at a multiple of so many bytes."""


class SavedPieces(NamedTuple):
    """A safetensors file in pieces.

    Args:
        header: its first bytes.
        bodies: the numbers of each array, in order, without a copy of them.
    """

    header: bytes
    bodies: list[memoryview]


def saved_pieces(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> SavedPieces:
    """What `safetensors.numpy.save` gives, in pieces.

    Args:
        arrays: by name, of types that safetensors has.
        metadata: texts by name.

    Example:
        >>> from safetensors.numpy import save
        >>> arrays = {"a": np.zeros((2, 2), np.float32), "b": np.ones(3, np.uint8)}
        >>> header, bodies = saved_pieces(arrays, {"key": "text"})
        >>> b"".join([header, *bodies]) == save(arrays, {"key": "text"})
        True
    """
    names = sorted(arrays, key=lambda name: (-_RANKS[arrays[name].dtype.name], name.encode()))
    entries: dict[str, Any] = {"__metadata__": dict(metadata)}
    bodies = []
    end = 0
    for name in names:
        array = arrays[name]
        start, end = end, end + array.nbytes
        kind = _TYPES[array.dtype.name]
        entries[name] = {"dtype": kind, "shape": array.shape, "data_offsets": (start, end)}
        ordered = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
        bodies.append(ordered.reshape(-1).view(np.uint8).data)
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return SavedPieces(struct.pack("<Q", len(text)) + text, bodies)
