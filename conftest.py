"""What the examples in docstrings start from, what no test leaves behind, and what needs torch.

Without torch (flawmap without the extra `fit`) the tests that need it skip; all others run.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from doctest import UnexpectedException
from importlib.util import find_spec
from traceback import walk_tb
from typing import Any

import numpy as np
import pytest

_FIT_MODULES = {"torch", "torchvision", "timm", "einops", "nncf", "onnx", "onnxruntime", "tabulate"}
"""Modules that flawmap's extras bring."""

_HAS_TORCH = find_spec("torch") is not None


def _missing_module(error: BaseException | None) -> str | None:
    """The module of an extra whose absence an error comes from; None where it has another cause."""
    if isinstance(error, UnexpectedException):  # of an example in a docstring
        error = error.exc_info[1]
    while error is not None:
        name = (getattr(error, "name", None) or "").partition(".")[0]
        if isinstance(error, ImportError) and name in _FIT_MODULES:
            return name
        error = error.__cause__ or error.__context__
    return None


def _skip(report: Any, call: Any) -> None:
    missing = None if call.excinfo is None else _missing_module(call.excinfo.value)
    if missing and not _HAS_TORCH:
        report.outcome = "skipped"
        report.longrepr = (report.nodeid, 0, f"Skipped: needs {missing}")


def _half_made(error: BaseException | None) -> Iterator[str]:
    """Names of the modules that an error left before their end."""
    while error is not None:
        for frame, _ in walk_tb(error.__traceback__):
            if frame.f_code.co_name == "<module>":
                yield frame.f_globals["__name__"]
        error = error.__cause__ or error.__context__


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    """A file that imports a missing extra is skipped."""
    report = yield
    _skip(report, report.call)
    if report.skipped and report.call.excinfo:
        # pytest leaves what it could not import, and the next import would find it, half made. What
        # that had imported is whole, and others have it: it stays, lest its classes be there twice.
        for name in _half_made(report.call.excinfo.value):
            if name.startswith("flawmap."):
                sys.modules.pop(name, None)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: Any) -> Generator[None, Any, Any]:
    """So is a test that comes to need one."""
    report = yield
    _skip(report, call)
    return report


@pytest.fixture(autouse=True)
def _example_names(doctest_namespace: dict[str, Any]) -> None:
    """Examples have `np` and `torch`."""
    doctest_namespace["np"] = np
    if _HAS_TORCH:
        import torch

        doctest_namespace["torch"] = torch


@pytest.fixture(autouse=True)
def _registries_as_before() -> Iterator[None]:
    """What an example or a test registers is forgotten after it."""
    if not _HAS_TORCH:
        yield
        return
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
