"""The methods by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flawmap.errors import OptionError
from flawmap.methods.base import Method
from flawmap.methods.improved_patchcore import improved_patchcore
from flawmap.methods.patchcore import PatchCore


@dataclass(frozen=True)
class Recipe:
    """A method to choose by name.

    Args:
        make: takes options, gives the method.
        source: whose it is, and when.
        learns: what it learns from good pictures.
    """

    make: Callable[..., Method]
    source: str
    learns: str


METHODS: dict[str, Recipe] = {
    "patchcore": Recipe(PatchCore, "Roth et al. 2022", "a coreset of patch vectors"),
    "improved-patchcore": Recipe(improved_patchcore, "Li et al. 2025", "a coreset of aggregated patch vectors"),
}

CLASSES: dict[str, type[Method]] = {"PatchCore": PatchCore}
"""What the recipes make, as saved files name it."""


def make_method(name: str, **options: Any) -> Method:
    """Make a method by its name.

    Raises:
        OptionError: no method has that name.
    """
    if name not in METHODS:
        raise OptionError(f"there is no method {name!r}; there are {', '.join(METHODS)}")
    return METHODS[name].make(**options)
