"""What the examples in docstrings start from, and what no test leaves behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _example_names(doctest_namespace: dict[str, Any]) -> None:
    """Examples have `np` and `torch`."""
    import torch

    doctest_namespace |= {"np": np, "torch": torch}


@pytest.fixture(autouse=True)
def _registries_as_before() -> Iterator[None]:
    """What an example or a test registers is forgotten after it."""
    from flawmap.features.context import CONTEXTS
    from flawmap.features.reducers import REDUCERS
    from flawmap.features.registration import REGISTRATIONS
    from flawmap.memory.bank import IMAGE_SCORES
    from flawmap.methods import METHODS

    with pytest.MonkeyPatch.context() as patch:
        for registry in (METHODS, CONTEXTS, REDUCERS, REGISTRATIONS, IMAGE_SCORES):
            for name in ("_entries", "_sources", "_classes"):
                patch.setattr(registry, name, dict(getattr(registry, name)))
        yield
