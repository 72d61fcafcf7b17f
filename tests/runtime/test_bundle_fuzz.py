"""Damaged saved files whose hash is right: an error of flawmap or the right score, nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from small_bundle import save_small_bundle

_RUNS = int(os.environ.get("FLAWMAP_FUZZ_RUNS", "100"))
_PER_PROCESS = 500


@pytest.mark.fuzz
@pytest.mark.parametrize("first", range(0, _RUNS, _PER_PROCESS))
def test_a_damaged_file_is_refused_or_right(tmp_path: Path, first: int) -> None:
    file = save_small_bundle(tmp_path / "whole.flawmap")
    count = min(_PER_PROCESS, _RUNS - first)
    script = Path(__file__).with_name("fuzz_bundle.py")
    command = [sys.executable, "-X", "faulthandler", script, file, first, count, tmp_path]
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        check=False,
        timeout=60 + 5 * count,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, (lines[-1:], done.stderr[-2000:])
    # Not all of it is refused for its hash: the damage reaches what it is aimed at.
    seen = dict(pair.split() for pair in lines[-1].split(", "))
    assert sum(map(int, seen.values())) == count
    assert int(seen["right"]) < count / 2
    assert int(seen["BundleError"]) > count / 4
