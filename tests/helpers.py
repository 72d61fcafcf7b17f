"""Small images and small methods for the tests."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from beartype import BeartypeConf, beartype
from typer.testing import CliRunner, Result

if TYPE_CHECKING:
    from flawmap.metrics.metric import Metric

check_types = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""Checks arguments and results against their annotations; an int will do for a float."""

SHARED = Path(__file__).resolve().parents[2] / "shared"
MAGNETIC_TILE = SHARED / "data" / "magnetic_tile"
RESNET18 = SHARED / "weights" / "resnet18_in1k_to_layer3.safetensors"

needs_file_size_limit = pytest.mark.skipif(
    not hasattr(signal, "SIGXFSZ"), reason="needs the file size limit of Unix"
)

needs_fit = pytest.mark.skipif(find_spec("torch") is None, reason="needs flawmap[fit]")

needs_shared = pytest.mark.skipif(
    not (MAGNETIC_TILE.is_dir() and RESNET18.is_file()),
    reason="needs real images and weights, which are not in the repository: in ../shared, "
    "data/magnetic_tile and weights/resnet18_in1k_to_layer3.safetensors",
)


def texture(seed: int, height: int = 64, width: int = 64) -> np.ndarray:
    """An image of a good part: brushed grey with a darker band."""
    rng = np.random.default_rng(seed)
    grain = cv2.GaussianBlur(
        rng.normal(0, 40, (height, width, 3)).astype(np.float32), (0, 0), sigmaX=4, sigmaY=0.8
    )
    image = 140 + grain
    image[height // 3 : height // 2] -= 40
    return image.clip(0, 255).astype(np.uint8)


def with_defect(image: np.ndarray, row: int, column: int, radius: int = 6) -> np.ndarray:
    """The same image with a bright disc."""
    return cv2.circle(image.copy(), (column, row), radius, (255, 230, 40), -1)


def value_of(metric: Metric) -> float:
    assert metric.value is not None, metric.unavailable
    return metric.value


def interval_of(metric: Metric) -> tuple[float, float]:
    """Ends of the confidence interval."""
    assert metric.low is not None
    assert metric.high is not None
    return metric.low, metric.high


def save(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    path.write_bytes(cv2.imencode(path.suffix, bgr)[1].tobytes())
    return path


TINY: dict[str, Any] = {"backbone": "test_resnet", "weights": "random", "coreset": 0.1}
"""Options that make a method small enough for a test."""


SMALL = ["--size", "64", "--coreset", "0.1"]
"""The same on the command line, with the default backbone."""


def run(*arguments: Any) -> tuple[int, str]:
    """Type a command, in this process; gives the exit code and what was shown."""
    result = invoke(arguments)
    return result.exit_code, result.output


def run_json(*arguments: Any) -> tuple[int, Any]:
    """The same with `--json`; gives the exit code and the document on standard output."""
    result = invoke([*arguments, "--json"])
    return result.exit_code, json.loads(result.stdout)


def invoke(arguments: Sequence[Any]) -> Result:
    """Type a command, in this process; what it shows is in `stdout` and in `stderr`."""
    from flawmap.cli import app

    result = CliRunner().invoke(
        app, [str(argument) for argument in arguments], catch_exceptions=True
    )
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@contextmanager
def full_disk(max_bytes: int = 10_000) -> Iterator[None]:
    """Whatever writes a longer file meets a full disk, by the file size limit of Unix."""
    import resource

    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def run_in_a_process(*arguments: Any) -> subprocess.CompletedProcess[str]:
    """Type a command where its start and its exit matter."""
    command = [sys.executable, "-m", "flawmap", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def begin_as_in_a_terminal(command: Sequence[str], **settings: Any) -> subprocess.Popen[str]:
    """Start a process that heeds signals, with pipes for what it prints.

    Whoever starts the tests by nohup ignores SIGHUP, and a script's `&` ignores SIGINT; a process
    that the tests start would ignore them too.
    """

    def heed_signals() -> None:
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            signal.signal(getattr(signal, name), signal.SIG_DFL)

    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    settings = {"preexec_fn": heed_signals, "text": True, **pipes, **settings}
    process: subprocess.Popen[str] = subprocess.Popen(command, **settings)
    return process
