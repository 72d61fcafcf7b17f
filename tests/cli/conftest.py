"""A saved inspector and images to inspect, made as a user makes them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from fitted import cli_part
from flawmap.cli import console, tables
from helpers import save, texture, with_defect


@pytest.fixture(scope="session")
def part(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cli_part(tmp_path_factory.mktemp("part"))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    save(tmp_path / "new (1)" / "坏" / "defect.jpg", with_defect(texture(50, 90, 70), 40, 30))
    for seed in range(3):
        save(tmp_path / "new (1)" / f"good {seed}.png", texture(seed))
    return tmp_path / "new (1)"


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a terminal of 120 columns shows."""
    text = io.StringIO()
    terminal = Console(
        file=text, force_terminal=True, width=120, highlight=False, color_system=None
    )
    monkeypatch.setattr(console, "err", terminal)
    monkeypatch.setattr(console, "out", terminal)
    monkeypatch.setattr(tables, "out", terminal)
    return text
