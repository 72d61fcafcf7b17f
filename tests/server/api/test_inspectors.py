from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from server.api.test_inspections import IMAGE, PARTS, problem_of

SMALL = "/api/v1/products/small"
WHY = {"reason": "a reason"}


def test_an_upload_is_proved_and_judges_once_it_is_activated(
    client: TestClient, inspectors: Path
) -> None:
    data = (inspectors / "small.flawmap").read_bytes()
    # Larger than an image may be.
    assert len(data) > 300_000
    response = client.post("/api/v1/products/other/inspectors", content=data)
    assert response.status_code == 201
    (inspector,) = client.get("/api/v1/inspectors", params={"product": "other"}).json()
    assert inspector["model_sha256"] == response.json()["model_sha256"]
    assert inspector["imported_by"] == "local"
    problem_of(client.post(PARTS, content=IMAGE, params={"product": "other"}), 404)
    asked = WHY | {"model_sha256": inspector["model_sha256"]}
    assert client.post("/api/v1/products/other/activations", json=asked).json()["number"] == 1
    part = client.post(PARTS, content=IMAGE, params={"product": "other", "wait": 30}).json()
    assert part["verdict"] == "good"


@pytest.mark.parametrize("data", [b"", b"x", b"PK\x03\x04", bytes(1000)])
def test_what_is_no_inspector_is_refused_on_record(client: TestClient, data: bytes) -> None:
    problem_of(client.post(f"{SMALL}/inspectors", content=data), 422)
    assert len(client.get("/api/v1/inspectors").json()) == 1
    kinds = [event["kind"] for event in client.get("/api/v1/audit").json()]
    assert kinds.count("inspector.refused") == bool(data)


@pytest.mark.parametrize("product", ["..%2f..%2fetc", ".hidden", "a%00b", "%0a", "x" * 101])
def test_a_product_has_a_name_that_a_file_may_have(
    client: TestClient, inspectors: Path, product: str
) -> None:
    data = (inspectors / "small.flawmap").read_bytes()
    status = client.post(f"/api/v1/products/{product}/inspectors", content=data).status_code
    assert status in (404, 422)
    assert len(client.get("/api/v1/inspectors").json()) == 1


def test_a_threshold_takes_two_persons(client: TestClient) -> None:
    proposal = client.post(f"{SMALL}/thresholds", json=WHY | {"budget": 0.2}).json()
    number = proposal["number"]
    refused = client.post(f"{SMALL}/thresholds/{number}/approve")
    assert "another person" in problem_of(refused, 422)
    problem_of(client.post(f"{SMALL}/thresholds/{number}/put-in-force", json=WHY), 422)
    assert client.post(f"{SMALL}/thresholds/{number}/withdraw").json()["state"] == "withdrawn"
    assert client.get("/api/v1/thresholds").json()[0]["state"] == "withdrawn"
    assert client.get("/api/v1/products").json()[0]["threshold_number"] is None


@pytest.mark.parametrize(
    ("path", "body"),
    [("thresholds", WHY | {"budget": 0}), ("thresholds", WHY | {"budget": 1}),
     ("thresholds", WHY | {"budget": "x"}), ("thresholds", {"budget": 0.1}),
     ("thresholds", WHY | {"budget": 0.1, "confidence": 2}),
     ("thresholds", {"budget": 0.1, "reason": " "}), ("thresholds/9/approve", None),
     ("thresholds/0/approve", None), ("thresholds/x/withdraw", None),
     ("thresholds/9/put-in-force", WHY), ("activations", WHY),
     ("activations", WHY | {"model_sha256": "0" * 64}),
     ("activations", WHY | {"model_sha256": "../x"}),
     ("roll-back", WHY), ("roll-back", {}), ("roll-back", {"reason": "a\0"})],
)  # fmt: skip
def test_what_cannot_be_done_is_refused(client: TestClient, path: str, body: Any) -> None:
    before = client.get("/api/v1/audit").json()
    problem_of(client.post(f"{SMALL}/{path}", json=body), 422)
    assert client.get("/api/v1/audit").json() == before
