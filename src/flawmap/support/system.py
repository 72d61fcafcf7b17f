"""What this machine is and has."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import re
import sys
from contextlib import suppress
from pathlib import Path

import psutil

_OUT_OF_MEMORY = re.compile(
    "bad_alloc|can.?t alloc|allocate memory|failed to allocate|insufficient memory|out of memory"
    "|resource temporarily unavailable"
    "|can't start new thread|failed to map segment|could not (allocate|create a primitive)",
    re.IGNORECASE,
)
"""What OpenVINO, torch, OpenCV and the loader of libraries say in place of a `MemoryError`."""


def available_memory() -> int:
    """Memory that can be taken without swapping, in bytes.

    Whoever needs much memory looks first, and refuses with a reason instead of being killed.

    Example:
        >>> available_memory() > 0
        True
    """
    return int(psutil.virtual_memory().available)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that this machine has no memory left for what was asked of it.

    Args:
        error: of Python, or of a library that has its own.

    Example:
        >>> [is_out_of_memory(RuntimeError(text)) for text in ("std::bad_alloc", "can't alloc")]
        [True, True]
    """
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    return bool(_OUT_OF_MEMORY.search(str(error)))


def release_free_memory() -> None:
    """Give memory that was freed back to the system, where the C library keeps it (glibc)."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


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
        lines = cpuinfo.read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()
