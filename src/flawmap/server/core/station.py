"""The station: takes parts in, judges them, and keeps the record; safe in any number of threads."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from flawmap._version import __version__
from flawmap.errors import FlawmapError, OptionError, RecordError, WriteError
from flawmap.server.core.folder_lock import FolderLock
from flawmap.server.core.inspectors import Inspectors
from flawmap.server.core.judging import Judge, WaitingPart
from flawmap.server.core.limits import Limits, Refused
from flawmap.server.core.states import State
from flawmap.server.core.thresholds import Thresholds
from flawmap.server.record.checkpoints import CHECKPOINTS, write_checkpoint
from flawmap.server.record.database import Database
from flawmap.server.record.files import FileStore
from flawmap.server.record.inspections import (
    Arrival,
    KeyReused,
    Purpose,
    Received,
    Source,
    UnknownProduct,
    decide,
    receive,
    skip,
)
from flawmap.server.record.layout import FILES, INSPECTORS
from flawmap.server.record.reader import RecordReader, Row
from flawmap.server.record.writer import RecordWriter, Written

_log = logging.getLogger(__name__)

_LOOK_S = 1.0
"""How often the station looks after disk, clock and what failed."""

_CHECKPOINT_S = 3600.0
_CHECKPOINT_AGAIN_S = 60.0
_COUNT_S = 10.0
_JUMP_S = 2.0
"""Difference between the clock's course and the time that passed that counts as a jump."""


class Station:
    """A data folder with its record, and what judges parts; a context manager.

    Args:
        folder: of the data; made where it is missing.
        inspectors: a folder of `NAME.flawmap`, which are imported for the product NAME at the
            start; None for those that were imported before.
        database: of the record; None for SQLite in the folder.
        name: of the station, in each result.
        limits: how much is taken in.
        checkpoints: file outside the database to which the chain's head is appended; None for one
            in the folder.
        threads: that judge at the same time; each image is computed on all cores as it is.
        all_overlays: whether good parts get an overlay too.

    Attributes:
        last_seq: number of the last event that was written here.

    Raises:
        RecordError: another station has the folder, or the database cannot be used.

    Example::

        with Station(Path("data"), inspectors=Path("inspectors")) as station:
            received = station.submit(image, "sink", source="rest", actor="local")
            print(station.wait(received.id, 10))
    """

    def __init__(
        self,
        folder: Path,
        *,
        inspectors: Path | None = None,
        database: Database | None = None,
        name: str = "station",
        limits: Limits | None = None,
        checkpoints: Path | None = None,
        threads: int = 1,
        all_overlays: bool = False,
    ) -> None:
        self.folder = folder
        self.name = name
        self.limits = limits or Limits()
        self.checkpoints = checkpoints or folder / CHECKPOINTS
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WriteError(f"{folder}: {error.strerror}") from error
        self._lock = FolderLock(folder)
        self._given_inspectors = inspectors
        self.database = database or Database.in_folder(folder)
        try:
            self.database.prepare()
        except BaseException:
            self._lock.release()
            raise
        self.reader = RecordReader(self.database)
        self.writer = RecordWriter(self.database)
        self.files = FileStore(folder / FILES, self._on_stored)
        self.inspectors = Inspectors(folder / INSPECTORS, self.writer, self.reader)
        self.thresholds = Thresholds(self.inspectors, self.writer, self.reader)
        self.judge = Judge(
            self.inspectors,
            self.writer,
            self.files,
            threads=threads,
            all_overlays=all_overlays,
            on_failure=self._on_failure,
        )
        self.last_seq = 0
        self._reasons: dict[str, str] = {"start": "the inspectors are being loaded"}
        self._warnings: dict[str, str] = {}
        self._stored = 0
        self._not_imported: dict[str, str] = {}
        self._unproved: dict[str, str] = {}
        self._proved: dict[str, int] = {}
        self._counted_at = 0.0
        self._is_starting = True
        self._is_halted = False
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Station:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def state(self) -> State:
        """What the station is doing."""
        if self._is_starting:
            return State.STARTING
        if self._is_halted:
            return State.HALTED
        if "failure" in self._reasons:
            return State.ERROR
        if self._reasons:
            return State.NOT_READY
        return State.JUDGING if self.judge.waiting else State.READY

    @property
    def reasons(self) -> list[str]:
        """Why the station is not ready, a sentence each."""
        return list(self._reasons.values())

    @property
    def warnings(self) -> list[str]:
        """What will become a reason soon."""
        return list(self._warnings.values())

    @property
    def stored_bytes(self) -> int:
        """Bytes of images and overlays."""
        return self._stored

    def start(self) -> None:
        """Import and prove the inspectors, and judge what an earlier run left waiting."""
        self.writer.on_written(self._publish)
        self._stored = self.reader.stored_bytes()
        self.last_seq, _ = self.reader.head()
        self.writer.run(
            lambda transaction: transaction.append(
                "station.started", self.name, "station", {"version": __version__}
            )
        )
        for part in self.reader.waiting():
            self._put_again(part)
        for target in (self._load, self._look_after):
            thread = threading.Thread(target=target, name=target.__name__, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """End after the parts in work; parts that wait are judged after the next start."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self.judge.close()
        try:
            # Verdicts on their way to the disk are settled after it.
            self.writer.run(lambda _: None)
            data = {"waiting": self.judge.waiting}
            self.writer.run(lambda t: t.append("station.stopped", self.name, "station", data))
            self.checkpoint()
        except FlawmapError:
            _log.exception("the end of the station is not on record")
        self.writer.close()
        self.database.close()
        self._lock.release()

    def submit(
        self,
        data: bytes,
        product: str,
        *,
        source: Source,
        actor: str,
        source_key: str | None = None,
        name: str = "",
        serial: str = "",
        lot: str = "",
        purpose: Purpose = "production",
    ) -> Received:
        """Take a part in: when this returns, its image and its row are on the disk.

        Args:
            data: the bytes of its image.
            product: name of the product.
            source: where it came from.
            actor: who sent it.
            source_key: idempotency key, or identity of a watched file; None for none.
            name: of the file.
            serial: of the part.
            lot: of the part.
            purpose: `test` for what counts in no sum.

        Returns:
            What it is known by.

        Raises:
            Refused: it is too large, too many wait, there is no room, or the station is not ready.
            UnknownProduct: no inspector is in force for the product.
            KeyReused: the key came before with another image.
            RecordError: the record cannot be written.
        """
        self._admit(len(data))
        sha256 = self.files.store(data, "image")
        arrival = Arrival(
            product=product,
            image_sha256=sha256,
            image_size=len(data),
            source=source,
            source_key=source_key,
            name=name,
            serial=serial,
            lot=lot,
            purpose=purpose,
        )
        try:
            received = self.writer.run(
                lambda transaction: receive(transaction, arrival, self.name, actor)
            )
        except (UnknownProduct, KeyReused):
            raise
        except RecordError as error:
            # The database may have taken the part without a word: then it is found as waiting.
            self._reasons["failure"] = f"a part could not be recorded: {error}"
            raise
        if received.is_repeat:
            return received
        part = WaitingPart(
            received.id, product, received.activation_number, sha256, time.monotonic(), data
        )
        try:
            # Retention may have deleted the same image in between.
            self.files.store(data, "image")
        finally:
            # What is on record is judged, whatever else goes wrong.
            self.judge.put(part)
        return received

    def wait(self, inspection_id: str, timeout: float) -> Row | None:
        """What is stored of a part, after its verdict or the time.

        Args:
            inspection_id: of the part.
            timeout: seconds to wait at most.

        Returns:
            The row, of which `state` may still be `waiting`; None where there is no such part.
        """
        future = self.judge.future(inspection_id)
        if future is not None and timeout > 0:
            with suppress(TimeoutError):
                future.result(timeout)
        return self.reader.inspection(inspection_id)

    def decide(self, inspection_id: str, verdict: str, reason: str, actor: str) -> int:
        """Record what a person says of a part; see `flawmap.server.record.inspections.decide`."""
        return self.writer.run(
            lambda transaction: decide(transaction, inspection_id, verdict, reason, actor)
        )

    def skip_waiting(self, reason: str, actor: str) -> int:
        """Give up the parts whose verdicts fail, such as those of an inspector that is gone.

        Args:
            reason: why; not empty.
            actor: who says so.

        Returns:
            How many there were.

        Raises:
            OptionError: there is no reason.
        """
        if not reason.strip():
            raise OptionError("parts are skipped for a reason; say why")
        parts = self.judge.take_failed()
        for number, part in enumerate(parts):
            try:
                self._skip(part.id, reason, actor)
            except FlawmapError:
                self.judge.give_back(parts[number:])
                raise
            self.judge.settle(part)
        self._clear("failure")
        return len(parts)

    def halt(self, actor: str, reason: str) -> None:
        """Take nothing in and judge nothing, until `release`.

        Args:
            actor: who says so.
            reason: why.
        """
        self._note("station.halted", actor, reason)
        self._is_halted = True
        self.judge.halt(halted=True)

    def release(self, actor: str, reason: str) -> None:
        """Go on after `halt`.

        Args:
            actor: who says so.
            reason: why.
        """
        self._note("station.released", actor, reason)
        self._is_halted = False
        self.judge.halt(halted=False)

    def note_warning(self, key: str, text: str) -> None:
        """Say what someone should look after, until it is cleared.

        Args:
            key: what it is cleared by.
            text: a sentence.
        """
        self._warnings[key] = text

    def clear_warning(self, key: str) -> None:
        """Say that a warning is gone.

        Args:
            key: that it was noted by.
        """
        self._warnings.pop(key, None)

    def checkpoint(self) -> None:
        """Write the chain's head to the database and outside of it."""
        write_checkpoint(self.writer, self.checkpoints)

    def _skip(self, inspection_id: str, reason: str, actor: str) -> int:
        return self.writer.run(lambda transaction: skip(transaction, inspection_id, reason, actor))

    def _admit(self, size: int) -> None:
        self.limits.check_size(size)
        if self._stop.is_set():
            raise Refused("the station is ending; send this again when it is back", 503, 5)
        state = self.state
        if not state.accepts:
            reasons = "; ".join(self.reasons) or state.text
            raise Refused(f"the station is {state.text}: {reasons}", 503, 5)
        self.limits.check_waiting(self.judge.waiting)
        problem = self.limits.room_problem(self.folder, self._stored, size)
        if problem:
            self._reasons["room"] = problem
            raise Refused(problem, 503, 60)

    def _load(self) -> None:
        """Import what was given and prove what is in force; then the station is ready."""
        try:
            if self._given_inspectors is not None:
                self._not_imported = self.inspectors.import_folder(
                    self._given_inspectors, "station"
                )
            self._prove()
            self._clear("start")
        except Exception as error:  # else it would be starting for ever
            _log.exception("the inspectors are not loaded")
            self._reasons["start"] = f"the inspectors could not be loaded: {error}"
        self._is_starting = False

    def _prove(self) -> None:
        """Load what is in force; what cannot be used is a reason, or a warning beside a former."""
        self._proved = {name: row["number"] for name, row in self.reader.in_force().items()}
        reasons = {
            name: text for name, text in self._not_imported.items() if name not in self._proved
        } | self.inspectors.load_in_force()
        if not self._proved and not reasons:
            reasons["inspectors"] = "no inspector is in force; upload one"
        self._unproved, former = reasons, self._unproved
        for notes, new in ((self._reasons, reasons), (self._warnings, self._not_imported)):
            for name in former:
                notes.pop(f"inspector {name}", None)
            notes.update({f"inspector {name}": text for name, text in new.items()})

    def _watch_inspectors(self) -> None:
        """Look again where inspectors could not be used and others are in force now."""
        if self._unproved:
            numbers = {name: row["number"] for name, row in self.reader.in_force().items()}
            if numbers != self._proved:
                self._prove()

    def _look_after(self) -> None:
        """Watch over disk and clock, retry what failed, and write checkpoints."""
        offset = time.time() - time.monotonic()
        last_checkpoint = time.monotonic()
        while not self._stop.wait(_LOOK_S):
            try:
                offset = self._watch_clock(offset)
                self._watch_room()
                self._watch_inspectors()
                self._retry()
                self._clear("record")
            except Exception as error:  # else the thread would be gone, and nothing would say so
                _log.exception("the station looks after itself")
                self._reasons["record"] = str(error)
            if time.monotonic() - last_checkpoint > _CHECKPOINT_S:
                # A share that is away stops no line; what it lacks is tried again a minute later.
                is_written = self._try_checkpoint()
                wait_s = 0 if is_written else _CHECKPOINT_S - _CHECKPOINT_AGAIN_S
                last_checkpoint = time.monotonic() - wait_s

    def _try_checkpoint(self) -> bool:
        try:
            self.checkpoint()
        except (FlawmapError, OSError) as error:
            _log.exception("no checkpoint")
            self.note_warning("checkpoint", f"no checkpoint could be written: {error}")
            return False
        self.clear_warning("checkpoint")
        return True

    def _retry(self) -> None:
        """Have parts judged whose verdicts failed, and those that a lost database left behind."""
        if self.judge.failed:
            self.judge.retry()
        elif "failure" in self._reasons and not self.judge.waiting:
            for part in self.reader.waiting():
                self._put_again(part)
            if not self.judge.waiting:
                self._clear("failure")

    def _put_again(self, row: Row) -> None:
        part = WaitingPart(
            row["id"],
            row["product"],
            row["activation_number"],
            row["image_sha256"],
            time.monotonic(),
            may_be_judged=True,
        )
        self.judge.put(part)

    def _watch_clock(self, offset: float) -> float:
        now = time.time() - time.monotonic()
        jump = now - offset
        if abs(jump) > _JUMP_S:
            data = {"seconds": round(jump, 3)}
            self.writer.run(lambda t: t.append("clock.jumped", self.name, "station", data))
            moment = datetime.now(UTC).isoformat(timespec="seconds")
            self._warnings["clock"] = f"the clock jumped by {jump:.1f} s, to {moment}"
        return now

    def _watch_room(self) -> None:
        is_near = self.limits.quota and self._stored >= 0.9 * self.limits.quota
        if is_near and time.monotonic() - self._counted_at > _COUNT_S:
            # Retention, which is another process, deletes what nobody tells here.
            self._stored, self._counted_at = self.reader.stored_bytes(), time.monotonic()
        problem = self.limits.room_problem(self.folder, self._stored)
        warning = self.limits.room_warning(self.folder, self._stored)
        for notes, text in ((self._reasons, problem), (self._warnings, warning)):
            if text:
                notes["room"] = text
            else:
                notes.pop("room", None)

    def _on_failure(self, reason: str) -> None:
        self._reasons["failure"] = f"a part cannot be judged, and keeps waiting: {reason}"

    def _on_stored(self, size: int) -> None:
        with self._guard:
            self._stored += size

    def _clear(self, name: str) -> None:
        self._reasons.pop(name, None)

    def _note(self, kind: str, actor: str, reason: str) -> None:
        if not reason.strip():
            raise OptionError("say why")
        self.writer.run(lambda t: t.append(kind, self.name, actor, {"reason": reason.strip()}))

    def _publish(self, event: Written) -> None:
        self.last_seq = event.seq
