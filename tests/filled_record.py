"""A small record with one of everything, for tests of what reads records."""

from __future__ import annotations

import hashlib
import shutil
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flawmap.server.record.checkpoints import CHECKPOINTS, write_checkpoint
from flawmap.server.record.database import Database
from flawmap.server.record.files import FileStore
from flawmap.server.record.inspections import (
    Arrival,
    Judgement,
    Received,
    State,
    decide,
    judge,
    receive,
    skip,
)
from flawmap.server.record.writer import RecordWriter, Transaction

PRODUCT = "bolt"
_VERDICTS: tuple[State, ...] = ("good", "reject", "undecided")
MODEL = "a" * 64
_INSPECTOR = b"inspector"
_IMPORTED = {
    "model_sha256": MODEL,
    "file_sha256": hashlib.sha256(_INSPECTOR).hexdigest(),
    "file_size": len(_INSPECTOR),
    "scorer_sha256": "c" * 64,
    "method_name": "small",
    "version": "0.1.0",
    "precision": "f32",
    "golden_difference": 0.0,
    "fitted_images": 20,
    "budget": 0.05,
    "threshold": 2.0,
}
_ACTIVATED = {"number": 1, "model_sha256": MODEL, "threshold_number": None, "reason": "new"}


@dataclass
class FilledRecord:
    """A data folder with a record, and ids of its inspections by what became of them."""

    folder: Path
    ids: dict[str, str]

    def copy(self, folder: Path) -> FilledRecord:
        """The same record in another folder."""
        shutil.copytree(self.folder, folder)
        return FilledRecord(folder, self.ids)

    @property
    def files(self) -> FileStore:
        return FileStore(self.folder / "files")

    @property
    def checkpoints(self) -> Path:
        return self.folder / CHECKPOINTS


def fill(folder: Path, database: Database | None = None) -> FilledRecord:
    """Write a record: three parts that were judged, one skipped, one that waits, and the rest."""
    record = FilledRecord(folder, {})
    file = folder / "inspectors" / f"{MODEL}.flawmap"
    file.parent.mkdir(parents=True)
    file.write_bytes(_INSPECTOR)
    with nullcontext(database) if database else closing(Database.in_folder(folder)) as opened:
        opened.prepare()
        with RecordWriter(opened) as writer:
            writer.run(_begin)
            for state in ("good", "reject", "undecided", "skipped", "waiting"):
                record.ids[state] = _receive(writer, record.files, state).id
            for verdict in _VERDICTS:
                judgement = _judgement(record.files, verdict)
                writer.run(partial(judge, inspection_id=record.ids[verdict], judgement=judgement))
            writer.run(lambda t: skip(t, record.ids["skipped"], "no inspector", "eva"))
            writer.run(lambda t: decide(t, record.ids["reject"], "good", "dust", "eva"))
            write_checkpoint(writer, record.checkpoints)
            writer.run(lambda t: t.append("station.stopped", "line 1", "station", {}))
    return record


def _begin(transaction: Transaction) -> None:
    transaction.append("station.started", "line 1", "station", {"version": "0.1.0"})
    transaction.append("inspector.imported", PRODUCT, "eva", _IMPORTED)
    transaction.append("inspector.activated", PRODUCT, "eva", _ACTIVATED)
    person = {"name": "Eva", "role": "engineer"}
    transaction.append("person.added", "eva", "local", person, {"password_hash": "secret"})
    transaction.append("setting.changed", "image_days", "eva", {"value": {"days": 90}})


def _receive(writer: RecordWriter, files: FileStore, state: str) -> Received:
    data = f"image of {state}".encode()
    arrival = Arrival(PRODUCT, files.store(data, "image"), len(data), "rest", serial=state)
    return writer.run(lambda t: receive(t, arrival, "line 1", "cell"))


def _judgement(files: FileStore, state: State) -> Judgement:
    picture = b"overlay"
    is_reject = state == "reject"
    return Judgement(
        state=state,
        score=None if state == "undecided" else 2.5 if is_reject else 1.1,
        p_value=None if state == "undecided" else 0.25,
        threshold=2.0,
        zone="",
        regions=[{"area": 4}] if is_reject else [],
        by_zone=[],
        error="no image" if state == "undecided" else "",
        image_width=64,
        image_height=64,
        overlay_sha256=files.store(picture, "overlay") if is_reject else None,
        overlay_size=len(picture) if is_reject else None,
        model_sha256=MODEL,
        scorer_sha256="c" * 64,
        method_name="small",
        version="0.1.0",
        precision="f32",
        golden_difference=0.0,
        wait_ms=1.5,
        inference_ms=8.5,
        record_ms=2.5,
    )
