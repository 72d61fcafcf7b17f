"""A preset: settings of a method that belong together, under a name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flawmap.data.auto_size import InputSize


@dataclass(frozen=True)
class Preset:
    """Settings of a method that belong together.

    Args:
        summary: what they are for and how long that takes, in a few words.
        size: of the network's input; None for the size that any method has unless told otherwise.
        options: of the method, by name; the others keep their defaults.

    Example:
        >>> Preset("for large parts", size=(320, 448), options={"coreset": 0.05}).size
        (320, 448)
    """

    summary: str
    size: InputSize | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
