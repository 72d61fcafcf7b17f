from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flawmap.server.core.station import Station
from server.waiting import wait_for
from small_bundle import save_small_bundle


@pytest.fixture(scope="session")
def inspectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an inspector for the product `small`."""
    folder = tmp_path_factory.mktemp("inspectors")
    save_small_bundle(folder / "small.flawmap")
    return folder


@pytest.fixture
def station(tmp_path: Path, inspectors: Path) -> Iterator[Station]:
    """A station that is ready."""
    with Station(tmp_path / "data", inspectors=inspectors) as station:
        wait_for(lambda: station.state.ready)
        yield station
