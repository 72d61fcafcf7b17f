"""What compare_commits.py times inside one process, with the flawmap that PYTHONPATH names.

    python bench/compare_worker.py where
    python bench/compare_worker.py first FILE IMAGE
    python bench/compare_worker.py inspect FILE IMAGE CALLS
    python bench/compare_worker.py coreset ROWS CHANNELS COUNT

Each prints one line: the place of the package, or the seconds taken.
"""

from __future__ import annotations

import importlib
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

CORESET_NAMES = ("k_center_greedy", "pick")
"""Names that the exact greedy coreset has in flawmap.memory.coreset, the newest first."""


def where() -> str:
    import flawmap

    return str(flawmap.__file__)


def first(file: str, image: str) -> str:
    """Load and inspect once; the caller times the process."""
    began = time.perf_counter()
    from flawmap import load

    load(file).inspect(image)
    return str(time.perf_counter() - began)


def inspect(file: str, image: str, calls: str) -> str:
    from flawmap import load

    inspector = load(file)
    for _ in range(3):
        inspector.inspect(image)
    return str(statistics.median(seconds(inspector.inspect, image) for _ in range(int(calls))))


def coreset(rows: str, channels: str, count: str) -> str:
    import torch

    choose = find_coreset()
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(int(rows), int(channels), generator=generator)
    choose(vectors[:5000], 20)  # Libraries load on first use.
    return str(seconds(choose, vectors, int(count)))


def find_coreset() -> Callable[..., Any]:
    module = importlib.import_module("flawmap.memory.coreset")
    functions = [getattr(module, name) for name in CORESET_NAMES if hasattr(module, name)]
    if not functions:
        raise SystemExit(f"flawmap.memory.coreset has none of {', '.join(CORESET_NAMES)}")
    function: Callable[..., Any] = functions[0]
    return function


def seconds(job: Callable[..., Any], *arguments: Any) -> float:
    began = time.perf_counter()
    job(*arguments)
    return time.perf_counter() - began


TASKS: dict[str, Callable[..., Any]] = {
    "where": where,
    "first": first,
    "inspect": inspect,
    "coreset": coreset,
}

if __name__ == "__main__":
    print(TASKS[sys.argv[1]](*sys.argv[2:]))
