from __future__ import annotations

import errno
import os
import platform
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from flawmap.support import system
from flawmap.support.system import available_memory, describe_system, is_out_of_memory


def test_it_returns_the_memory_that_psutil_calls_available(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = SimpleNamespace(total=8_000, available=5_000, free=2_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    assert available_memory() == 5_000


def test_it_is_the_memory_of_this_machine_in_bytes() -> None:
    memory = psutil.virtual_memory()
    available = available_memory()
    assert isinstance(available, int)
    # Other processes take and return memory between the two calls, but not half of the machine's.
    assert abs(available - memory.available) < memory.total / 2
    assert 0 < available <= memory.total


def test_it_names_processor_cores_and_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "_processor", lambda: "Some CPU 3000")
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    monkeypatch.setattr(platform, "system", lambda: "Windows")
    assert describe_system() == "Some CPU 3000, 12 cores, Windows"


def test_the_processor_is_the_first_model_that_linux_lists(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(
        "processor\t: 0\nmodel\t\t: 7\nmodel name\t: CPU A: fast\nmodel name\t: CPU B\n"
    )
    assert system._processor(cpuinfo) == "CPU A: fast"


@pytest.mark.parametrize(
    ("processor", "expected"), [("Intel64 Family 6", "Intel64 Family 6"), ("", "arm64")]
)
def test_elsewhere_the_processor_is_what_python_knows(
    processor: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "processor", lambda: processor)
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert system._processor(tmp_path / "missing") == expected


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("could not create a primitive"),
        Exception("error: (-4:Insufficient memory) Failed to allocate 80000000 bytes"),
        ImportError("libx.so: failed to map segment from shared object"),
    ],
)
def test_each_library_has_its_own_words_for_no_memory(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), ValueError("a shape")])
def test_other_errors_are_no_lack_of_memory(error: Exception) -> None:
    assert not is_out_of_memory(error)
