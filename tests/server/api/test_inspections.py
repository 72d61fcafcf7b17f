from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from flawmap.render.encode import encode_image
from flawmap.server.core.station import Station
from helpers import texture
from server.waiting import wait_for

PARTS = "/api/v1/inspections"
IMAGE = encode_image(texture(1, 64, 64), ".png")
SHA256 = hashlib.sha256(IMAGE).hexdigest()
NOISE = np.random.default_rng(0).integers(0, 2, (64, 64, 3)) * 255
DEFECTIVE = encode_image(NOISE.astype(np.uint8), ".png")
ABSENT = "0" * 32


def problem_of(response: Any, status: int) -> str:
    """What an answer says is wrong, which has the form of RFC 9457."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    return str(body["detail"])


def test_a_part_sent_as_bytes_comes_back_judged(client: TestClient) -> None:
    response = client.post(PARTS, content=IMAGE, params={"serial": "A1", "lot": "L", "wait": 30})
    part = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"{PARTS}/{part['id']}"
    assert (part["product"], part["serial"], part["lot"]) == ("small", "A1", "L")
    assert (part["state"], part["verdict"]) == ("good", "good")
    assert part["image_sha256"] == SHA256
    assert part["score"] <= part["threshold"]
    assert len(part["model_sha256"]) == len(part["scorer_sha256"]) == 64
    again = client.get(part["links"]["self"]).json()
    assert again == part | {"decisions": []}


def test_a_part_sent_as_a_form_keeps_its_name(client: TestClient) -> None:
    part = client.post(
        PARTS,
        params={"wait": 30},
        data={"product": "small", "serial": "Ü-1", "lot": "7"},
        files={"image": ("teil 1.png", IMAGE, "image/png")},
    ).json()
    assert (part["name"], part["serial"], part["lot"]) == ("teil 1.png", "Ü-1", "7")
    assert part["state"] == "good"


def test_a_part_is_taken_from_an_allowed_folder(
    client_of: Callable[..., TestClient], tmp_path: Path
) -> None:
    root = tmp_path / "camera"
    (root / "a").mkdir(parents=True)
    (root / "a" / "1.png").write_bytes(IMAGE)
    client = client_of(roots={"camera": root})
    asked = {"root": "camera", "path": "a/1.png"}
    part = client.post(PARTS, json=asked, params={"wait": 30}).json()
    assert (part["name"], part["image_sha256"]) == ("a/1.png", SHA256)


@pytest.mark.parametrize(
    "path",
    ["../secret.png", "/etc/passwd", "a/../../secret.png", "link.png", "linked/secret.png", "",
     "a", "a\0b", "x" * 5000, "..\\secret.png", "%2e%2e/secret.png"],
)  # fmt: skip
def test_no_path_leads_out_of_an_allowed_folder(
    client_of: Callable[..., TestClient], tmp_path: Path, path: str
) -> None:
    root = tmp_path / "camera"
    (root / "a").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(IMAGE)
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "linked").symlink_to(tmp_path, target_is_directory=True)
    client = client_of(roots={"camera": root})
    assert "folder" in problem_of(client.post(PARTS, json={"root": "camera", "path": path}), 422)
    assert client.get(PARTS).json()["items"] == []


@pytest.mark.parametrize(
    ("body", "status"),
    [({"root": "other", "path": "a"}, 403), ({"root": "camera"}, 422), ([], 422), ("x", 422),
     ({"root": 1, "path": "a"}, 422), ({"root": "camera", "path": ["a"]}, 422), (None, 422)],
)  # fmt: skip
def test_a_path_without_an_allowed_folder_is_refused(
    client: TestClient, body: Any, status: int
) -> None:
    problem_of(client.post(PARTS, json=body), status)


def test_nothing_but_an_image_is_undecided_and_says_why(client: TestClient) -> None:
    part = client.post(PARTS, content=b"<script>alert(1)</script>", params={"wait": 30}).json()
    assert (part["state"], part["score"]) == ("undecided", None)
    assert part["error"]
    image = client.get(part["links"]["image"])
    assert image.content == b"<script>alert(1)</script>"
    assert image.headers["content-type"] == "application/octet-stream"
    assert image.headers["content-disposition"].startswith("attachment")


def test_a_reject_has_an_overlay_and_a_good_part_has_none(client: TestClient) -> None:
    part = client.post(PARTS, content=DEFECTIVE, params={"wait": 30}).json()
    assert part["verdict"] == "reject"
    overlay = client.get(part["links"]["overlay"])
    assert (overlay.status_code, overlay.headers["content-type"]) == (200, "image/png")
    assert hashlib.sha256(overlay.content).hexdigest() == part["overlay_sha256"]
    good = client.post(PARTS, content=IMAGE, params={"wait": 30}).json()
    assert "overlay" not in good["links"]
    problem_of(client.get(f"{PARTS}/{good['id']}/overlay"), 404)


def test_the_same_key_is_the_same_part(client: TestClient) -> None:
    headers = {"Idempotency-Key": "k1"}
    first = client.post(PARTS, content=IMAGE, headers=headers, params={"wait": 30})
    again = client.post(PARTS, content=IMAGE, headers=headers, params={"wait": 30})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    assert (first.json()["is_repeat"], again.json()["is_repeat"]) == (False, True)
    problem_of(client.post(PARTS, content=DEFECTIVE, headers=headers), 422)
    assert client.get("/api/v1/counts").json()[0]["received"] == 1


def test_who_does_not_wait_gets_the_verdict_later(client: TestClient, station: Station) -> None:
    response = client.post(PARTS, content=IMAGE, params={"wait": 0})
    assert response.status_code in (201, 202)
    part = client.get(response.headers["location"]).json()
    assert part["image_sha256"] == SHA256
    wait_for(lambda: not station.judge.waiting)
    assert client.get(response.headers["location"]).json()["verdict"] == "good"


def test_what_is_not_taken_in_leaves_no_row(client: TestClient, station: Station) -> None:
    problem_of(client.post(PARTS, content=b""), 422)
    problem_of(client.post(PARTS, content=IMAGE, params={"product": "other"}), 404)
    problem_of(client.post(PARTS, files={"other": ("a.png", IMAGE)}), 422)
    parts = {"image": (None, "no file")}
    problem_of(client.post(PARTS, files=parts), 422)
    boundary = {"content-type": "multipart/form-data; boundary=x"}
    problem_of(client.post(PARTS, content=b"--y\r\nnonsense", headers=boundary), 400)
    problem_of(
        client.post(PARTS, content=b"", headers={"content-type": "multipart/form-data"}), 400
    )
    station.halt("test", "a break")
    halted = client.post(PARTS, content=IMAGE)
    assert "halted" in problem_of(halted, 503)
    assert int(halted.headers["retry-after"]) > 0
    assert client.get(PARTS).json()["items"] == []
    assert client.get("/api/v1/counts").json() == []


def test_a_search_finds_what_was_asked_for_page_by_page(client: TestClient) -> None:
    ids = [
        client.post(PARTS, content=IMAGE, params={"serial": f"S{n}", "lot": "L", "wait": 30})
        .json()["id"]
        for n in range(3)
    ]  # fmt: skip
    first = client.get(PARTS, params={"lot": "L", "limit": 2}).json()
    second = client.get(PARTS, params={"lot": "L", "cursor": first["next_cursor"]}).json()
    assert [part["id"] for part in first["items"] + second["items"]] == ids[::-1]
    assert second["next_cursor"] is None
    found = client.get(PARTS, params={"serial": "S1", "state": "good"}).json()["items"]
    assert [part["id"] for part in found] == [ids[1]]
    assert client.get(PARTS, params={"since": "2999-01-01"}).json()["items"] == []
    assert len(client.get(PARTS, params={"until": "2999-01-01"}).json()["items"]) == 3


@pytest.mark.parametrize("text", ["' OR '1'='1", "%", "_1", "S1'; DROP TABLE inspection; --", '"'])
@pytest.mark.parametrize("field", ["serial", "lot", "product"])
def test_search_text_is_no_sql(client: TestClient, field: str, text: str) -> None:
    assert client.post(PARTS, content=IMAGE, params={"serial": "S1"}).status_code < 300
    assert client.get(PARTS, params={field: text}).json()["items"] == []
    assert len(client.get(PARTS).json()["items"]) == 1


@pytest.mark.parametrize(
    "params",
    [{"limit": 0}, {"limit": 501}, {"limit": "x"}, {"cursor": -1}, {"cursor": 2**70},
     {"state": "bad"}, {"since": "yesterday"}, {"until": "2026"}, {"serial": "a\0b"},
     {"lot": "x" * 201}, {"product": "a\nb"}],
)  # fmt: skip
def test_a_search_for_what_cannot_be_is_refused(client: TestClient, params: Any) -> None:
    assert next(iter(params)) in problem_of(client.get(PARTS, params=params), 422)


@pytest.mark.parametrize(
    "params",
    [{"wait": -1}, {"wait": "nan"}, {"wait": 61}, {"purpose": "other"}, {"serial": "a\0"},
     {"lot": "x" * 201}, {"name": "\x7f"}],
)  # fmt: skip
def test_a_part_with_fields_that_cannot_be_is_refused(client: TestClient, params: Any) -> None:
    assert next(iter(params)) in problem_of(client.post(PARTS, content=IMAGE, params=params), 422)
    headers = {"Idempotency-Key": "k" * 201}
    problem_of(client.post(PARTS, content=IMAGE, headers=headers), 422)
    assert client.get(PARTS).json()["items"] == []


@pytest.mark.parametrize("what", ["", "/image", "/overlay"])
def test_there_is_nothing_of_an_unknown_part(client: TestClient, what: str) -> None:
    problem_of(client.get(f"{PARTS}/{ABSENT}{what}"), 404)
    problem_of(client.get(f"{PARTS}/..%2f..%2fetc{what}"), 404)
    problem_of(client.get(f"{PARTS}/XYZ{what}"), 422)


def test_a_word_of_a_person_stands_beside_the_verdict(client: TestClient) -> None:
    part = client.post(PARTS, content=IMAGE, params={"wait": 30}).json()
    decisions = f"{PARTS}/{part['id']}/decisions"
    response = client.post(decisions, json={"verdict": "reject", "reason": "a scratch"})
    assert response.status_code == 201
    assert response.json()["verdict"] == "good"
    (decision,) = response.json()["decisions"]
    assert (decision["verdict"], decision["person"]) == ("reject", "local")
    assert decision["reason"] == "a scratch"


@pytest.mark.parametrize(
    "body",
    [{}, {"verdict": "reject"}, {"verdict": "maybe", "reason": "r"}, [], "x", None, 1,
     {"verdict": "good", "reason": ""}, {"verdict": "good", "reason": "  "},
     {"verdict": "good", "reason": "x" * 2001}, {"verdict": "good", "reason": 5},
     {"verdict": "good", "reason": "a\0b"}, {"verdict": ["good"], "reason": "r"}],
)  # fmt: skip
def test_a_word_that_says_nothing_is_refused(client: TestClient, body: Any) -> None:
    part = client.post(PARTS, content=IMAGE, params={"wait": 30}).json()
    problem_of(client.post(f"{PARTS}/{part['id']}/decisions", json=body), 422)
    assert client.get(f"{PARTS}/{part['id']}").json()["decisions"] == []


def test_nothing_is_decided_of_an_unknown_part(client: TestClient) -> None:
    body = {"verdict": "good", "reason": "r"}
    problem_of(client.post(f"{PARTS}/{ABSENT}/decisions", json=body), 404)


@pytest.mark.parametrize("bad", [b"{", b"\xff\xfe", b"[" * 100_000, b'{"verdict": NaN}'])
def test_json_that_is_none_is_refused(client: TestClient, bad: bytes) -> None:
    headers = {"content-type": "application/json"}
    for path in (PARTS, f"{PARTS}/{ABSENT}/decisions"):
        response = client.post(path, content=bad, headers=headers)
        assert response.status_code in (400, 422), response.text
