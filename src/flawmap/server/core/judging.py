"""Judges the parts that wait, in the order in which they came."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import NamedTuple

from flawmap.errors import FlawmapError
from flawmap.render.encode import encode_image
from flawmap.render.heatmap import overlay
from flawmap.runtime.inference import Inspection, Runtime
from flawmap.runtime.record import Record
from flawmap.server.core.inspectors import Inspectors
from flawmap.server.record.files import FileStore
from flawmap.server.record.inspections import Judgement, is_judged, judge
from flawmap.server.record.writer import RecordWriter, Transaction

_log = logging.getLogger(__name__)

_MOST_TOGETHER = 32
"""Parts that a thread takes at once; of sixteen or more, several are computed at the same time."""

_HELD_BYTES = 500_000_000
"""Images that wait in memory; others are read again when their turn comes."""

_OVERLAY = ".png"


class WaitingPart(NamedTuple):
    """A part without a verdict.

    Args:
        id: of the inspection.
        product: its name.
        activation_number: what judges it.
        image_sha256: of its image.
        since: monotonic time when it was recorded, in seconds.
        data: the image's bytes; None where they are on the disk alone.
        may_be_judged: whether its verdict may be on record already: a database that goes away may
            have taken what it did not acknowledge.
    """

    id: str
    product: str
    activation_number: int
    image_sha256: str
    since: float
    data: bytes | None = None
    may_be_judged: bool = False


class Judge:
    """Threads that give each waiting part its verdict.

    Args:
        inspectors: what judges.
        writer: of the record.
        files: images and overlays.
        threads: that judge at the same time.
        all_overlays: whether good parts get an overlay too.
        on_failure: called with a reason where a part could not get its verdict: no verdict of
            `undecided`, which is one, but a disk or an inspector that fails. It keeps waiting.

    Attributes:
        failed: parts that keep waiting, until `retry`.
    """

    def __init__(
        self,
        inspectors: Inspectors,
        writer: RecordWriter,
        files: FileStore,
        *,
        threads: int = 1,
        all_overlays: bool = False,
        on_failure: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._inspectors = inspectors
        self._writer = writer
        self._files = files
        self._all_overlays = all_overlays
        self._on_failure = on_failure
        self._waiting: deque[WaitingPart] = deque()
        self._held = 0
        self._taken = 0
        self._is_open = True
        self._is_halted = False
        self._changed = threading.Condition()
        self._futures: dict[str, Future[None]] = {}
        self.failed: list[WaitingPart] = []
        self._threads = [
            threading.Thread(target=self._judge_all, name=f"judge-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """The number of parts without a verdict."""
        return len(self._waiting) + self._taken + len(self.failed)

    @property
    def oldest_since(self) -> float | None:
        """Monotonic time at which the oldest of those that wait came; None where none does."""
        with self._changed:
            return self._waiting[0].since if self._waiting else None

    def put(self, part: WaitingPart) -> Future[None]:
        """Have a part judged after those that wait.

        Args:
            part: recorded, and its image on the disk.

        Returns:
            Done when its verdict is on record.
        """
        with self._changed:
            if part.data is not None and self._held + len(part.data) > _HELD_BYTES:
                part = part._replace(data=None)
            self._held += len(part.data or b"")
            self._waiting.append(part)
            future = self._futures.setdefault(part.id, Future())
            self._changed.notify()
        return future

    def future(self, inspection_id: str) -> Future[None] | None:
        """What is done when a part's verdict is on record; None where it does not wait here.

        Args:
            inspection_id: of the part.
        """
        with self._changed:
            return self._futures.get(inspection_id)

    def halt(self, *, halted: bool) -> None:
        """Stop judging after those that are in work, or go on.

        Args:
            halted: whether to stop.
        """
        with self._changed:
            self._is_halted = halted
            self._changed.notify_all()

    def retry(self) -> None:
        """Have the parts judged again whose verdicts failed."""
        with self._changed:
            self._waiting.extendleft(reversed(self.failed))
            self.failed = []
            self._changed.notify_all()

    def give_back(self, parts: list[WaitingPart]) -> None:
        """Have parts tried again that `take_failed` took.

        Args:
            parts: that are not settled.
        """
        with self._changed:
            self._taken -= len(parts)
            self.failed += parts

    def take_failed(self) -> list[WaitingPart]:
        """The parts whose verdicts failed, which are not tried again until they are given back."""
        with self._changed:
            parts, self.failed = self.failed, []
            self._taken += len(parts)
            return parts

    def settle(self, part: WaitingPart) -> None:
        """Say that a part is done; whoever waits for it goes on.

        Args:
            part: that was taken.
        """
        with self._changed:
            self._taken -= 1
            future = self._futures.pop(part.id, None)
        if future is not None:
            future.set_result(None)

    def close(self) -> None:
        """End after the parts that are in work; those that wait stay in the record as waiting."""
        with self._changed:
            self._is_open = False
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _judge_all(self) -> None:
        while parts := self._take():
            done = 0
            try:
                for _ in self._judge(parts):
                    done += 1
            except Exception as error:  # else the thread would be gone, and nothing would say so
                _log.exception("judging failed")
                self._fail([parts[done]], error)
                # What one part does must not befall those behind it.
                for part in parts[done + 1 :]:
                    self._judge_alone(part)

    def _judge_alone(self, part: WaitingPart) -> None:
        try:
            for _ in self._judge([part]):
                pass
        except Exception as error:
            _log.exception("judging failed")
            self._fail([part], error)

    def _take(self) -> list[WaitingPart]:
        """Parts of one activation, in order; waits for some, and is empty at the end."""
        with self._changed:
            self._changed.wait_for(
                lambda: not self._is_open or (self._waiting and not self._is_halted)
            )
            parts: list[WaitingPart] = []
            share = self._share()  # of all that wait now, and not of those that are left
            while self._is_open and self._waiting and len(parts) < share:
                part = self._waiting[0]
                if parts and part[1:3] != parts[0][1:3]:
                    break
                parts.append(self._waiting.popleft())
                self._held -= len(part.data or b"")
            self._taken += len(parts)
            return parts

    def _share(self) -> int:
        """Parts for a thread: all that wait are divided among the threads."""
        return min(_MOST_TOGETHER, max(1, len(self._waiting) // len(self._threads)))

    def _judge(self, parts: list[WaitingPart]) -> Iterator[None]:
        """Judge parts of one activation; comes out after each that is judged or failed."""
        started = time.monotonic()
        try:
            runtime = self._inspectors.runtime(parts[0].product, parts[0].activation_number)
            images = [
                part.data if part.data is not None else self._files.read(part.image_sha256, "image")
                for part in parts
            ]
        except FlawmapError as error:
            self._fail(parts, error)
            return
        for part, inspection in zip(parts, runtime.inspect_many(images), strict=True):
            wait_ms = 1000 * (started - part.since)
            started = time.monotonic()
            try:
                judgement = self._judgement(inspection, runtime, wait_ms)
            except FlawmapError as error:
                self._fail([part], error)
            else:
                self._commit(part, judgement)
            yield

    def _judgement(self, inspection: Inspection, runtime: Runtime, wait_ms: float) -> Judgement:
        started = time.monotonic()
        record = Record.from_inspection(inspection, runtime)
        picture = self._picture(inspection, record)
        sha256 = None
        if picture is not None:
            sha256 = self._files.store(picture, "overlay")
        values = record.to_dict()
        # The image came as bytes, and the row has the part's own name beside the error.
        values["error"] = record.error.removeprefix(f"{record.image}: ")
        names = ("score", "p_value", "threshold", "zone", "regions", "by_zone", "error")
        return Judgement(
            state=record.verdict,
            **{name: values[name] for name in names},
            image_width=record.image_width,
            image_height=record.image_height,
            overlay_sha256=sha256,
            overlay_size=None if picture is None else len(picture),
            model_sha256=record.model_sha256,
            scorer_sha256=record.scorer_sha256,
            method_name=record.method_name,
            version=record.version,
            precision=runtime.precision,
            golden_difference=runtime.golden_difference,
            wait_ms=round(wait_ms, 1),
            inference_ms=round(record.inference_ms, 1),
            record_ms=round(1000 * (time.monotonic() - started), 1),
        )

    def _picture(self, inspection: Inspection, record: Record) -> bytes | None:
        """The overlay as a file, where there is to be one."""
        if inspection.verdict is None or inspection.image is None:
            return None
        if record.verdict != "reject" and not self._all_overlays:
            return None
        return encode_image(overlay(inspection.image, inspection.verdict), _OVERLAY)

    def _commit(self, part: WaitingPart, judgement: Judgement) -> None:
        """Have the verdict written; the next part is judged meanwhile."""

        def done(written: Future[None]) -> None:
            error = written.exception()
            if error is None:
                self.settle(part)
            else:
                self._fail([part], error)

        def write(transaction: Transaction) -> None:
            if not (part.may_be_judged and is_judged(transaction, part.id)):
                judge(transaction, part.id, judgement)

        writing = self._writer.submit(write)
        writing.add_done_callback(done)

    def _fail(self, parts: list[WaitingPart], error: BaseException) -> None:
        with self._changed:
            self._taken -= len(parts)
            self.failed += [part._replace(data=None, may_be_judged=True) for part in parts]
        self._on_failure(str(error))
