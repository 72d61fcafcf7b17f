"""How much memory this machine has to give."""

from __future__ import annotations

from pathlib import Path


def available_memory() -> int | None:
    """Say how many bytes of memory can be had; None where the system does not tell (it does on Linux)."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
