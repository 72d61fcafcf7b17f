from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from server.api.test_inspections import DEFECTIVE, IMAGE, PARTS


def test_the_figures_are_those_of_the_record(client: TestClient) -> None:
    for image in (IMAGE, IMAGE, DEFECTIVE):
        fields: dict[str, str | int] = {"serial": "secret-serial", "wait": 30}
        assert client.post(PARTS, content=image, params=fields).status_code == 201
    text = client.get("/metrics").text
    values = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert values["flawmap_received_total", "small"] == 3
    assert values["flawmap_inspections_total", "good", "small"] == 2
    assert values["flawmap_inspections_total", "reject", "small"] == 1
    assert values["flawmap_waiting_images",] == 0
    assert values["flawmap_state", "ready"] == 1
    assert "secret-serial" not in text
