"""Any order of what happens to parts, beside a plain model of what the record must say then."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from flawmap.errors import RecordError
from flawmap.server.record.database import Database
from flawmap.server.record.files import FileStore
from flawmap.server.record.inspections import Arrival, KeyReused, decide, judge, receive, skip
from flawmap.server.record.reader import RecordReader
from flawmap.server.record.verify import verify
from flawmap.server.record.writer import RecordWriter
from server.record_data import activate, judgement

STATES = ("good", "reject", "undecided")
KEYS = (None, "a", "b", "c")


class RecordMachine(RuleBasedStateMachine):
    """Parts are received, judged, skipped and decided on, and the record is opened anew between."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="flawmap-record-"))
        self.files = FileStore(self.folder / "files")
        self.parts: dict[str, dict[str, Any]] = {}
        self.by_key: dict[str, str] = {}
        self.open()
        self.writer.run(activate)

    def open(self) -> None:
        self.database = Database.in_folder(self.folder)
        self.database.prepare()
        self.writer = RecordWriter(self.database)
        self.reader = RecordReader(self.database)

    def teardown(self) -> None:
        self.close()
        shutil.rmtree(self.folder)

    def close(self) -> None:
        self.writer.close()
        self.database.close()

    @rule(key=st.sampled_from(KEYS), image=st.integers(0, 3), is_test=st.booleans())
    def receive(self, key: str | None, image: int, is_test: bool) -> None:
        data = bytes([image])
        sha256 = self.files.store(data, "image")
        purpose: Any = "test" if is_test else "production"
        arrival = Arrival("sink", sha256, 1, "rest", key, purpose=purpose)
        known = self.by_key.get(key or "")
        if known and self.parts[known]["image"] != image:
            with pytest.raises(KeyReused):
                self.writer.run(lambda t: receive(t, arrival, "here", "local"))
            return
        received = self.writer.run(lambda t: receive(t, arrival, "here", "local"))
        assert received.is_repeat == (known is not None)
        if known:
            assert received.id == known
            return
        self.parts[received.id] = {
            "state": "waiting",
            "image": image,
            "purpose": purpose,
            "said": [],
        }
        if key:
            self.by_key[key] = received.id

    @precondition(lambda self: self.parts)
    @rule(data=st.data(), state=st.sampled_from((*STATES, "skipped")))
    def end(self, data: st.DataObject, state: str) -> None:
        part = data.draw(st.sampled_from(sorted(self.parts)))

        def work(transaction: Any) -> int:
            if state == "skipped":
                return skip(transaction, part, "why", "ann")
            return judge(transaction, part, judgement(state=state))

        if self.parts[part]["state"] != "waiting":
            with pytest.raises(RecordError, match="never changes"):
                self.writer.run(work)
            return
        self.writer.run(work)
        self.parts[part]["state"] = state

    @precondition(lambda self: self.parts)
    @rule(data=st.data(), verdict=st.sampled_from(("good", "reject")))
    def decide(self, data: st.DataObject, verdict: str) -> None:
        part = data.draw(st.sampled_from(sorted(self.parts)))
        if self.parts[part]["state"] == "waiting":
            with pytest.raises(RecordError, match="waits for its verdict"):
                self.writer.run(lambda t: decide(t, part, verdict, "why", "ann"))
            return
        self.writer.run(lambda t: decide(t, part, verdict, "why", "ann"))
        self.parts[part]["said"].append(verdict)

    @rule()
    def restart(self) -> None:
        self.close()
        self.open()

    @invariant()
    def all_is_as_the_model_says(self) -> None:
        for part, expected in self.parts.items():
            row = self.reader.inspection(part)
            assert row is not None
            assert row["state"] == expected["state"]
            assert [one["verdict"] for one in self.reader.decisions(part)] == expected["said"]
        counts = self.reader.counts()
        production = [one for one in self.parts.values() if one["purpose"] == "production"]
        assert sum(one.received for one in counts) == len(production)
        by_state = Counter(one["state"] for one in production)
        for name in (*STATES, "skipped", "waiting"):
            assert sum(getattr(one, name) for one in counts) == by_state[name]
        assert all(one.reconciles for one in counts)
        report = verify(self.database, self.files)
        assert report.is_fine, report.findings


TestRecord = RecordMachine.TestCase
TestRecord.settings = settings(
    max_examples=12,
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
