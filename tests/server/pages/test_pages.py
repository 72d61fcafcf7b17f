from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs flawmap[station]")

from starlette.testclient import TestClient

from flawmap.render.encode import encode_image
from flawmap.server.api.app import create_app
from flawmap.server.api.settings import Web
from flawmap.server.core.accounts import Accounts
from flawmap.server.core.station import Station
from flawmap.server.pages.site import add_pages
from helpers import texture
from small_bundle import save_small_bundle

ADDRESS = "http://127.0.0.1:8080"


@pytest.fixture(scope="module")
def inspectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inspectors")
    save_small_bundle(folder / "small.flawmap")
    return folder


@pytest.fixture
def station(tmp_path: Path, inspectors: Path) -> Iterator[Station]:
    with Station(tmp_path / "data", inspectors=inspectors) as station:
        until = time.monotonic() + 60
        while not station.state.ready:
            assert time.monotonic() < until, station.reasons
            time.sleep(0.02)
        yield station


def client_of(web: Web) -> TestClient:
    app = create_app(web)
    add_pages(app, web)
    return TestClient(app, base_url=ADDRESS, follow_redirects=False)


@pytest.fixture
def web(station: Station) -> Web:
    return Web(station, Accounts(station.writer, station.database))


@pytest.fixture
def client(web: Web) -> TestClient:
    return client_of(web)


def submit(station: Station, seed: int = 1, **fields: Any) -> str:
    """A part, judged."""
    image = encode_image(texture(seed, 64, 64), ".png")
    received = station.submit(image, "small", source="rest", actor="test", **fields)
    row = station.wait(received.id, 60)
    assert row is not None
    assert row["state"] != "waiting"
    return received.id


def test_the_first_page_says_how_the_station_is_and_what_came(
    client: TestClient, station: Station
) -> None:
    text = client.get("/").text
    assert "The station is ready" in text
    assert '<b id="actor">local</b>' in text
    assert "No parts have come yet." in text
    identity = submit(station, serial="A1")
    for address in ("/", "/latest"):
        text = client.get(address).text
        row = station.reader.inspection(identity)
        assert row is not None
        assert f'<strong class="verdict {row["state"]}">{row["state"]}</strong>' in text
        assert "<b>1</b> received" in text
        assert "A1" in text
        assert f"/api/v1/inspections/{identity}/" in text
    assert "<html" not in client.get("/latest").text


def test_a_halted_station_says_so(client: TestClient, station: Station) -> None:
    station.halt("test", "lunch")
    assert "The station is halted" in client.get("/").text


def test_what_came_from_outside_is_escaped(client: TestClient, station: Station) -> None:
    identity = submit(station, serial="<script>alert(1)</script>", name="\"'><img src=x>")
    text = client.get("/").text
    assert "&lt;script&gt;alert(1)" in text
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert identity in text


def test_sums_that_do_not_add_up_are_shown_in_red(
    client: TestClient, station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(station)
    assert "do not add up" not in client.get("/").text
    counts = station.reader.counts()
    wrong = [type(one)(**(vars(one) | {"received": 7})) for one in counts]
    monkeypatch.setattr(station.reader, "counts", lambda: wrong)
    text = client.get("/").text
    assert '<div class="sum wrong">' in text
    assert "7 parts were received, and 1 are accounted for" in text


def test_pages_need_nothing_inline_and_nothing_from_elsewhere(client: TestClient) -> None:
    answer = client.get("/")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    for file in ("station.css", "station.js", "icon.svg"):
        assert f"/static/{file}" in answer.text
        assert client.get(f"/static/{file}").status_code == 200
    assert " style=" not in answer.text
    assert "<style" not in answer.text
    assert "onclick" not in answer.text
    assert answer.text.count("<script") == 1


def test_errors_are_pages_but_not_for_machines(client: TestClient) -> None:
    answer = client.get("/nothing")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert "<h1>Not Found</h1>" in answer.text
    machine = client.get("/api/v1/nothing")
    assert machine.status_code == 404
    assert machine.headers["content-type"] == "application/problem+json"
