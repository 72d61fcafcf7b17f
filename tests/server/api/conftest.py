from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from flawmap.server.api.app import create_app
from flawmap.server.api.settings import Web
from flawmap.server.core.accounts import Accounts
from flawmap.server.core.limits import Limits
from flawmap.server.core.station import Station
from server.waiting import wait_for

ADDRESS = "http://127.0.0.1:8080"


@pytest.fixture
def station(tmp_path: Path, inspectors: Path) -> Iterator[Station]:
    """A station that is ready, and takes images of 200 kB."""
    limits = Limits(image_bytes=200_000)
    with Station(tmp_path / "data", inspectors=inspectors, limits=limits) as station:
        wait_for(lambda: station.state.ready)
        yield station


@pytest.fixture
def accounts(station: Station) -> Accounts:
    return Accounts(station.writer, station.database)


@pytest.fixture
def client_of(station: Station, accounts: Accounts) -> Callable[..., TestClient]:
    """Makes clients of the station, reached as they say."""

    def make(**settings: Any) -> TestClient:
        web = Web(station, accounts, **settings)
        return TestClient(create_app(web), base_url=ADDRESS, follow_redirects=False)

    return make


@pytest.fixture
def client(client_of: Callable[..., TestClient]) -> TestClient:
    """On the station's own machine, where nobody signs in yet."""
    return client_of()
