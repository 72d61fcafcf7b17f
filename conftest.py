"""Names that the examples in docstrings may use without importing them."""

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

    registries = (METHODS, CONTEXTS, REDUCERS, REGISTRATIONS, IMAGE_SCORES)
    before = [(dict(registry._entries), dict(registry._sources)) for registry in registries]
    yield
    for registry, (entries, sources) in zip(registries, before, strict=True):
        registry._entries, registry._sources = entries, sources
