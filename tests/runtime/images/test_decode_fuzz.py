from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUNS = int(os.environ.get("FLAWMAP_FUZZ_RUNS", "100"))
TESTS = Path(__file__).parents[2]
_MOST_MEMORY = 1_500_000_000

_WITH_LIMIT = f"""
import resource, runpy, sys
from pathlib import Path
def peak():
    # What getrusage says begins with the peak of the process that this was forked from.
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * int(status.read_text().split("VmHWM:")[1].split()[0])
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
sys.argv = sys.argv[1:]
sys.path.insert(0, {str(TESTS)!r})
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print("peak", peak())
"""


@pytest.mark.fuzz
@pytest.mark.skipif(sys.platform == "win32", reason="measures memory as Unix does")
def test_damaged_files_are_read_or_refused_and_nothing_else() -> None:
    """No crash, no hang, no other error, no size that the header does not say, no great memory."""
    fuzzer = str(Path(__file__).with_name("decode_fuzzer.py"))
    result = subprocess.run(
        [sys.executable, "-c", _WITH_LIMIT, fuzzer, "0", str(RUNS)],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120 + RUNS,
        check=False,
    )
    lines = result.stdout.splitlines()
    assert result.returncode == 0, "\n".join([*lines[-3:], result.stderr[-3000:]])
    assert lines[-2].startswith("read ")
    assert int(lines[-1].split()[1]) < _MOST_MEMORY
