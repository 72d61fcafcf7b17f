"""flawmap learns what a good part looks like from pictures of good parts only, and shows where a new one differs.

>>> from flawmap import Inspector
>>> inspector = Inspector("patchcore").fit("good/")      # doctest: +SKIP
>>> inspector.inspect("new.png").reject                  # doctest: +SKIP
True
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from flawmap._version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from flawmap.inspector import Inspector
    from flawmap.methods import METHODS
    from flawmap.runtime.graph import Precision
    from flawmap.runtime.inference import Inspection, Runtime
    from flawmap.runtime.verdict import Verdict

__all__ = [
    "METHODS",
    "Inspection",
    "Inspector",
    "Runtime",
    "Verdict",
    "__version__",
    "load",
]

_HOMES = {
    "METHODS": "methods",
    "Inspection": "runtime.inference",
    "Inspector": "inspector",
    "Runtime": "runtime.inference",
    "Verdict": "runtime.verdict",
}


def load(file: str | Path, precision: Precision | None = None) -> Runtime:
    """Open a saved inspector to judge pictures; without torch, where a graph can hold its method.

    >>> load("part.flawmap").inspect("new.png").reject       # doctest: +SKIP
    True

    Args:
        file: what `flawmap fit` or `Inspector.save` wrote.
        precision: what to compute in; None for that of the fit.

    Raises:
        BundleError: damaged, not a saved inspector, or from a newer flawmap.
        OptionError: this machine cannot compute so.
        ParityError: it scores otherwise here than where it learned.
    """
    from flawmap.errors import NotExportable
    from flawmap.runtime.inference import Runtime

    try:
        return Runtime.load(file, precision)
    except NotExportable:
        # In torch, where that is installed.
        inspector = __getattr__("Inspector")
        runtime: Runtime = inspector.load(file).runtime
        return runtime


def __getattr__(name: str) -> Any:
    # Loaded on first use: `import flawmap` takes milliseconds, torch seconds.
    if name not in _HOMES:
        raise AttributeError(f"module 'flawmap' has no attribute {name!r}")
    try:
        return getattr(import_module(f"flawmap.{_HOMES[name]}"), name)
    except ImportError as error:
        from flawmap.support.optional_deps import explain_import_error

        raise explain_import_error(error) from error


def __dir__() -> list[str]:
    return sorted(__all__)
