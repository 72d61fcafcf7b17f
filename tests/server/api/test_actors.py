from __future__ import annotations

from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from flawmap.server.api.actors import COOKIE
from flawmap.server.core.accounts import ROLES, Accounts
from flawmap.server.core.station import Station
from server.api.test_inspections import ABSENT, IMAGE, PARTS, problem_of

PASSWORD = "correct horse battery"
REASON = {"reason": "a reason"}
ALLOWED = {
    ("GET", PARTS): "view",
    ("GET", f"{PARTS}/{ABSENT}"): "view",
    ("GET", f"{PARTS}/{ABSENT}/image"): "view",
    ("GET", f"{PARTS}/{ABSENT}/overlay"): "view",
    ("GET", "/api/v1/products"): "view",
    ("GET", "/api/v1/inspectors"): "view",
    ("GET", "/api/v1/products/small/activations"): "view",
    ("GET", "/api/v1/thresholds"): "view",
    ("GET", "/api/v1/station"): "view",
    ("GET", "/api/v1/counts"): "view",
    ("GET", "/api/v1/audit"): "view",
    ("GET", "/metrics"): "view",
    ("GET", "/v2/models/small"): "view",
    ("GET", "/v2/models/small/ready"): "view",
    ("POST", PARTS): "inspect",
    ("POST", "/v2/models/small/infer"): "inspect",
    ("POST", f"{PARTS}/{ABSENT}/decisions"): "decide",
    ("POST", "/api/v1/products/small/inspectors"): "manage",
    ("POST", "/api/v1/products/small/activations"): "manage",
    ("POST", "/api/v1/products/small/roll-back"): "manage",
    ("POST", "/api/v1/products/small/thresholds"): "manage",
    ("POST", "/api/v1/products/small/thresholds/1/withdraw"): "manage",
    ("POST", "/api/v1/station/halt"): "manage",
    ("POST", "/api/v1/station/release"): "manage",
    ("POST", "/api/v1/station/skip-waiting"): "manage",
    ("POST", "/api/v1/products/small/thresholds/1/approve"): "approve",
    ("POST", "/api/v1/products/small/thresholds/1/put-in-force"): "approve",
}
OPEN = {"/v2", "/v2/health/live", "/v2/health/ready"}
BODIES = {
    f"{PARTS}/{ABSENT}/decisions": REASON | {"verdict": "good"},
    "/api/v1/products/small/activations": REASON | {"model_sha256": "0" * 64},
    "/api/v1/products/small/thresholds": REASON | {"budget": 0.1},
    "/v2/models/small/infer": {"inputs": []},
}  # fmt: skip


def send(client: TestClient, method: str, path: str, headers: dict[str, str]) -> int:
    body = BODIES.get(path, REASON) if method == "POST" and path != PARTS else None
    return client.request(method, path, json=body, headers=headers).status_code


def test_nobody_signs_in_here_until_there_is_an_account(
    client: TestClient, accounts: Accounts
) -> None:
    who = client.get("/api/v1/station").json()
    assert (who["actor"], who["role"]) == ("local", "approver")
    accounts.add("ada", "Ada", "engineer", PASSWORD, "test")
    response = client.get("/api/v1/station")
    problem_of(response, 401)
    assert response.headers["www-authenticate"] == "Bearer"


def test_elsewhere_everyone_signs_in(client_of: Callable[..., TestClient]) -> None:
    client = client_of(is_loopback=False)
    for method, path in ALLOWED:
        assert send(client, method, path, {}) == 401, path
    for path in OPEN:
        assert client.get(path).status_code == 200, path


def test_each_role_may_do_what_the_table_says(client: TestClient, accounts: Accounts) -> None:
    accounts.add("ada", "Ada", "engineer", PASSWORD, "test")
    for role, permissions in ROLES.items():
        headers = {"authorization": f"Bearer {accounts.add_key(f'key-{role}', role, 'test')}"}
        for (method, path), permission in ALLOWED.items():
            status = send(client, method, path, headers)
            assert (status == 403) == (permission not in permissions), (role, path, status)
            assert status < 500, (role, path, status)
            assert status != 401, (role, path)


def test_each_route_is_in_the_table_or_open(client: TestClient) -> None:
    routes = {
        (method.upper(), path)
        for path, methods in client.get("/api/v1/openapi.json").json()["paths"].items()
        for method in methods
    }
    assert len(routes) > 25
    known = {
        (method, path.replace(ABSENT, "{inspection_id}").replace("small", "{product}")
         .replace("/1/", "/{number}/"))
        for method, path in ALLOWED
    }  # fmt: skip
    left = {(method, path) for method, path in routes - known if "/versions/" not in path}
    assert left == {("GET", path) for path in OPEN} | {("GET", "/api/v1/events")}


@pytest.mark.parametrize(
    "value", ["Bearer", "Bearer ", "Bearer x", "Basic YTpi", "bearer flawmap_", "x",
              "Bearer " + "k" * 9000]
)  # fmt: skip
def test_a_wrong_key_is_nobody_even_here(client: TestClient, value: str) -> None:
    problem_of(client.get(PARTS, headers={"authorization": value}), 401)


def test_a_revoked_key_holds_no_more(client: TestClient, accounts: Accounts) -> None:
    headers = {"authorization": f"Bearer {accounts.add_key('plc', 'machine', 'test')}"}
    part = client.post(PARTS, content=IMAGE, headers=headers)
    assert part.status_code in (201, 202)
    accounts.revoke_key("plc", "test")
    problem_of(client.get(PARTS, headers=headers), 401)


def test_a_session_signs_requests_until_it_ends(
    client: TestClient, accounts: Accounts, station: Station
) -> None:
    accounts.add("ada", "Ada", "operator", PASSWORD, "test")
    token, actor = accounts.sign_in("ada", PASSWORD)
    cookie = {"cookie": f"{COOKIE}={token}"}
    part = client.post(PARTS, content=IMAGE, headers=cookie, params={"wait": 30}).json()
    decision = {"verdict": "reject", "reason": "a scratch"}
    client.post(f"{PARTS}/{part['id']}/decisions", json=decision, headers=cookie)
    assert station.reader.decisions(part["id"])[0]["person"] == "ada"
    accounts.sign_out(token, actor)
    problem_of(client.get(PARTS, headers=cookie), 401)


def test_no_secret_is_in_the_record_or_in_a_log(
    client: TestClient, accounts: Accounts, station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    accounts.add("ada", "Ada", "operator", PASSWORD, "test")
    key = accounts.add_key("plc", "machine", "test")
    token, actor = accounts.sign_in("ada", PASSWORD)
    client.get(PARTS, headers={"authorization": f"Bearer {key}"})
    client.get(PARTS, headers={"cookie": f"{COOKIE}={token}"})
    written = b"".join(file.read_bytes() for file in station.folder.glob("record.sqlite*"))
    assert b"ada" in written
    for secret in (PASSWORD, key, token):
        assert secret.encode() not in written
        assert secret not in caplog.text
    # The token of forms is kept for the session, and is in no event.
    assert actor.csrf_token not in str(station.reader.events())
