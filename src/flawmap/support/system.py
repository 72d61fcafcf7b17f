"""What this machine is and has."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import psutil


def available_memory() -> int:
    """Memory that can be taken without swapping, in bytes.

    Whoever needs much memory looks first, and refuses with a reason instead of being killed.

    Example:
        >>> available_memory() > 0
        True
    """
    return int(psutil.virtual_memory().available)


def describe_system() -> str:
    """Processor, logical cores and operating system, to be printed with a measured time.

    Example:
        >>> " cores, " in describe_system()
        True
    """
    return f"{_processor()}, {os.cpu_count()} cores, {platform.system()}"


def _processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's model by Linux, elsewhere what Python knows of it."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()
