"""The short form of the soak, and what it takes for growth."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from soak import Stage, growth

from small_bundle import save_small_bundle

FLAT = [
    Stage(150_000_000 + number % 3 * 1_000_000, 6, 7 + number % 2, 0.002) for number in range(10)
]


def test_what_varies_does_not_grow() -> None:
    assert growth("threads", FLAT) == []


def test_what_warms_up_does_not_grow() -> None:
    first = Stage(100_000_000, 4, 2, 0.001)
    assert growth("threads", [first, *FLAT[1:]]) == []


@pytest.mark.parametrize(
    ("what", "step"),
    [
        ("memory", {"memory": 10_000_000}),
        ("handles", {"handles": 2}),
        ("threads", {"threads": 1}),
        ("latency", {"latency": 0.002}),
    ],
)
def test_what_grows_is_named(what: str, step: dict[str, float]) -> None:
    ((name, more),) = step.items()
    stages = [
        stage._replace(**{name: getattr(FLAT[0], name) + number * more})
        for number, stage in enumerate(FLAT)
    ]
    (problem,) = growth("streams", stages)
    assert problem.startswith(f"streams: {what} grow")


def test_a_short_soak_is_flat(tmp_path: Path) -> None:
    file = save_small_bundle(tmp_path / "part.flawmap")
    command = [sys.executable, str(ROOT / "tools" / "soak.py"), str(file), "--count", "4000"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("flat: ")
