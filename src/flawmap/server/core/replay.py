"""Judges stored images again, to see that the station still finds what it found.

A difference says that machine, libraries or inspector changed, or that the record did. Nothing is
written.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

from sqlalchemy import desc, func, select

from flawmap.errors import FlawmapError, RecordError
from flawmap.runtime.backend import MACHINE_TOLERANCE
from flawmap.runtime.graph import Precision
from flawmap.runtime.inference import Runtime
from flawmap.runtime.record import Record
from flawmap.server.record.database import Database
from flawmap.server.record.files import FileStore
from flawmap.server.record.reader import Row
from flawmap.server.record.statements import table_of
from flawmap.server.record.tables import Inspection, StoredFile
from flawmap.support.progress import report_progress

Outcome = Literal[
    "same", "borderline", "differs", "image deleted", "image missing", "inspector missing"
]

_VERDICTS = ("good", "reject", "undecided")
_AT_ONCE = 32
"""Images in memory; of sixteen or more, several are computed at the same time."""

_KEPT_LOADED = 2
"""Inspectors in memory."""


@dataclass(frozen=True)
class Replayed:
    """A part whose image was judged again, or could not be.

    Args:
        id: of the inspection.
        product: its name.
        outcome: `same`; `borderline` where scores agree as far as those of two machines do, and
            the threshold is as close; `differs`; `image deleted` by retention; `image
            missing` or damaged; `inspector missing`, damaged, or not the same on this machine.
        state: that is on record.
        score: that is on record; None without one.
        threshold: that is on record; None without one.
        state_now: None where it was not judged.
        score_now: None where there is none.
        error: why it could not be judged, or is undecided now; empty otherwise.
    """

    id: str
    product: str
    outcome: Outcome
    state: str
    score: float | None
    threshold: float | None
    state_now: str | None = None
    score_now: float | None = None
    error: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON's types."""
        return asdict(self)


class Replay(NamedTuple):
    """What came of judging images again.

    Args:
        counts: parts by outcome.
        others: the parts that are not the same, the newest first.
    """

    counts: Mapping[Outcome, int]
    others: tuple[Replayed, ...]


def replay(
    database: Database, files: FileStore, inspectors: Path, limit: int | None = None
) -> Replay:
    """Judge images again, each by the inspector and in the precision that judged it before.

    The threshold is the one on record, so that one that was proposed and approved counts too.

    Args:
        database: of the record.
        files: its images.
        inspectors: folder of the inspectors' files.
        limit: most parts, the newest; None for all.

    Raises:
        RecordError: the database cannot be read.
    """
    counts: Counter[Outcome] = Counter()
    others = []
    total = _count(database, limit)
    loaded = _Inspectors(inspectors)
    for rows in _batches(database, limit):
        for replayed in _replay(rows, files, loaded):
            counts[replayed.outcome] += 1
            if replayed.outcome != "same":
                others.append(replayed)
        report_progress("parts", counts.total(), total)
    return Replay(dict(counts), tuple(others))


class _Inspectors:
    """Loads inspectors, and keeps the last ones; a failure is kept too."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loaded: OrderedDict[tuple[str, str], Runtime | FlawmapError] = OrderedDict()

    def get(self, model_sha256: str, precision: str) -> Runtime | FlawmapError:
        """An inspector, or why there is none."""
        key = model_sha256, precision
        if key not in self._loaded:
            self._loaded[key] = self._load(model_sha256, precision)
        self._loaded.move_to_end(key)
        if len(self._loaded) > _KEPT_LOADED:
            self._loaded.popitem(last=False)
        return self._loaded[key]

    def _load(self, model_sha256: str, precision: str) -> Runtime | FlawmapError:
        file = self._folder / f"{model_sha256}.flawmap"
        if not file.is_file():
            return RecordError(f"{file}: is missing")
        try:
            runtime = Runtime.load(file, cast("Precision", precision))
        except FlawmapError as error:
            return error
        if runtime.model_sha256 != model_sha256:
            return RecordError(f"{file}: is another inspector, {runtime.model_sha256}")
        if runtime.precision != precision:
            return RecordError(f"{file}: this machine computes in {runtime.precision} only")
        return runtime


def _count(database: Database, limit: int | None) -> int:
    statement = select(func.count()).where(Inspection.state.in_(_VERDICTS))
    with database.read() as connection:
        total = connection.scalar(statement) or 0
    return total if limit is None else min(limit, total)


def _batches(database: Database, limit: int | None) -> Iterator[list[Row]]:
    """Rows of parts that were judged, the newest first, with when their images were deleted."""
    inspection = table_of(Inspection)
    statement = (
        select(inspection, StoredFile.deleted_at)
        .join(StoredFile, StoredFile.sha256 == Inspection.image_sha256)
        .where(Inspection.state.in_(_VERDICTS))
        .order_by(desc(Inspection.received_seq))
    )
    left, last = limit, None
    while left is None or left > 0:
        size = _AT_ONCE if left is None else min(left, _AT_ONCE)
        page = statement if last is None else statement.where(Inspection.received_seq < last)
        with database.read() as connection:
            rows = [dict(row) for row in connection.execute(page.limit(size)).mappings()]
        if not rows:
            return
        yield rows
        last = rows[-1]["received_seq"]
        left = None if left is None else left - len(rows)


def _replay(rows: list[Row], files: FileStore, inspectors: _Inspectors) -> Iterator[Replayed]:
    for key, some in groupby(rows, key=lambda row: (row["model_sha256"], row["precision"])):
        present: list[tuple[Row, bytes]] = []
        inspector = inspectors.get(*key)
        for row in some:
            if row["deleted_at"] is not None:
                yield _outcome(row, "image deleted")
            elif isinstance(inspector, FlawmapError):
                yield _outcome(row, "inspector missing", error=str(inspector))
            else:
                try:
                    present.append((row, files.read(row["image_sha256"], "image")))
                except RecordError as error:
                    yield _outcome(row, "image missing", error=str(error))
        if present and isinstance(inspector, Runtime):
            inspections = inspector.inspect_many([data for _, data in present])
            for (row, _), inspection in zip(present, inspections, strict=True):
                yield _compare(row, Record.from_inspection(inspection, inspector))


def _outcome(row: Row, outcome: Outcome, **found: Any) -> Replayed:
    names = ("id", "product", "state", "score", "threshold")
    return Replayed(outcome=outcome, **{name: row[name] for name in names}, **found)


def _compare(row: Row, record: Record) -> Replayed:
    state: str = record.verdict
    if record.score is not None and row["threshold"] is not None and not record.by_zone:
        state = "reject" if record.score > row["threshold"] else "good"
    tolerance = MACHINE_TOLERANCE[cast("Precision", row["precision"])]
    before = _scores(row["score"], row["threshold"], row["by_zone"])
    zones = [asdict(zone) for zone in record.by_zone]
    now = _scores(record.score, record.threshold, zones)
    outcome: Outcome = "differs"
    if before.keys() == now.keys() and all(
        _is_close(now[name][0], *scored, tolerance) for name, scored in before.items()
    ):
        if state == row["state"]:
            outcome = "same"
        elif any(_is_close(limit, score, limit, tolerance) for score, limit in before.values()):
            outcome = "borderline"
    return _outcome(row, outcome, state_now=state, score_now=record.score, error=record.error)


def _is_close(value: float, score: float, threshold: float, tolerance: float) -> bool:
    return abs(value - score) <= tolerance * max(abs(score), abs(threshold))


def _scores(
    score: float | None, threshold: float | None, zones: list[Any] | None
) -> dict[str, tuple[float, float]]:
    """Score and threshold by zone; by an empty name without zones, and nothing without a score."""
    if score is None:
        return {}
    if zones:
        return {zone["name"]: (zone["score"], zone["threshold"]) for zone in zones}
    return {"": (score, threshold or 0.0)}
