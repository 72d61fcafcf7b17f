from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from flawmap.server.record.database import Database
from server.postgres import PostgresServer, postgres_server

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
