"""What each kind of event writes into the tables.

A projection makes a row of an event: from its data, by name, and from the stamps `seq`, `at`,
`subject` and `actor`. Since nothing else writes these tables, they can be compared with the events
at any time, and the events decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from flawmap.server.record.tables import (
    Activation,
    ApiKey,
    Base,
    Decision,
    Inspection,
    Person,
    ProposedThreshold,
    Setting,
    StoredFile,
    StoredInspector,
)

Change = Literal["insert", "update", "upsert"]


@dataclass(frozen=True)
class Projection:
    """The row that an event writes.

    Args:
        table: where.
        change: `insert` a row, `update` the one with the key, or `upsert`, whichever it takes.
        columns: column by what it is made of: a name in the event's data, or `@seq`, `@at`,
            `@subject`, `@actor`.
        constants: columns with a value that is always the same.
        where: a name in the data without which (null or missing) the event writes no such row.
    """

    table: type[Base]
    change: Change
    columns: Mapping[str, str]
    constants: Mapping[str, Any] = field(default_factory=dict)
    where: str = ""

    def row(self, stamps: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any] | None:
        """The values of the columns that an event writes.

        Args:
            stamps: `seq`, `at`, `subject` and `actor` of the event.
            data: of the event.

        Returns:
            By name of the column; None where the event writes no row.

        Raises:
            KeyError: the data lack a name.
        """
        if self.where and data.get(self.where) is None:
            return None
        row = {
            column: stamps[source[1:]] if source.startswith("@") else data[source]
            for column, source in self.columns.items()
        }
        return row | dict(self.constants)


def _same(*names: str) -> dict[str, str]:
    """Columns that are called as in the data."""
    return {name: name for name in names}


_IMAGE = Projection(
    StoredFile,
    "upsert",
    {"sha256": "image_sha256", "size": "image_size", "stored_at": "@at"},
    {"category": "image", "deleted_at": None, "deleted_by_rule": None},
)
_OVERLAY = Projection(
    StoredFile,
    "upsert",
    {"sha256": "overlay_sha256", "size": "overlay_size", "stored_at": "@at"},
    {"category": "overlay", "deleted_at": None, "deleted_by_rule": None},
    where="overlay_sha256",
)
_RECEIVED = Projection(
    Inspection,
    "insert",
    {"id": "@subject", "received_seq": "@seq", "received_at": "@at"}
    | _same("product", "activation_number", "source", "source_key", "name", "serial", "lot")
    | _same("purpose", "station", "image_sha256"),
    {"state": "waiting"},
)
_JUDGED = Projection(
    Inspection,
    "update",
    {"id": "@subject", "judged_seq": "@seq", "judged_at": "@at"}
    | _same("state", "score", "p_value", "threshold", "zone", "regions", "by_zone", "error")
    | _same("image_width", "image_height", "overlay_sha256", "model_sha256", "scorer_sha256")
    | _same("method_name", "version", "precision", "golden_difference")
    | _same("wait_ms", "inference_ms", "record_ms"),
)
_SKIPPED = Projection(
    Inspection,
    "update",
    {"id": "@subject", "judged_seq": "@seq", "judged_at": "@at", "error": "reason"},
    {"state": "skipped"},
)
_DECIDED = Projection(
    Decision,
    "insert",
    {"seq": "@seq", "inspection_id": "@subject", "at": "@at", "person": "@actor"}
    | _same("verdict", "reason"),
)
_IMPORTED = Projection(
    StoredInspector,
    "insert",
    {"product": "@subject", "imported_at": "@at", "imported_by": "@actor"}
    | _same("model_sha256", "file_sha256", "file_size", "scorer_sha256", "method_name", "version")
    | _same("precision", "golden_difference", "fitted_images", "budget", "threshold"),
)
_ACTIVATED = Projection(
    Activation,
    "insert",
    {"product": "@subject", "from_seq": "@seq", "at": "@at", "by": "@actor"}
    | _same("number", "model_sha256", "threshold_number", "reason"),
)
_PROPOSED = Projection(
    ProposedThreshold,
    "insert",
    {"product": "@subject", "proposed_at": "@at", "proposed_by": "@actor"}
    | _same("number", "model_sha256", "budget", "confidence", "score", "rank", "reason"),
    {"state": "proposed"},
)


def _threshold_becomes(state: str) -> Projection:
    columns = {"product": "@subject", "number": "number"}
    if state in ("approved", "withdrawn"):
        columns |= {"closed_by": "@actor", "closed_at": "@at"}
    return Projection(ProposedThreshold, "update", columns, {"state": state})


PROJECTIONS: Mapping[str, tuple[Projection, ...]] = {
    "station.started": (),
    "station.stopped": (),
    "station.halted": (),
    "station.released": (),
    "clock.jumped": (),
    "inspection.received": (_IMAGE, _RECEIVED),
    "inspection.judged": (_OVERLAY, _JUDGED),
    "inspection.skipped": (_SKIPPED,),
    "decision.made": (_DECIDED,),
    "inspector.imported": (_IMPORTED,),
    "inspector.refused": (),
    "inspector.activated": (_ACTIVATED,),
    "threshold.proposed": (_PROPOSED,),
    "threshold.approved": (_threshold_becomes("approved"),),
    "threshold.withdrawn": (_threshold_becomes("withdrawn"),),
    "threshold.in_force": (_threshold_becomes("in_force"),),
    "threshold.superseded": (_threshold_becomes("superseded"),),
    "person.added": (
        Projection(
            Person, "insert", {"login": "@subject", "created_at": "@at"} | _same("name", "role")
        ),
    ),
    "person.changed": (
        Projection(Person, "update", {"login": "@subject"} | _same("name", "role")),
    ),
    "person.reset": (Projection(Person, "update", {"login": "@subject"}),),
    "person.closed": (Projection(Person, "update", {"login": "@subject", "closed_at": "@at"}),),
    "logon.ok": (),
    "logon.failed": (),
    "logon.locked": (),
    "logon.off": (),
    "key.added": (
        Projection(
            ApiKey,
            "insert",
            {"name": "@subject", "created_at": "@at", "created_by": "@actor", "role": "role"},
        ),
    ),
    "key.revoked": (Projection(ApiKey, "update", {"name": "@subject", "closed_at": "@at"}),),
    "setting.changed": (
        Projection(
            Setting,
            "upsert",
            {"name": "@subject", "changed_at": "@at", "changed_by": "@actor", "value": "value"},
        ),
    ),
    "file.deleted": (
        Projection(
            StoredFile,
            "update",
            {"sha256": "@subject", "deleted_at": "@at", "deleted_by_rule": "rule"},
        ),
    ),
    "backup.made": (),
    "backup.restored": (),
    "export.made": (),
}
"""Rows by kind of event; a kind that is not here cannot be written."""

SECRET_COLUMNS: Mapping[type[Base], frozenset[str]] = {
    Person: frozenset({"password_hash"}),
    ApiKey: frozenset({"token_hash"}),
}
"""Columns that stand in no event; whoever appends the event hands them over beside it."""
