"""The chain of events: each holds the hash of the one before, so that no change stays hidden.

What a hash covers is the stored text itself, which is never serialised again. A chain alone does
not show that its end was cut off or written anew: checkpoints kept elsewhere do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

FIRST_PREV = "0" * 64
"""What stands in the first event in place of a hash."""


def event_body(
    seq: int, at: str, kind: str, subject: str, actor: str, prev: str, data: Mapping[str, Any]
) -> str:
    """The canonical JSON text of an event: keys sorted, no blanks, no escapes of letters.

    Args:
        seq: number of the event.
        at: when it was written.
        kind: what happened.
        subject: to what.
        actor: who did it.
        prev: hash of the event before.
        data: all else that is known of it, of JSON's types.

    Raises:
        ValueError: a number is not finite, which JSON does not know.

    Example:
        >>> event_body(1, "2026-01-31T12:00:00.000Z", "x", "y", "z", FIRST_PREV[:4], {"b": 1})
        '{"actor":"z","at":"2026-01-31T12:00:00.000Z","data":{"b":1},"kind":"x","prev":"0000",...
    """
    values = {
        "seq": seq,
        "at": at,
        "kind": kind,
        "subject": subject,
        "actor": actor,
        "prev": prev,
        "data": dict(data),
    }
    return json.dumps(
        values, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def event_hash(body: str) -> str:
    """SHA-256 of an event's body in UTF-8, 64 hexadecimal digits."""
    return hashlib.sha256(body.encode()).hexdigest()
