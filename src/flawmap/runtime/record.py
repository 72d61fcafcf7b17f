"""One inspected image as one row: for CSV, JSON Lines, the report and the evaluation."""

from __future__ import annotations

import inspect
import math
import re
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from flawmap._version import __version__
from flawmap.runtime.images.image_input import name_of
from flawmap.runtime.inference import Inspection, Runtime
from flawmap.runtime.verdict import Outline, Region, Verdict, ZoneVerdict
from flawmap.support.names import as_text

_JSON_TYPES = {int: "integer", float: "number", str: "string", bool: "boolean"}


@dataclass(frozen=True, eq=False)
class Record:
    """One inspected image as one row, whether it could be inspected or not.

    Args:
        image: path of the image as it was given, with bytes that are not text escaped, or what kind
            of object it was.
        image_width: of the image, in pixels; null where it could not be read.
        image_height: of the image, in pixels; null where it could not be read.
        image_sha256: SHA-256 of the image file's bytes, 64 hexadecimal digits; empty for an array,
            or where there were no bytes to read.
        method_name: name of the inspector's method.
        model_sha256: hash of the inspector's file, which a new threshold changes; empty where the
            inspector was not loaded from a file.
        scorer_sha256: hash of all that scores depend on, which a new threshold does not change;
            empty where the inspector was not loaded from a file.
        version: version of flawmap that inspected the image.
        score: image score, a distance >= 0 without a unit; null where there is none.
        threshold: score beyond which a part is rejected; with zones, in the one that decides, and
            null where none does.
        p_value: fraction of good parts that would score at least as high, 0…1; null without score.
        verdict: `good`, `reject`, or `undecided` where the image could not be inspected.
        regions: where the heat map exceeds the limit of good parts, the most anomalous first.
        overlay: file of the image under its heat map, from the folder of the results; empty where
            none was written.
        error: what went wrong with the image, with its overlay, or in an evaluation with its mask;
            empty where nothing did.
        inference_ms: time from the preprocessed image to the verdict, in milliseconds; 0 where
            there was none.
        inspected_at: when the verdict was there: UTC, ISO 8601.
        zone: name of the zone that decides (a region of `fit --regions`); empty without zones.
        by_zone: what each zone says; empty without zones.
        truth: `good` or `defective` in an evaluation; null where it is not known.
        defect_type: `good` or the name of the defect type in an evaluation; null where it is not
            known.

    Example:
        >>> record = Record(
        ...     image="new/1.png", image_width=640, image_height=480, image_sha256="",
        ...     method_name="patchcore", model_sha256="", scorer_sha256="", version="1.0",
        ...     score=2.5, threshold=2.0, p_value=0.01, verdict="reject", regions=(),
        ...     overlay="", error="", inference_ms=8.5, inspected_at="2026-01-31T12:00:00.000Z",
        ... )
        >>> record.to_dict()["verdict"]
        'reject'
    """

    image: str
    image_width: int | None
    image_height: int | None
    image_sha256: str
    method_name: str
    model_sha256: str
    scorer_sha256: str
    version: str
    score: float | None
    threshold: float | None
    p_value: float | None
    verdict: Literal["good", "reject", "undecided"]
    regions: tuple[Region, ...]
    overlay: str
    error: str
    inference_ms: float
    inspected_at: str
    zone: str = ""
    by_zone: tuple[ZoneVerdict, ...] = ()
    truth: Literal["good", "defective"] | None = None
    defect_type: str | None = None

    @classmethod
    def from_inspection(
        cls, inspection: Inspection, runtime: Runtime, *, min_area: int = 0, overlay: str = ""
    ) -> Record:
        """The record of an image that was just inspected.

        A score that is no finite number decides nothing: the record is `undecided` and says so.

        Args:
            inspection: what `runtime.inspect_many` gave for the image.
            runtime: the inspector that inspected it.
            min_area: regions of fewer pixels are omitted.
            overlay: file of its overlay, from the folder of the results; empty without one.
        """
        image = inspection.image
        record = cls(
            image=as_text(name_of(inspection.image_input)),
            image_width=None if image is None else image.shape[1],
            image_height=None if image is None else image.shape[0],
            image_sha256=inspection.image_sha256,
            method_name=runtime.method_name,
            model_sha256=runtime.model_sha256,
            scorer_sha256=runtime.scorer_sha256,
            version=__version__,
            score=None,
            threshold=None if runtime.preprocessing.zones else runtime.calibration.threshold,
            p_value=None,
            verdict="undecided",
            regions=(),
            overlay="",
            error=as_text(str(inspection.error or "")),
            inference_ms=inspection.inference_ms,
            inspected_at=_now(),
        )
        if inspection.verdict is None:
            return record
        return record._decided(inspection.verdict, min_area, overlay)

    def _decided(self, verdict: Verdict, min_area: int, overlay: str) -> Record:
        if not math.isfinite(verdict.score):
            return replace(self, error=f"{self.image}: its score is {verdict.score}, no number")
        return replace(
            self,
            score=verdict.score,
            p_value=verdict.p_value,
            verdict="reject" if verdict.reject else "good",
            threshold=verdict.zone_threshold if verdict.by_zone else self.threshold,
            regions=tuple(verdict.regions(min_area)),
            overlay=overlay,
            zone=verdict.zone,
            by_zone=verdict.by_zone,
        )

    @property
    def ranking(self) -> float | None:
        """What images compare by: the score; with zones its multiple of the threshold."""
        if self.score is None or self.threshold is None or not self.by_zone:
            return self.score
        return self.score / self.threshold

    def to_dict(self) -> dict[str, Any]:
        """All fields by name, ready for JSON, as `record_schema` describes them."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        regions = [region.to_dict() for region in self.regions]
        by_zone = [asdict(zone) for zone in self.by_zone]
        inference_ms = round(self.inference_ms, 1)
        return values | {"regions": regions, "inference_ms": inference_ms, "by_zone": by_zone}

    def to_csv_row(self) -> dict[str, Any]:
        """The cells of a CSV row, by `CSV_COLUMNS`.

        In place of the regions stand their number, and the pixels that they have together. Of zones
        there is the one that decides.
        """
        area = sum(region.area for region in self.regions)
        values = self.to_dict() | {"regions": len(self.regions), "area": area}
        return {column: values[column] for column in CSV_COLUMNS}


def _csv_columns() -> tuple[str, ...]:
    names = [field.name for field in fields(Record) if field.name != "by_zone"]
    names.insert(names.index("regions") + 1, "area")
    return tuple(names)


CSV_COLUMNS = _csv_columns()
"""Columns of a CSV file of records, in order."""


def record_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of what `Record.to_dict` returns.

    Types come from the fields of `Record`, `Region` and `ZoneVerdict`, descriptions from their
    docstrings.

    Example:
        >>> record_schema()["properties"]["threshold"]["type"]
        ['number', 'null']
    """
    draft = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": draft, "title": "Record"} | _object_schema(Record)


def _object_schema(cls: type) -> dict[str, Any]:
    types = get_type_hints(cls)
    names = [field.name for field in fields(cls)]
    descriptions = _field_descriptions(cls)
    properties = {name: descriptions.get(name, {}) | _schema(types[name]) for name in names}
    return {
        "type": "object",
        "properties": properties,
        "required": names,
        "additionalProperties": False,
    }


def _schema(annotation: Any) -> dict[str, Any]:
    if annotation in _JSON_TYPES:
        return {"type": _JSON_TYPES[annotation]}
    if annotation is Outline:
        point = {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}
        return {"type": "array", "items": point}
    if get_origin(annotation) is Literal:
        return {"enum": list(get_args(annotation))}
    if get_origin(annotation) is tuple:
        return {"type": "array", "items": _object_schema(get_args(annotation)[0])}
    (value,) = (option for option in get_args(annotation) if option is not NoneType)
    return _nullable(_schema(value))


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    if "enum" in schema:
        return {"enum": [*schema["enum"], None]}
    return {"type": [schema["type"], "null"]}


def _field_descriptions(cls: type) -> dict[str, dict[str, str]]:
    """A `description` for each field, from the Args section of a class's docstring."""
    section = (inspect.getdoc(cls) or "").partition("Args:\n")[2].partition("\n\n")[0]
    entries = re.split(r"^    (\w+): ", section, flags=re.MULTILINE)
    texts = [re.sub(r"\s+", " ", text).strip() for text in entries[2::2]]
    by_name = zip(entries[1::2], texts, strict=True)
    return {name: {"description": text.removesuffix(".")} for name, text in by_name}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
