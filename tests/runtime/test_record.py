from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flawmap import Inspector, Runtime, __version__
from flawmap.runtime.inference import Inspection
from flawmap.runtime.record import CSV_COLUMNS, Record, record_schema
from helpers import TINY, save, texture, with_defect
from records import make_record, make_verdict

DOCS = Path(__file__).resolve().parents[2] / "docs" / "record.md"


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    file = tmp_path_factory.mktemp("record") / "part.flawmap"
    Inspector(size=64, **TINY).fit([texture(seed) for seed in range(20)]).save(file)
    return Runtime.load(file)


def inspect(runtime: Runtime, image: Any, **options: Any) -> Record:
    (inspection,) = runtime.inspect_many([image])
    return Record.from_inspection(inspection, runtime, **options)


def test_a_record_says_what_was_inspected_by_whom_and_what_came_out(
    runtime: Runtime, tmp_path: Path
) -> None:
    file = save(tmp_path / "a.png", with_defect(texture(50, 90, 70), 40, 30))
    record = inspect(runtime, file, overlay="overlays/a.png")
    verdict = runtime.inspect(file)
    assert (record.image, record.image_width, record.image_height) == (str(file), 70, 90)
    assert record.image_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (record.method_name, record.version) == ("flawmap", __version__)
    assert (record.score, record.p_value) == (verdict.score, verdict.p_value)
    assert (record.verdict, record.threshold) == ("reject", runtime.calibration.threshold)
    assert len(record.regions) == len(verdict.regions()) > 0
    assert (record.overlay, record.error) == ("overlays/a.png", "")
    assert (record.truth, record.defect_type) == (None, None)
    age = datetime.now(UTC) - datetime.fromisoformat(record.inspected_at)
    assert timedelta(0) <= age < timedelta(minutes=10)
    assert len(record.model_sha256) == len(record.scorer_sha256) == 64


def test_small_regions_are_omitted(runtime: Runtime) -> None:
    image = with_defect(texture(50, 90, 70), 40, 30)
    assert inspect(runtime, image).regions
    assert inspect(runtime, image, min_area=10_000).regions == ()


def test_what_cannot_be_inspected_is_undecided(runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("no image")
    bad = inspect(runtime, tmp_path / "bad.png", overlay="overlays/bad.png")
    assert (bad.verdict, bad.score, bad.p_value, bad.regions) == ("undecided", None, None, ())
    assert (bad.image_width, bad.image_height, bad.overlay) == (None, None, "")
    assert bad.error.startswith(f"{tmp_path / 'bad.png'}: damaged")
    assert bad.image_sha256 == hashlib.sha256(b"no image").hexdigest()
    missing = inspect(runtime, tmp_path / "missing.png")
    assert (missing.verdict, missing.image_sha256) == ("undecided", "")


def test_an_array_and_bytes_are_named_by_what_they_are(runtime: Runtime, tmp_path: Path) -> None:
    data = save(tmp_path / "a.png", texture(1)).read_bytes()
    from_bytes = inspect(runtime, data)
    assert from_bytes.image == f"<{len(data)} bytes>"
    assert from_bytes.image_sha256 == hashlib.sha256(data).hexdigest()
    from_array = inspect(runtime, texture(1))
    assert (from_array.image, from_array.image_sha256) == ("<array (64, 64, 3) uint8>", "")


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_score_that_is_no_number_decides_nothing(runtime: Runtime, score: float) -> None:
    inspection = Inspection("a.png", make_verdict(score), None, texture(0, 48, 64), 1.0)
    record = Record.from_inspection(inspection, runtime)
    assert (record.verdict, record.score, record.p_value) == ("undecided", None, None)
    assert record.error == f"a.png: its score is {score}, no number"


def test_records_are_valid_json_by_the_schema() -> None:
    regions = tuple(make_verdict(3.0).regions())
    for record in (
        make_record("a.png", 3.0, "dent", regions=regions),
        make_record("b.png", None, error="damaged"),
    ):
        values = json.loads(json.dumps(record.to_dict(), allow_nan=False))
        assert problems(values, record_schema()) == []
        assert list(values) == [field.name for field in fields(Record)]
        assert values["inference_ms"] == 8.5
    assert values["truth"] is None


def test_the_schema_refuses_what_no_record_is() -> None:
    values = make_record("a.png", 3.0).to_dict()
    changes: list[dict[str, Any]] = [
        {"verdict": "maybe"},
        {"score": "3"},
        {"image": None},
        {"regions": [{}]},
    ]
    for change in changes:
        assert problems(values | change, record_schema()) != []
    assert problems(values | {"operator": "me"}, record_schema()) != []


def test_every_field_has_a_description() -> None:
    schema = record_schema()
    region = schema["properties"]["regions"]["items"]
    descriptions = [
        value["description"]
        for properties in (schema["properties"], region["properties"])
        for value in properties.values()
    ]
    assert len(descriptions) == len(fields(Record)) + 7
    assert all(len(text.split()) > 2 for text in descriptions)
    assert "milliseconds" in schema["properties"]["inference_ms"]["description"]


def test_a_csv_row_counts_the_regions_and_their_pixels() -> None:
    row = make_record("a.png", 3.0, regions=tuple(make_verdict(3.0).regions())).to_csv_row()
    assert tuple(row) == CSV_COLUMNS
    assert (row["regions"], row["area"]) == (1, 32)
    assert all(not isinstance(value, list | dict) for value in row.values())


def test_an_infinite_peak_is_written_as_a_number() -> None:
    verdict = make_verdict(3.0)
    verdict.heatmap[11, 22] = np.inf
    assert json.loads(json.dumps(verdict.to_dict()["regions"], allow_nan=False))[0]["peak"] > 1e38


# ---- docs/record.md ----


def test_the_documented_schema_is_that_of_the_code() -> None:
    assert json.loads(DOCS.with_suffix(".schema.json").read_text("utf-8")) == record_schema()


def test_the_documented_example_is_a_record() -> None:
    (text,) = re.findall(r"```json\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    example = json.loads(text)
    assert problems(example, record_schema()) == []
    assert list(example) == [field.name for field in fields(Record)]
    assert example["verdict"] == "reject"


def test_the_documented_fields_are_those_of_the_code() -> None:
    table = DOCS.read_text("utf-8").partition("\n## Fields\n")[2].partition("\n## ")[0]
    names = re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE)
    documented_names = re.findall(r"`(\w+)`", " ".join(names))
    assert documented_names == [field.name for field in fields(Record)]


def problems(value: Any, schema: dict[str, Any], where: str = "record") -> list[str]:
    """What a value has that its JSON schema forbids; of the schema's words those that we use."""
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{where}: {value!r}"]
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(is_of_type(value, name) for name in types):
        return [f"{where}: {value!r} is no {types}"]
    if isinstance(value, dict):
        wrong = [f"{where}: {key}" for key in set(schema["required"]) ^ set(value)]
        common = [key for key in value if key in schema["properties"]]
        inner = [problems(value[key], schema["properties"][key], key) for key in common]
    else:
        wrong = []
        items = value if isinstance(value, list) else []
        inner = [problems(item, schema["items"], where) for item in items]
    return wrong + [problem for of_value in inner for problem in of_value]


def is_of_type(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return False
    types: dict[str, type | tuple[type, ...]] = {
        "null": type(None),
        "integer": int,
        "number": (int, float),
        "string": str,
        "array": list,
        "object": dict,
    }
    return isinstance(value, types[name])
