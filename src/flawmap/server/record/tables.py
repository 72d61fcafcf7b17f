"""The tables of the record.

`Event` and `Checkpoint` are append only. All others but `SignIn` and `LogOnGuard` are projections:
each value in them comes from an event, by the rules in `projections`. Times are UTC texts in
milliseconds, such as `2026-11-27T08:30:00.000Z`; hashes are SHA-256 in 64 hexadecimal digits.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, Text, UniqueConstraint, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """What all tables are registered with."""

    type_annotation_map = {  # noqa: RUF012
        str: Text,
        # SQLite's own integers have 64 bits, and only an INTEGER key is the row's number.
        int: BigInteger().with_variant(Integer, "sqlite"),
        dict[str, Any]: JSON,
        list[Any]: JSON,
    }


class Event(Base):
    """One thing that happened: a link of the chain.

    Attributes:
        seq: 1, 2, …, without gaps.
        at: when it was written.
        kind: such as `inspection.received`; `projections` lists them.
        subject: what it happened to: the id of an inspection, a login, the name of a product, …
        actor: who did it: a login, the name of an API key, `local`, or `station` itself.
        body: canonical JSON text of all of these, of the data and of `prev`; this text is hashed.
        prev: hash of the event before; 64 zeros for the first.
        hash: of `body`.
    """

    __tablename__ = "event"

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[str]
    kind: Mapped[str]
    subject: Mapped[str]
    actor: Mapped[str]
    body: Mapped[str]
    prev: Mapped[str]
    hash: Mapped[str]

    __table_args__ = (Index("event_by_subject", "subject"), Index("event_by_kind", "kind", "seq"))


class Checkpoint(Base):
    """The chain's head at a moment; the same line is kept outside the database.

    Attributes:
        seq: of the event.
        hash: of the event.
        at: when the checkpoint was made.
    """

    __tablename__ = "checkpoint"

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    hash: Mapped[str]
    at: Mapped[str]


class StoredFile(Base):
    """An image or an overlay that is a file by its hash.

    Attributes:
        sha256: of its bytes, and its name on the disk.
        category: `image` or `overlay`.
        size: in bytes.
        stored_at: when it was stored first, or again after it was deleted.
        deleted_at: when retention deleted it; None while it is there.
        deleted_by_rule: the rule that did.
    """

    __tablename__ = "stored_file"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    category: Mapped[str]
    size: Mapped[int]
    stored_at: Mapped[str]
    deleted_at: Mapped[str | None]
    deleted_by_rule: Mapped[str | None]

    __table_args__ = (Index("stored_file_by_time", "category", "deleted_at", "stored_at"),)


class Inspection(Base):
    """A part that came: what it is, and the verdict on it, which never changes.

    Attributes:
        id: 32 hexadecimal digits; later ones are larger.
        received_seq: number of its event `inspection.received`; results are listed by it.
        received_at: when it was on the disk.
        product: name of the product.
        activation_number: which of the product's activations judges it: the one in force when it
            came.
        source: `rest`, `watch`, `page` or `demo`.
        source_key: idempotency key, or identity of a watched file; unique by source.
        name: name of the file or upload, as it came.
        serial: of the part; empty where it is not known.
        lot: of the part; empty where it is not known.
        purpose: `production`, or `test` for what counts in no sum.
        station: name of the station.
        image_sha256: of the image's bytes as they came.
        state: `waiting`, and then one of `good`, `reject`, `undecided`, `skipped`, for good.
        judged_seq: number of the event with the verdict.
        judged_at: when the verdict was written.
        score: None where there is none.
        p_value: 0…1.
        threshold: score beyond which the part is rejected.
        zone: the zone that decides; empty without zones.
        regions: what `Region.to_dict` gives, the most anomalous first.
        by_zone: what each zone says.
        error: why the part is undecided or skipped; empty otherwise.
        image_width: in pixels.
        image_height: in pixels.
        overlay_sha256: of the image under its heat map; None without one.
        model_sha256: the inspector's file.
        scorer_sha256: all that scores depend on.
        method_name: of the inspector.
        version: of flawmap.
        precision: what was computed in.
        golden_difference: by how much the golden images differed when the inspector was proved on
            this machine, as a fraction of the largest.
        wait_ms: from received to the begin of its inspection.
        inference_ms: from the preprocessed image to the verdict.
        record_ms: from the verdict to the commit before this one, for overlay and files.
    """

    __tablename__ = "inspection"

    id: Mapped[str] = mapped_column(primary_key=True)
    received_seq: Mapped[int] = mapped_column(unique=True)
    received_at: Mapped[str]
    product: Mapped[str]
    activation_number: Mapped[int]
    source: Mapped[str]
    source_key: Mapped[str | None]
    name: Mapped[str]
    serial: Mapped[str]
    lot: Mapped[str]
    purpose: Mapped[str]
    station: Mapped[str]
    image_sha256: Mapped[str] = mapped_column(ForeignKey("stored_file.sha256"))
    state: Mapped[str]
    judged_seq: Mapped[int | None]
    judged_at: Mapped[str | None]
    score: Mapped[float | None]
    p_value: Mapped[float | None]
    threshold: Mapped[float | None]
    zone: Mapped[str | None]
    regions: Mapped[list[Any] | None]
    by_zone: Mapped[list[Any] | None]
    error: Mapped[str | None]
    image_width: Mapped[int | None]
    image_height: Mapped[int | None]
    overlay_sha256: Mapped[str | None]
    model_sha256: Mapped[str | None]
    scorer_sha256: Mapped[str | None]
    method_name: Mapped[str | None]
    version: Mapped[str | None]
    precision: Mapped[str | None]
    golden_difference: Mapped[float | None]
    wait_ms: Mapped[float | None]
    inference_ms: Mapped[float | None]
    record_ms: Mapped[float | None]

    __table_args__ = (
        UniqueConstraint("source", "source_key"),
        Index("inspection_by_product", "product", "received_seq"),
        Index("inspection_by_serial", "serial", "received_seq"),
        Index("inspection_by_lot", "lot", "received_seq"),
        Index("inspection_by_state", "product", "state", "received_seq"),
        Index("inspection_by_time", "received_at", "received_seq"),
        Index("inspection_by_image", "image_sha256"),
        Index("inspection_by_score", "product", "scorer_sha256", "score"),
        Index(
            "inspection_waiting",
            "received_seq",
            sqlite_where=text("state = 'waiting'"),
            postgresql_where=text("state = 'waiting'"),
        ),
    )


class Tally(Base):
    """How many production parts of a product were received, and how many became what.

    Attributes:
        product: its name.
        state: `received`, `good`, `reject`, `undecided` or `skipped`.
        count: parts.
    """

    __tablename__ = "tally"

    product: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int]


class Decision(Base):
    """What a person says of an inspected part; the verdict stays as it is.

    Attributes:
        seq: of its event.
        inspection_id: of the part.
        at: when.
        person: who.
        verdict: `good` or `reject`.
        reason: why, in the person's words.
    """

    __tablename__ = "decision"

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    inspection_id: Mapped[str] = mapped_column(ForeignKey("inspection.id"), index=True)
    at: Mapped[str]
    person: Mapped[str]
    verdict: Mapped[str]
    reason: Mapped[str]


class StoredInspector(Base):
    """A saved inspector that the station has; its file is kept as long as the record is.

    Attributes:
        model_sha256: the hash in the file, and its name on the disk.
        product: what it inspects.
        file_sha256: of all its bytes, as `sha256sum` prints.
        file_size: in bytes.
        scorer_sha256: all that scores depend on.
        method_name: of its method.
        version: of the flawmap that fitted it.
        precision: that it runs in.
        golden_difference: as the import proved it on this machine.
        fitted_images: good images that it learned from.
        budget: fraction of false rejects of the threshold in the file.
        threshold: in the file; None with zones.
        imported_at: when.
        imported_by: who.
    """

    __tablename__ = "inspector"

    model_sha256: Mapped[str] = mapped_column(primary_key=True)
    product: Mapped[str] = mapped_column(primary_key=True)
    file_sha256: Mapped[str]
    file_size: Mapped[int]
    scorer_sha256: Mapped[str]
    method_name: Mapped[str]
    version: Mapped[str]
    precision: Mapped[str]
    golden_difference: Mapped[float]
    fitted_images: Mapped[int]
    budget: Mapped[float]
    threshold: Mapped[float | None]
    imported_at: Mapped[str]
    imported_by: Mapped[str]


class ProposedThreshold(Base):
    """Another threshold for an inspector: proposed by one person, approved by another.

    Attributes:
        product: its name.
        number: 1, 2, … for the product.
        model_sha256: the inspector that it is for.
        budget: fraction of false rejects.
        confidence: None for the average.
        score: the threshold.
        rank: of the calibration score that is the threshold, from the largest.
        reason: why.
        state: `proposed`, then `approved` or `withdrawn`; from `approved` to `in_force`, and to
            `superseded`.
        proposed_by: who.
        proposed_at: when.
        closed_by: who approved or withdrew it.
        closed_at: when.
    """

    __tablename__ = "threshold"

    product: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    model_sha256: Mapped[str]
    budget: Mapped[float]
    confidence: Mapped[float | None]
    score: Mapped[float]
    rank: Mapped[int]
    reason: Mapped[str]
    state: Mapped[str]
    proposed_by: Mapped[str]
    proposed_at: Mapped[str]
    closed_by: Mapped[str | None]
    closed_at: Mapped[str | None]


class Activation(Base):
    """What judges the parts of a product that come from a moment on.

    Attributes:
        product: its name.
        number: 1, 2, … for the product; the largest is in force.
        model_sha256: the inspector.
        threshold_number: None for the threshold in the inspector's file.
        from_seq: parts received after this event are judged by it.
        at: when.
        by: who.
        reason: why.
    """

    __tablename__ = "activation"

    product: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    model_sha256: Mapped[str]
    threshold_number: Mapped[int | None]
    from_seq: Mapped[int]
    at: Mapped[str]
    by: Mapped[str]
    reason: Mapped[str]


class Person(Base):
    """Someone who may sign in; a closed account stays, so that its name keeps its meaning.

    Attributes:
        login: its name; never used again for another person.
        name: as printed.
        role: `operator`, `engineer`, `approver` or `auditor`.
        password_hash: by argon2; in no event.
        created_at: when.
        closed_at: None while the account is open.
    """

    __tablename__ = "person"

    login: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    role: Mapped[str]
    password_hash: Mapped[str]
    created_at: Mapped[str]
    closed_at: Mapped[str | None]


class ApiKey(Base):
    """A machine that may call the REST interface.

    Attributes:
        name: of the key.
        role: `machine`, or one of a person's.
        token_hash: SHA-256 of the token; in no event.
        created_at: when.
        created_by: who.
        closed_at: when it was revoked; None while it holds.
    """

    __tablename__ = "api_key"

    name: Mapped[str] = mapped_column(primary_key=True)
    role: Mapped[str]
    token_hash: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[str]
    created_by: Mapped[str]
    closed_at: Mapped[str | None]


class Setting(Base):
    """A rule of the station: whether two persons approve, how long images are kept.

    Attributes:
        name: of the rule.
        value: as JSON.
        changed_at: when.
        changed_by: who.
    """

    __tablename__ = "setting"

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[dict[str, Any]]
    changed_at: Mapped[str]
    changed_by: Mapped[str]


class SignIn(Base):
    """A session of a person's browser; operational, no evidence.

    Attributes:
        token_hash: SHA-256 of the cookie's token.
        login: who signed in.
        csrf_token: that forms must send.
        created_at: when.
        seen_at: of the last request; sessions that rest too long end.
    """

    __tablename__ = "sign_in"

    token_hash: Mapped[str] = mapped_column(primary_key=True)
    login: Mapped[str]
    csrf_token: Mapped[str]
    created_at: Mapped[str]
    seen_at: Mapped[str]


class LogOnGuard(Base):
    """Failed log-ons of a login; operational, no evidence.

    Attributes:
        login: as it was typed, whether it is there or not.
        failures: in a row.
        locked_until: None where it is not locked.
    """

    __tablename__ = "log_on_guard"

    login: Mapped[str] = mapped_column(primary_key=True)
    failures: Mapped[int]
    locked_until: Mapped[str | None]
