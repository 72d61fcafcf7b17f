"""The bytes are those of safetensors itself."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save

from flawmap.runtime.saved_pieces import saved_pieces

TYPES = ["?", "B", "b", "H", "h", "e", "I", "i", "f", "Q", "q", "d"]
METADATA = {"key": 'a "text" of\nlines \\ with ü, \x1f and \x7f'}


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 1), (2, 3, 5)])
def test_the_bytes_are_those_of_safetensors(shape: tuple[int, ...]) -> None:
    generator = np.random.default_rng(0)
    arrays = {
        f"{name}.{kind} ü{number}": np.asarray(generator.integers(0, 2, shape), kind)
        for number, kind in enumerate(TYPES)
        for name in ("b", "a", "A_")
    }
    for metadata in (METADATA, {"key": "x" * len(shape)}):
        header, bodies = saved_pieces(arrays, metadata)
        assert b"".join([header, *bodies]) == save(arrays, metadata)


def test_arrays_in_any_order_and_byte_order() -> None:
    ordered = np.arange(6.0).reshape(2, 3)
    arrays = {"big": ordered.astype(">f8"), "column": np.asfortranarray(ordered)}
    header, bodies = saved_pieces(arrays, {})
    expected = save({"big": ordered, "column": ordered}, {})
    assert b"".join([header, *bodies])[-96:] == expected[-96:]


def test_no_array_is_copied() -> None:
    array = np.zeros((4, 5), np.float32)
    (body,) = saved_pieces({"a": array}, {}).bodies
    assert np.shares_memory(np.frombuffer(body, np.uint8), array)
