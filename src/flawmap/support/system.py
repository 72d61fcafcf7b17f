"""What this machine is and has."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import psutil


def available_memory() -> int:
    """Tell how much memory can be taken without swapping, in bytes.

    Whoever needs much memory asks first, and refuses with a reason instead of being killed.

    >>> available_memory() > 0
    True
    """
    return int(psutil.virtual_memory().available)


def describe_system() -> str:
    """Name the processor, its logical cores and the operating system, to be printed with a time.

    >>> " cores, " in describe_system()
    True
    """
    return f"{_processor()}, {os.cpu_count()} cores, {platform.system()}"


def _processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Name the processor: the model that Linux tells, elsewhere what Python knows."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()
