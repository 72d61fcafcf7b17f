"""What the examples in docstrings start from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _example_names(
    request: pytest.FixtureRequest, doctest_namespace: dict[str, Any]
) -> Iterator[None]:
    """Give examples `np` and `torch`, and forget the methods that they register."""
    import torch

    from flawmap.methods import METHODS

    doctest_namespace |= {"np": np, "torch": torch}
    if not isinstance(request.node, pytest.DoctestItem):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_entries", "_sources", "_classes"):
            patch.setattr(METHODS, name, dict(getattr(METHODS, name)))
        yield
