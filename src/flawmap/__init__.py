"""flawmap learns what a good part looks like from pictures of good parts only, and shows where a new one differs.

>>> from flawmap import Inspector
>>> inspector = Inspector("patchcore").fit("good/")      # doctest: +SKIP
>>> inspector.inspect("new.png").reject                  # doctest: +SKIP
True
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flawmap.inspector import Inspection, Inspector
    from flawmap.methods import METHODS
    from flawmap.verdict import Verdict

__all__ = ["METHODS", "Inspection", "Inspector", "Verdict"]
__version__ = "0.1.0"

_HOMES = {"METHODS": "methods", "Inspection": "inspector", "Inspector": "inspector", "Verdict": "verdict"}


def __getattr__(name: str) -> Any:
    # Loaded on first use: `import flawmap` takes milliseconds, torch seconds.
    if name not in _HOMES:
        raise AttributeError(f"module 'flawmap' has no attribute {name!r}")
    return getattr(import_module(f"flawmap.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
