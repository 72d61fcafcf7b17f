from __future__ import annotations

import base64
from typing import Any

import pytest
from starlette.testclient import TestClient

from flawmap.server.core.station import Station
from helpers import texture
from server.api.test_inspections import DEFECTIVE, IMAGE, PARTS

INFER = "/v2/models/small/infer"


def image_input(**changes: Any) -> dict[str, Any]:
    data = [base64.b64encode(IMAGE).decode()]
    given = {"name": "image", "shape": [1], "datatype": "BYTES", "data": data}
    return {"id": "my-1", "inputs": [given | changes]}


def outputs(response: Any) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    return {output["name"]: output["data"][0] for output in response.json()["outputs"]}


def test_an_image_in_base64_is_a_part_on_record(client: TestClient) -> None:
    response = client.post(INFER, json=image_input())
    answer = response.json()
    assert outputs(response)["reject"] is False
    assert (answer["model_name"], answer["id"]) == ("small", "my-1")
    part = client.get(f"{PARTS}/{answer['parameters']['inspection']}").json()
    assert part["score"] == outputs(response)["score"]
    assert part["model_sha256"].startswith(answer["model_version"])
    defective = image_input(data=[base64.b64encode(DEFECTIVE).decode()])
    assert outputs(client.post(INFER, json=defective))["reject"] is True


def test_pixels_score_as_their_file_does(client: TestClient) -> None:
    pixels = texture(1, 64, 64).ravel().tolist()
    sent = image_input(shape=[1, 64, 64, 3], datatype="UINT8", data=pixels)
    by_file = outputs(client.post(INFER, json=image_input()))
    assert outputs(client.post(INFER, json=sent)) == by_file


@pytest.mark.parametrize(
    "changes",
    [{"name": "other"}, {"datatype": "FP32"}, {"data": []}, {"data": ["%"]}, {"data": [1]},
     {"data": ["AA=="]}, {"datatype": "UINT8", "shape": [2, 2, 3], "data": [1, 2]},
     {"datatype": "UINT8", "shape": [-1, 1, 3], "data": [256] * 3},
     {"datatype": "UINT8", "shape": [1, 1, 3], "data": ["a"] * 3},
     {"datatype": "UINT8", "shape": [1, 1, 3], "data": [[1], [1, 2]]},
     {"datatype": "UINT8", "shape": [10**30, 1, 3], "data": [1] * 3},
     {"datatype": "UINT8", "shape": [0, 0, 3], "data": []}],
)  # fmt: skip
def test_an_input_that_is_no_image_is_refused(client: TestClient, changes: Any) -> None:
    response = client.post(INFER, json=image_input(**changes))
    assert response.status_code in (400, 422)
    assert response.json().get("error") or response.json()["detail"]


def test_a_model_that_is_not_there_is_not_found(client: TestClient) -> None:
    version = client.get("/v2/models/small").json()["versions"][0]
    for path in ("other", "small/versions/0"):
        for call in (client.get(f"/v2/models/{path}"), client.get(f"/v2/models/{path}/ready"),
                     client.post(f"/v2/models/{path}/infer", json=image_input())):  # fmt: skip
            assert call.status_code == 404
            assert "no model" in call.json()["error"]
    assert client.get(f"/v2/models/small/versions/{version}/ready").json()["ready"] is True


def test_a_halted_station_lives_and_is_not_ready(client: TestClient, station: Station) -> None:
    assert client.get("/v2/health/ready").status_code == 200
    station.halt("test", "a break")
    assert client.get("/v2/health/live").status_code == 200
    assert client.get("/v2/health/ready").status_code == 503
    assert client.get("/v2/models/small/ready").status_code == 503
    assert client.post(INFER, json=image_input()).status_code == 503
