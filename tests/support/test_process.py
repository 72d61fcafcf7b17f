from __future__ import annotations

import os

import pytest

from flawmap.errors import FlawmapError, ForkError
from flawmap.support.process import HomeProcess


def test_the_process_itself_is_let_through() -> None:
    HomeProcess("the inspector").check()


def test_another_process_hears_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    home = HomeProcess("the inspector")
    pid = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: pid + 1)
    message = rf"the inspector was loaded in process {pid} .* {pid + 1}, .*'spawn', or fork first"
    with pytest.raises(ForkError, match=message):
        home.check()
    assert issubclass(ForkError, FlawmapError)
