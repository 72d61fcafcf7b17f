"""What this machine is and has."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def available_memory() -> int | None:
    """Say how many bytes of memory can be had; None where the system does not tell (it does on Linux)."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def describe_system() -> str:
    """Name the processor, its cores and the system, for beside a time that was measured."""
    return f"{_processor()}, {os.cpu_count()} cores, {platform.system()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
