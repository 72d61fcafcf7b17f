from __future__ import annotations

import re
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

ADDRESS = "http://127.0.0.1:8080"


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


def test_inspectors_show_what_is_in_force(client: TestClient, station: Station) -> None:
    text = client.get("/inspectors").text
    (row,) = station.reader.inspectors()
    assert row["model_sha256"] in text
    assert "differ by at most" in text
    assert "Roll back" not in text
    assert client.get("/inspectors?done=what").status_code == 422


def test_a_threshold_goes_its_way_and_back(client: TestClient, station: Station, web: Web) -> None:
    web.accounts.set_four_eyes(False, "test")

    def send(step: str, **fields: Any) -> str:
        answer = client.post(f"/inspectors/{step}", data={"product": "small"} | fields)
        assert answer.status_code == 303, answer.text
        return client.get(answer.headers["location"]).text

    text = send("propose", budget="10", reason="too <b>strict</b>")
    assert "The threshold is proposed" in text
    assert "too &lt;b&gt;strict" in text
    assert "<button>Approve</button>" in text
    text = send("approve", number="1")
    assert "<button>Approve</button>" not in text
    assert "<button>Put in force</button>" in text
    send("put-in-force", number="1", reason="now")
    assert station.reader.in_force()["small"]["threshold_number"] == 1
    (proposed,) = station.reader.thresholds()
    assert (proposed["budget"], proposed["confidence"]) == (0.1, None)
    assert "Roll back" in client.get("/inspectors").text
    send("roll-back", reason="it was better")
    assert station.reader.in_force()["small"]["threshold_number"] is None
    send("propose", budget="20", confidence="", reason="x")
    text = send("withdraw", number="2")
    assert "withdrawn" in text
    (model,) = {row["model_sha256"] for row in station.reader.inspectors()}
    send("activate", model_sha256=model, reason="anew")
    assert station.reader.in_force()["small"]["number"] == 4
    for step, fields in (
        ("propose", {"budget": "200", "reason": "x"}),
        ("propose", {"budget": "10", "reason": " "}),
        ("approve", {"number": "9"}),
        ("put-in-force", {"number": "2", "reason": "x"}),
        ("roll-back", {}),
    ):
        refused = client.post(f"/inspectors/{step}", data={"product": "small"} | fields)
        assert refused.status_code == 422, step
        assert 'href="/inspectors"' in refused.text


def test_nobody_approves_a_threshold_of_their_own(client: TestClient) -> None:
    client.post("/inspectors/propose", data={"product": "small", "budget": "10", "reason": "x"})
    text = client.get("/inspectors").text
    assert "Another person approves it." in text
    assert "<button>Approve</button>" not in text
    refused = client.post("/inspectors/approve", data={"product": "small", "number": "1"})
    assert refused.status_code == 422
    assert "another person approves it" in refused.text


# ---- persons ----

PASSWORD = "correct horse battery"


@pytest.fixture
def people(web: Web) -> dict[str, str]:
    """Logins by role."""
    roles = {"olga": "operator", "emil": "engineer", "anna": "approver", "paul": "auditor"}
    for login, role in roles.items():
        web.accounts.add(login, login.title(), role, PASSWORD, "test")
    return {role: login for login, role in roles.items()}


def sign_in(client: TestClient, login: str, password: str = PASSWORD) -> Any:
    return client.post("/sign-in", data={"login": login, "password": password})


def csrf_of(client: TestClient) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/").text)
    assert found
    return found[1]


@pytest.mark.parametrize("path", ["/", "/latest", "/inspections", "/inspectors"])
def test_who_has_not_signed_in_is_led_there(
    client: TestClient, people: dict[str, str], path: str
) -> None:
    answer = client.get(path)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in"
    assert "Nobody is signed in" in client.get("/sign-in").text
    assert client.get("/api/v1/counts").status_code == 401


def test_without_accounts_nobody_signs_in(client: TestClient) -> None:
    assert "There are no accounts yet" in client.get("/sign-in").text


def test_a_person_signs_in_and_out(client: TestClient, people: dict[str, str]) -> None:
    answer = sign_in(client, "olga")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert "Secure" not in cookie
    text = client.get("/").text
    assert '<b id="actor">olga</b> (operator)' in text
    token = client.cookies["flawmap_session"]
    assert client.post("/sign-out").status_code == 403
    assert client.get("/").status_code == 200
    assert client.post("/sign-out", data={"csrf_token": csrf_of(client)}).status_code == 303
    client.cookies.set("flawmap_session", token, domain="127.0.0.1")
    assert client.get("/").status_code == 303


def test_over_tls_the_cookie_is_for_tls_alone(station: Station, people: dict[str, str]) -> None:
    accounts = Accounts(station.writer, station.database)
    client = client_of(Web(station, accounts, is_secure=True))
    assert "Secure" in sign_in(client, "olga").headers["set-cookie"]


def test_a_cookie_that_was_set_before_is_not_taken_over(
    client: TestClient, people: dict[str, str], web: Web
) -> None:
    client.cookies.set("flawmap_session", "chosen-by-another", domain="127.0.0.1")
    sign_in(client, "olga")
    first = client.cookies["flawmap_session"]
    assert first != "chosen-by-another"
    assert web.accounts.by_session("chosen-by-another") is None
    sign_in(client, "anna")
    assert client.cookies["flawmap_session"] != first
    assert web.accounts.by_session(first) is None, "the session before has ended"


def test_wrong_passwords_say_nothing_about_logins_and_lock(
    client: TestClient, people: dict[str, str]
) -> None:
    texts = set()
    for login in ("olga", "<script>"):
        answer = sign_in(client, login, "wrong wrong wrong")
        assert answer.status_code == 401
        texts.add(re.findall(r'role="alert"[^>]*>([^<]*)<', answer.text)[0])
        assert "set-cookie" not in answer.headers
    assert texts == {"login and password do not match."}
    assert "<script>" not in answer.text.replace("<script src", "")
    for _ in range(4):
        sign_in(client, "olga", "wrong wrong wrong")
    locked = sign_in(client, "olga")
    assert locked.status_code == 401
    assert "too many failed log-ons" in locked.text


def test_an_address_tries_ten_times_a_minute(
    client: TestClient, people: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flawmap.server.pages.sign_in.time.monotonic", lambda: 1000.0)
    statuses = [sign_in(client, f"nobody{number}", "x").status_code for number in range(11)]
    assert statuses == [401] * 10 + [429]
    refused = sign_in(client, "olga")
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "60"
    assert "wait a minute" in refused.text
    monkeypatch.setattr("flawmap.server.pages.sign_in.time.monotonic", lambda: 1060.0)
    assert sign_in(client, "olga").status_code == 303


def test_each_form_needs_the_token_of_its_session(
    client: TestClient, station: Station, people: dict[str, str]
) -> None:
    identity = submit(station)
    sign_in(client, "anna")
    other = TestClient(client.app, base_url=ADDRESS, follow_redirects=False)
    sign_in(other, "anna")
    forms = {f"/inspections/{identity}/decisions": {"verdict": "good", "reason": "x"}}
    for step in ("roll-back", "activate", "propose", "approve", "put-in-force", "withdraw"):
        fields = {"product": "small", "number": "1", "reason": "x", "budget": "10"}
        forms[f"/inspectors/{step}"] = fields | {"model_sha256": "0" * 64}
    before = station.reader.head()
    for address, fields in forms.items():
        for token in ("", "x", "ü", csrf_of(other)):
            refused = client.post(address, data=fields | {"csrf_token": token})
            assert refused.status_code == 403, (address, token)
            assert "another session" in refused.text
    assert station.reader.head() == before
    own = csrf_of(client)
    address = f"/inspections/{identity}/decisions"
    assert client.post(address, data=forms[address] | {"csrf_token": own}).status_code == 303
    (decision,) = station.reader.decisions(identity)
    assert decision["person"] == "anna"


def test_roles_see_and_may_send_what_is_theirs(
    client: TestClient, station: Station, people: dict[str, str]
) -> None:
    identity = submit(station)
    decision = f"/inspections/{identity}/decisions", {"verdict": "good", "reason": "x"}
    proposal = "/inspectors/propose", {"product": "small", "budget": "10", "reason": "x"}
    approval = "/inspectors/approve", {"product": "small", "number": "1"}
    expected = {
        "auditor": (403, 403, 403),
        "operator": (303, 403, 403),
        "engineer": (303, 303, 403),
        "approver": (303, 303, 303),
    }
    for role, statuses in expected.items():
        sign_in(client, people[role])
        token = {"csrf_token": csrf_of(client)}
        part, inspectors = (
            client.get(f"/inspections/{identity}").text,
            client.get("/inspectors").text,
        )
        assert ("Put this on record" in part) == (statuses[0] == 303), role
        assert ("Propose another threshold" in inspectors) == (statuses[1] == 303), role
        assert ("<button>Approve</button>" in inspectors) == (statuses[2] == 303), role
        for (address, fields), status in zip((decision, proposal, approval), statuses, strict=True):
            answer = client.post(address, data=fields | token)
            assert answer.status_code == status, (role, address)
            if status == 403:
                assert f"({role}) may not" in answer.text


def test_a_form_after_the_session_has_ended_leads_to_sign_in(
    client: TestClient, station: Station, people: dict[str, str]
) -> None:
    identity = submit(station)
    answer = client.post(
        f"/inspections/{identity}/decisions",
        data={"verdict": "good", "reason": "x", "csrf_token": "x"},
    )
    assert answer.headers["location"] == "/sign-in"
    assert station.reader.decisions(identity) == []
