from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from flawmap.server.core.station import Station
from flawmap.server.record.database import Database
from server.postgres import PostgresServer, postgres_server
from server.waiting import wait_for
from small_bundle import save_small_bundle

_numbers = count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty record, in each of the databases that it can be in."""
    if request.param == "sqlite":
        database = Database.in_folder(tmp_path)
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        database = Database(server.url(f"record{next(_numbers)}"))
    database.prepare()
    yield database
    database.close()


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
