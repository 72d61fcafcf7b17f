"""Visual anomaly detection: fitted to images of good parts, shows where a new part differs.

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

    from flawmap.data.auto_size import AutoSize
    from flawmap.data.tile_size import TileSize
    from flawmap.evaluation import evaluate
    from flawmap.finetune.config import FineTuneConfig
    from flawmap.inspector import Inspector
    from flawmap.methods import METHODS
    from flawmap.runtime.calibration import Budget, Calibration
    from flawmap.runtime.graph import Precision
    from flawmap.runtime.inference import Inspection, Runtime
    from flawmap.runtime.verdict import Region, Verdict

__all__ = [
    "METHODS",
    "AutoSize",
    "Budget",
    "Calibration",
    "FineTuneConfig",
    "Inspection",
    "Inspector",
    "Region",
    "Runtime",
    "TileSize",
    "Verdict",
    "__version__",
    "evaluate",
    "load",
]

_HOMES = {
    "METHODS": "methods",
    "AutoSize": "data.auto_size",
    "Budget": "runtime.calibration",
    "Calibration": "runtime.calibration",
    "FineTuneConfig": "finetune.config",
    "Inspection": "runtime.inference",
    "Inspector": "inspector",
    "Region": "runtime.verdict",
    "Runtime": "runtime.inference",
    "TileSize": "data.tile_size",
    "Verdict": "runtime.verdict",
    "evaluate": "evaluation",
}
"""The module of each public name, which is imported when the name is first used."""


def load(file: str | Path, precision: Precision | None = None) -> Runtime:
    """Load a saved inspector to inspect images; without torch, where its method fits into a graph.

    Args:
        file: path of the file that `flawmap fit` or `Inspector.save` wrote.
        precision: what to compute in: `f32`, `bf16` or `int8`; None for that of the fit.

    Returns:
        The runtime, checked against the golden images in the file.

    Raises:
        BundleError: damaged, not a saved inspector, or from a newer flawmap.
        OptionError: this machine cannot compute in that precision.
        ParityError: it scores otherwise here than where it was fitted.

    Example:
        >>> load("part.flawmap").inspect("new.png").reject       # doctest: +SKIP
        True
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
