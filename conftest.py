"""Names that the examples in docstrings may use without importing them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _example_names(doctest_namespace: dict[str, Any]) -> None:
    """Give examples `np` and `torch`."""
    import torch

    doctest_namespace |= {"np": np, "torch": torch}
