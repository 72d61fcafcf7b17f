from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from flawmap.server.api.app import create_app
from flawmap.server.api.settings import Web
from flawmap.server.core.accounts import Accounts
from flawmap.server.core.station import Station
from server.api.test_inspections import IMAGE, PARTS, problem_of

LIVE = "/v2/health/live"


def test_each_answer_forbids_scripts_frames_and_guessing(client: TestClient) -> None:
    for path in (LIVE, PARTS, "/nothing", f"{PARTS}/x"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
        assert len(headers["x-request-id"]) == 16
        assert "access-control-allow-origin" not in headers
        assert "strict-transport-security" not in headers


def test_what_is_reached_by_tls_alone_says_so(client_of: Callable[..., TestClient]) -> None:
    headers = client_of(is_secure=True).get(LIVE).headers
    assert headers["strict-transport-security"] == "max-age=31536000"


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8080", "", "127.0.0.1.evil.example", "localhost.",
     "169.254.169.254", "evil.example#127.0.0.1"],
)  # fmt: skip
def test_a_name_that_was_made_to_point_here_is_refused(client: TestClient, host: str) -> None:
    assert "not called" in problem_of(client.get(LIVE, headers={"host": host}), 421)
    problem_of(client.post(PARTS, content=IMAGE, headers={"host": host}), 421)
    assert client.get(PARTS).json()["items"] == []


@pytest.mark.parametrize("host", ["localhost:8080", "LOCALHOST", "[::1]:8080", "127.0.0.1"])
def test_its_own_names_are_answered(client: TestClient, host: str) -> None:
    assert client.get(LIVE, headers={"host": host}).json() == {"live": True}


@pytest.mark.parametrize(
    "headers",
    [{"origin": "http://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"},
     {"sec-fetch-site": "same-site"}, {"origin": "http://127.0.0.1:9999"},
     {"origin": "http://127.0.0.1:8080.evil.example"}],
)  # fmt: skip
def test_a_page_of_another_origin_changes_nothing(
    client: TestClient, station: Station, headers: dict[str, str]
) -> None:
    before = station.last_seq
    problem_of(client.post(PARTS, content=IMAGE, headers=headers), 403)
    problem_of(client.post("/api/v1/station/halt", json={"reason": "x"}, headers=headers), 403)
    assert station.last_seq == before


def test_its_own_page_may_send_parts(client: TestClient) -> None:
    headers = {"origin": "http://127.0.0.1:8080", "sec-fetch-site": "same-origin"}
    assert client.post(PARTS, content=IMAGE, headers=headers).status_code in (201, 202)


def chunks(total: int) -> Iterator[bytes]:
    for _ in range(total // 10_000):
        yield bytes(10_000)


def test_what_is_too_large_is_refused_whatever_it_says_of_its_size(client: TestClient) -> None:
    problem_of(client.post(PARTS, content=bytes(400_000)), 413)
    # In chunks, without a length.
    problem_of(client.post(PARTS, content=chunks(400_000)), 413)
    json = {"content-type": "application/json"}
    decisions = f"{PARTS}/{'0' * 32}/decisions"
    problem_of(client.post(decisions, content=chunks(400_000), headers=json), 413)
    # Within the room for fields, and more than an image may have.
    problem_of(client.post(PARTS, content=bytes(250_000)), 413)
    assert client.get(PARTS).json()["items"] == []


def test_who_asks_too_often_is_told_to_wait(station: Station, accounts: Accounts) -> None:
    station.limits = replace(station.limits, rate=0.5)
    client = TestClient(create_app(Web(station, accounts)), base_url="http://127.0.0.1")
    answers = [client.get(LIVE) for _ in range(40)]
    refused = [answer for answer in answers if answer.status_code != 200]
    assert len(refused) > 20
    problem_of(refused[0], 429)
    assert refused[0].headers["retry-after"]


def test_what_goes_wrong_within_is_logged_and_not_shown(
    client: TestClient, station: Station, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def fail() -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr(station.reader, "counts", fail)
    response = client.get("/api/v1/counts")
    number = response.headers["x-request-id"]
    assert number in problem_of(response, 500)
    assert "secret" not in response.text
    assert number in caplog.text
    assert "a secret of the inside" in caplog.text
