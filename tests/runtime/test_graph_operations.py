from __future__ import annotations

import pytest

from flawmap.runtime.graph_operations import is_known


@pytest.mark.parametrize("opset", ["opset1", "opset16"])
def test_standard_operations_are_known(opset: str) -> None:
    assert is_known("MatMul", opset)


@pytest.mark.parametrize(
    ("operation", "opset"),
    [
        ("MatMul", "opset17"),
        ("MatMul", "opset0"),
        ("MatMul", "opset"),
        ("MatMul", "extension"),
        ("MatMul", "Opset1"),
        ("matmul", "opset1"),
        ("Assign", "opset6"),
        ("Loop", "opset5"),
        ("StringTensorPack", "opset15"),
        ("", ""),
    ],
)
def test_others_are_not(operation: str, opset: str) -> None:
    assert not is_known(operation, opset)
