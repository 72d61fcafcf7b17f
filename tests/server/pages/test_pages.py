from __future__ import annotations

import re
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


def test_parts_are_found_by_each_field(client: TestClient, station: Station) -> None:
    first = submit(station, 1, serial="A1", lot="L1")
    second = submit(station, 2, serial="B2", lot="L2")
    row = station.reader.inspection(first)
    assert row is not None
    for query, found in (
        ("", {first, second}),
        ("serial=A1", {first}),
        ("lot=L2", {second}),
        ("product=small", {first, second}),
        ("product=other", set()),
        (f"serial=A1&verdict={row['state']}", {first}),
        ("verdict=skipped", set()),
        ("since=2020-01-01T00:00", {first, second}),
        ("since=2020-01-01T00:00&until=2021-01-01T00:00", set()),
    ):
        text = client.get(f"/inspections?{query}").text
        assert {one for one in (first, second) if f"/inspections/{one}" in text} == found, query
    assert client.get("/inspections?since=yesterday").status_code == 422
    assert client.get("/inspections?verdict=perfect").status_code == 422


def test_many_parts_are_leafed_through(
    client: TestClient, station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flawmap.server.pages.inspections._ON_A_PAGE", 2)
    parts = [submit(station, serial="A & B") for _ in range(5)]
    seen: list[str] = []
    address = "/inspections?serial=A+%26+B"
    for _ in range(3):
        text = client.get(address).text
        seen += re.findall(r'<a href="/inspections/([0-9a-f]{32})"', text)
        older = re.search(r'href="([^"]*)" rel="next"', text)
        address = older[1].replace("&amp;", "&") if older else ""
    assert not address
    assert seen == parts[::-1]


def test_a_part_shows_all_that_is_stored(client: TestClient, station: Station) -> None:
    identity = submit(station, serial="<b>A1</b>", lot="L7")
    text = client.get(f"/inspections/{identity}").text
    row = station.reader.inspection(identity)
    assert row is not None
    for name in ("id", "lot", "state", "model_sha256", "image_sha256", "score", "received_seq"):
        assert f">{row[name]}</td>" in text, name
    assert f'src="/api/v1/inspections/{identity}/image"' in text
    assert "&lt;b&gt;A1&lt;/b&gt;" in text
    assert "<b>A1" not in text
    missing = client.get(f"/inspections/{'0' * 32}")
    assert missing.status_code == 404
    assert "there is no inspection" in missing.text
    assert client.get("/inspections/x").status_code == 422


def test_an_image_that_was_deleted_is_told(
    client: TestClient, station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = submit(station)
    gone = {"deleted_at": "2026-01-01T00:00:00.000Z"}
    monkeypatch.setattr(station.reader, "stored_file", lambda sha256: gone)
    assert "The image was deleted" in client.get(f"/inspections/{identity}").text
    assert "Image deleted" in client.get("/").text


def test_a_person_decides_with_a_reason(client: TestClient, station: Station) -> None:
    identity = submit(station)
    form = {"verdict": "good", "reason": "only <i>dust</i>"}
    address = f"/inspections/{identity}/decisions"
    answer = client.post(address, data=form)
    assert answer.status_code == 303
    text = client.get(answer.headers["location"]).text
    assert "Your decision is on record" in text
    assert "only &lt;i&gt;dust" in text
    (decision,) = station.reader.decisions(identity)
    assert (decision["person"], decision["verdict"]) == ("local", "good")
    for wrong in ({"verdict": "good"}, {"reason": "x"}, {"verdict": "undecided", "reason": "x"}):
        refused = client.post(address, data=wrong)
        assert refused.status_code == 422
        assert refused.headers["content-type"].startswith("text/html")
    assert client.post(address, data=form | {"reason": "  "}).status_code == 422
    elsewhere = client.post(address, data=form, headers={"origin": "http://evil.example"})
    assert elsewhere.status_code == 403
    assert len(station.reader.decisions(identity)) == 1
