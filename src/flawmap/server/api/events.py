"""What happens at the station: sums, state, and events as they come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from flawmap._version import __version__
from flawmap.server.api.actors import Managing, Viewer, actor_of
from flawmap.server.api.inspectors import Because
from flawmap.server.api.problems import Problem
from flawmap.server.api.settings import Web, WebDep
from flawmap.server.core.accounts import VIEW
from flawmap.server.record.reader import Row

router = APIRouter(tags=["station"])

_ALIVE_S = 15.0
_LOOK_S = 0.25
_RETRY_MS = 2000


@router.get("/station")
def station(web: WebDep, actor: Viewer) -> dict[str, Any]:
    """State of the station, why it is not ready, and who asks."""
    at = web.station
    return {
        "name": at.name,
        "version": __version__,
        "state": at.state.text,
        "ready": at.state.ready,
        "reasons": at.reasons,
        "warnings": at.warnings,
        "waiting": at.judge.waiting,
        "stored_bytes": at.stored_bytes,
        "actor": actor.name,
        "role": actor.role,
    }


@router.post("/station/halt")
def halt(web: WebDep, actor: Managing, why: Because) -> dict[str, str]:
    """Take nothing in and judge nothing, until it is released."""
    web.station.halt(actor.name, why.reason)
    return {"state": web.station.state.text}


@router.post("/station/release")
def release(web: WebDep, actor: Managing, why: Because) -> dict[str, str]:
    """Go on."""
    web.station.release(actor.name, why.reason)
    return {"state": web.station.state.text}


@router.post("/station/skip-waiting")
def skip_waiting(web: WebDep, actor: Managing, why: Because) -> dict[str, int]:
    """Give up the parts that cannot be judged, such as those of an inspector that is gone."""
    return {"skipped": web.station.skip_waiting(why.reason, actor.name)}


@router.get("/counts")
def counts(web: WebDep, actor: Viewer) -> list[dict[str, Any]]:
    """Received = good + reject + undecided + skipped + waiting, for each product."""
    del actor
    return [asdict(one) | {"reconciles": one.reconciles} for one in web.station.reader.counts()]


@router.get("/audit")
def audit(
    web: WebDep,
    actor: Viewer,
    after: Annotated[int, Query(ge=0, le=2**62)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> list[Row]:
    """Events in order, with who, what and why, and the hashes that chain them."""
    del actor
    return web.station.reader.events(after, limit)


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}}},
)
async def events(
    request: Request,
    web: WebDep,
    actor: Viewer,
    last_event_id: Annotated[int | None, Header(ge=0, le=2**62)] = None,
    after: Annotated[int | None, Query(ge=0, le=2**62)] = None,
) -> StreamingResponse:
    """Events as they come (Server-Sent Events); `id` is their number.

    Those since `Last-Event-ID`, or after the number `after`, come first.
    """
    del actor
    since = last_event_id if last_event_id is not None else after
    stream = _stream(request, web, since)
    return StreamingResponse(stream, media_type="text/event-stream")


async def _stream(request: Request, web: Web, since: int | None) -> AsyncIterator[str]:
    """Each event once, in order, from the record."""
    reader = web.station.reader
    head, _ = await run_in_threadpool(reader.head)
    seen = head if since is None else since
    yield f"retry: {_RETRY_MS}\n\n"
    quiet = since_checked = 0.0
    while not (web.stopping.is_set() or await request.is_disconnected()):
        is_behind = web.station.last_seq > seen
        rows = await run_in_threadpool(reader.events, seen) if is_behind else []
        for row in rows:
            seen = row["seq"]
            yield f"id: {seen}\nevent: {row['kind']}\ndata: {_line(row)}\n\n"
        if since_checked >= _ALIVE_S:
            # A session ends and a key is revoked while a stream is open.
            since_checked = 0.0
            if await run_in_threadpool(_is_gone, request, web):
                return
        await asyncio.sleep(_LOOK_S)
        since_checked += _LOOK_S
        quiet = 0.0 if rows else quiet + _LOOK_S
        if quiet >= _ALIVE_S:
            quiet = 0.0
            yield ": alive\n\n"


def _is_gone(request: Request, web: Web) -> bool:
    try:
        actor = actor_of(request, web)
    except Problem:
        return True
    return actor is None or not actor.may(VIEW)


def _line(row: Row) -> str:
    kept = {name: row[name] for name in ("seq", "at", "kind", "subject", "actor")}
    return json.dumps(kept)
