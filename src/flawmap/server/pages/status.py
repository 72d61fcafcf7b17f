"""The first page: state, sums, and the latest parts."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from flawmap.server.api.actors import Viewer
from flawmap.server.api.settings import Web, WebDep
from flawmap.server.pages.render import page
from flawmap.server.record.reader import Query, Row

router = APIRouter(include_in_schema=False)

_LATEST = 12


@router.get("/")
def status(request: Request, web: WebDep, actor: Viewer) -> HTMLResponse:
    """The page."""
    return page(request, "status.html", actor=actor, **_now(web))


@router.get("/latest")
def latest(request: Request, web: WebDep, actor: Viewer) -> HTMLResponse:
    """What of the page changes by itself, for its script."""
    return page(request, "latest.html", actor=actor, **_now(web))


def picture_of(web: Web, row: Row) -> str:
    """Address of what is shown of a part: its overlay, else its image, empty where it is deleted.

    Args:
        web: the station.
        row: the part.
    """
    for name in ("overlay", "image"):
        if address := file_address(web, row, name):
            return address
    return ""


def file_address(web: Web, row: Row, name: str) -> str:
    """Address of a part's file; empty where it has none, or none any more.

    Args:
        web: the station.
        row: the part.
        name: `image` or `overlay`.
    """
    sha256 = row[f"{name}_sha256"]
    stored = web.station.reader.stored_file(sha256) if sha256 else None
    if stored is None or stored["deleted_at"]:
        return ""
    return f"/api/v1/inspections/{row['id']}/{name}"


def _now(web: Web) -> dict[str, Any]:
    # Asked for first: what happens while the rest is read is told to the script once more.
    seq = web.station.last_seq
    parts = web.station.reader.search(Query(limit=_LATEST)).items
    return {
        "seq": seq,
        "state": web.station.state,
        "counts": web.station.reader.counts(),
        "in_force": web.station.reader.in_force(),
        "parts": [row | {"picture": picture_of(web, row)} for row in parts],
    }
