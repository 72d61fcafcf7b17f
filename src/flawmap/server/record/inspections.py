"""What happens to a part in the record: it is received, then judged or skipped, then decided on."""

from __future__ import annotations

import secrets
import time
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from sqlalchemy import desc, select

from flawmap.errors import OptionError, RecordError
from flawmap.server.record.tables import Activation, Inspection
from flawmap.server.record.writer import Transaction

Source = Literal["rest", "watch", "page", "demo"]
Purpose = Literal["production", "test"]
State = Literal["good", "reject", "undecided"]


class UnknownProduct(RecordError):
    """No inspector judges parts of that product."""


class KeyReused(RecordError):
    """An idempotency key came again with another image."""


class NotFound(RecordError):
    """The record has no such inspection."""


@dataclass(frozen=True)
class Arrival:
    """A part as it came; its image is on the disk already.

    Args:
        product: name of the product.
        image_sha256: of the image's bytes.
        image_size: of the image's bytes.
        source: where it came from.
        source_key: idempotency key, or identity of a watched file; None for none.
        name: of the file or upload.
        serial: of the part; empty where it is not known.
        lot: of the part; empty where it is not known.
        purpose: `test` for what counts in no sum.
    """

    product: str
    image_sha256: str
    image_size: int
    source: Source
    source_key: str | None = None
    name: str = ""
    serial: str = ""
    lot: str = ""
    purpose: Purpose = "production"


class Received(NamedTuple):
    """What a part is known by in the record.

    Args:
        id: of the inspection.
        seq: of its event.
        activation_number: what judges it.
        is_repeat: whether it had come before, by its key.
    """

    id: str
    seq: int
    activation_number: int
    is_repeat: bool = False


@dataclass(frozen=True)
class Judgement:
    """The verdict on a part, with all that led to it; columns of the table of inspections.

    Args:
        state: the verdict.
        score: None where there is none.
        p_value: 0…1.
        threshold: score beyond which the part is rejected.
        zone: the zone that decides; empty without zones.
        regions: as `Region.to_dict` gives them.
        by_zone: what each zone says.
        error: why the part is undecided; empty otherwise.
        image_width: in pixels.
        image_height: in pixels.
        overlay_sha256: of the overlay, which is on the disk; None without one.
        overlay_size: of the overlay in bytes; None without one.
        model_sha256: the inspector's file.
        scorer_sha256: all that scores depend on.
        method_name: of the inspector.
        version: of flawmap.
        precision: that was computed in.
        golden_difference: of the golden images on this machine.
        wait_ms: from received to the begin of its inspection.
        inference_ms: from the preprocessed image to the verdict.
        record_ms: from the verdict to this.
    """

    state: State
    score: float | None
    p_value: float | None
    threshold: float | None
    zone: str
    regions: list[Any]
    by_zone: list[Any]
    error: str
    image_width: int | None
    image_height: int | None
    overlay_sha256: str | None
    overlay_size: int | None
    model_sha256: str
    scorer_sha256: str
    method_name: str
    version: str
    precision: str
    golden_difference: float
    wait_ms: float
    inference_ms: float
    record_ms: float


def new_id() -> str:
    """An id for an inspection: 32 hexadecimal digits, larger than those of earlier milliseconds."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


def receive(transaction: Transaction, arrival: Arrival, station: str, actor: str) -> Received:
    """Record that a part came; the activation that is in force judges it.

    Args:
        transaction: of the record.
        arrival: the part.
        station: name of the station.
        actor: who sent it.

    Returns:
        What it is known by; for a key that came before with the same image, what it was then.

    Raises:
        UnknownProduct: no inspector is in force for the product.
        KeyReused: the key came before with another image.
    """
    if arrival.source_key is not None and (earlier := _earlier(transaction, arrival)):
        return earlier
    number = transaction.connection.scalar(
        select(Activation.number)
        .where(Activation.product == arrival.product)
        .order_by(desc(Activation.number))
        .limit(1)
    )
    if number is None:
        raise UnknownProduct(f"no inspector is in force for a product {arrival.product!r}")
    data = asdict(arrival) | {"activation_number": number, "station": station}
    written = transaction.append("inspection.received", new_id(), actor, data)
    return Received(written.subject, written.seq, number)


def _earlier(transaction: Transaction, arrival: Arrival) -> Received | None:
    row = transaction.connection.execute(
        select(
            Inspection.id,
            Inspection.received_seq,
            Inspection.activation_number,
            Inspection.image_sha256,
            Inspection.product,
        ).where(Inspection.source == arrival.source, Inspection.source_key == arrival.source_key)
    ).first()
    if row is None:
        return None
    if (row.image_sha256, row.product) != (arrival.image_sha256, arrival.product):
        raise KeyReused(
            f"the key {arrival.source_key!r} came before with another image or product, as "
            f"inspection {row.id}; send a new key"
        )
    return Received(row.id, row.received_seq, row.activation_number, is_repeat=True)


def judge(transaction: Transaction, inspection_id: str, judgement: Judgement) -> int:
    """Record the verdict on a part, which never changes after that.

    Args:
        transaction: of the record.
        inspection_id: of the part.
        judgement: the verdict.

    Returns:
        Number of the event.

    Raises:
        RecordError: there is no such part, or it has a verdict.
    """
    written = transaction.append("inspection.judged", inspection_id, "station", asdict(judgement))
    return written.seq


def is_judged(transaction: Transaction, inspection_id: str) -> bool:
    """Whether a part has its final state.

    Args:
        transaction: of the record.
        inspection_id: of the part.
    """
    state = transaction.connection.scalar(
        select(Inspection.state).where(Inspection.id == inspection_id)
    )
    return state not in (None, "waiting")


def skip(transaction: Transaction, inspection_id: str, reason: str, actor: str) -> int:
    """Record that a part will have no verdict.

    Args:
        transaction: of the record.
        inspection_id: of the part.
        reason: why.
        actor: who says so.

    Returns:
        Number of the event.

    Raises:
        RecordError: there is no such part, or it has a verdict.
    """
    written = transaction.append("inspection.skipped", inspection_id, actor, {"reason": reason})
    return written.seq


def decide(
    transaction: Transaction, inspection_id: str, verdict: str, reason: str, actor: str
) -> int:
    """Record what a person says of a part; the verdict stays as it is.

    Args:
        transaction: of the record.
        inspection_id: of the part.
        verdict: `good` or `reject`.
        reason: why; not empty.
        actor: the person.

    Returns:
        Number of the event.

    Raises:
        OptionError: that is no verdict, or the reason is empty.
        NotFound: there is no such part.
        RecordError: it waits for its verdict.
    """
    if verdict not in ("good", "reject"):
        raise OptionError(f"a decision of {verdict!r}; say good or reject")
    if not reason.strip():
        raise OptionError("a decision without a reason; say why")
    state = transaction.connection.scalar(
        select(Inspection.state).where(Inspection.id == inspection_id)
    )
    if state is None:
        raise NotFound(f"there is no inspection {inspection_id!r}")
    if state == "waiting":
        raise RecordError(f"inspection {inspection_id} waits for its verdict; decide after it")
    data = {"verdict": verdict, "reason": reason.strip()}
    return transaction.append("decision.made", inspection_id, actor, data).seq
