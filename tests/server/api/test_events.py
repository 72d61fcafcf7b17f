from __future__ import annotations

import threading
from typing import Any

from starlette.testclient import TestClient

from server.api.test_inspections import IMAGE, PARTS


def events_of(client: TestClient, **request: Any) -> list[tuple[int, str]]:
    """Number and kind of the events of a stream that ends when the server does."""
    app: Any = client.app
    threading.Timer(1.0, app.state.web.stopping.set).start()
    found: list[tuple[int, str]] = []
    with client.stream("GET", "/api/v1/events", **request) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        number = 0
        for line in answer.iter_lines():
            if line.startswith("id: "):
                number = int(line.removeprefix("id: "))
            elif line.startswith("event: "):
                found.append((number, line.removeprefix("event: ")))
    return found


def test_events_come_in_order_and_each_once(client: TestClient) -> None:
    for _ in range(3):
        assert client.post(PARTS, content=IMAGE, params={"wait": 30}).status_code == 201
    found = events_of(client, params={"after": 0})
    assert [number for number, _ in found] == list(range(1, len(found) + 1))
    kinds = [kind for _, kind in found]
    assert kinds.count("inspection.received") == kinds.count("inspection.judged") == 3


def test_a_reader_that_comes_back_misses_none(client: TestClient) -> None:
    for _ in range(2):
        assert client.post(PARTS, content=IMAGE, params={"wait": 30}).status_code == 201
    app: Any = client.app
    head, _ = app.state.web.station.reader.head()
    found = events_of(client, headers={"last-event-id": str(head - 2)})
    assert [number for number, _ in found] == [head - 1, head]


def test_what_came_before_is_not_sent_unless_it_is_asked_for(client: TestClient) -> None:
    assert client.post(PARTS, content=IMAGE, params={"wait": 30}).status_code == 201
    assert events_of(client) == []
