"""Pages of inspections: search them, look at one, and say what a part is."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Request
from fastapi import Query as Asked
from fastapi.responses import HTMLResponse, RedirectResponse

from flawmap.server.api.actors import Deciding, Viewer
from flawmap.server.api.inspections import InspectionId
from flawmap.server.api.problems import Problem
from flawmap.server.api.settings import WebDep
from flawmap.server.core.accounts import DECIDE
from flawmap.server.pages.forms import OwnForm, ReasonField, go_to
from flawmap.server.pages.render import page
from flawmap.server.pages.status import file_address
from flawmap.server.record.reader import Query, Row

router = APIRouter(prefix="/inspections", include_in_schema=False)

STATES = ("good", "reject", "undecided", "waiting", "skipped")

_ON_A_PAGE = 50
_Text = Annotated[str, Asked(max_length=200)]
_Moment = Annotated[str, Asked(pattern=r"^(\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,3})?)?Z?)?)?$")]
_State = Literal["", "good", "reject", "undecided", "waiting", "skipped"]

_LABELS = {
    "id": "Number of the inspection",
    "product": "Product",
    "serial": "Serial number",
    "lot": "Lot",
    "name": "Name of the file",
    "state": "Verdict",
    "score": "Score",
    "threshold": "Threshold: a higher score is a reject",
    "p_value": "p-value: how rare such a score is among good parts",
    "zone": "Region that decides",
    "error": "Why there is no verdict",
    "received_at": "Received (UTC)",
    "judged_at": "Judged (UTC)",
    "source": "Came by",
    "source_key": "Key of the sender",
    "purpose": "Purpose",
    "station": "Station",
    "activation_number": "Number of the activation that judged",
    "method_name": "Method",
    "model_sha256": "SHA-256 of the inspector",
    "scorer_sha256": "SHA-256 of all that scores depend on",
    "version": "Version of flawmap that judged",
    "precision": "Computed in",
    "golden_difference": "Largest difference of the golden images on this machine",
    "image_sha256": "SHA-256 of the image",
    "image_width": "Width of the image, pixels",
    "image_height": "Height of the image, pixels",
    "overlay_sha256": "SHA-256 of the heat map",
    "wait_ms": "Waited, ms",
    "inference_ms": "Judging took, ms",
    "record_ms": "Writing took, ms",
    "received_seq": "Number of its first event",
    "judged_seq": "Number of the event with its verdict",
}
"""What each column is called; what is no list."""


@router.get("")
def search(
    request: Request,
    web: WebDep,
    actor: Viewer,
    serial: _Text = "",
    lot: _Text = "",
    product: _Text = "",
    verdict: _State = "",
    since: _Moment = "",
    until: _Moment = "",
    cursor: Annotated[int | None, Asked(ge=0, le=2**62)] = None,
) -> HTMLResponse:
    """A form, and what it found, the newest first."""
    texts = {"serial": serial.strip(), "lot": lot.strip(), "product": product.strip()}
    times = {"since": since, "until": until}
    query = Query(**texts, **times, state=verdict, cursor=cursor, limit=_ON_A_PAGE)
    found = web.station.reader.search(query)
    asked = texts | {"verdict": verdict} | times
    kept = {name: value for name, value in asked.items() if value}
    return page(
        request,
        "inspections.html",
        actor=actor,
        items=found.items,
        asked=asked,
        states=STATES,
        products=sorted(web.station.reader.in_force()),
        first=None if cursor is None else _address(kept),
        older=None if found.next_cursor is None else _address(kept | {"cursor": found.next_cursor}),
    )


@router.get("/{inspection_id}")
def one(
    request: Request,
    web: WebDep,
    actor: Viewer,
    inspection_id: InspectionId,
    done: Annotated[bool, Asked()] = False,
) -> HTMLResponse:
    """A part: its image, all that is stored of it, and what people said."""
    row = web.station.reader.inspection(inspection_id)
    if row is None:
        raise Problem(404, f"there is no inspection {inspection_id}; look for it by its serial")
    return page(
        request,
        "inspection.html",
        actor=actor,
        row=row,
        image=file_address(web, row, "image"),
        overlay=file_address(web, row, "overlay"),
        facts=_facts(row),
        decisions=web.station.reader.decisions(inspection_id),
        may_decide=actor.may(DECIDE),
        done=done,
    )


@router.post("/{inspection_id}/decisions", dependencies=[OwnForm])
def decide(
    web: WebDep,
    actor: Deciding,
    inspection_id: InspectionId,
    verdict: Annotated[Literal["good", "reject"], Form()],
    reason: ReasonField,
) -> RedirectResponse:
    """Say what a part is; the verdict stays."""
    web.station.decide(inspection_id, verdict, reason, actor.name)
    return go_to(f"/inspections/{inspection_id}?done=true")


def _address(values: dict[str, Any]) -> str:
    return f"/inspections?{urlencode(values)}" if values else "/inspections"


def _facts(row: Row) -> list[tuple[str, Any]]:
    """What is stored of a part, in the order of the labels; columns without one come last."""
    lists = ("regions", "by_zone")
    names = [*_LABELS, *(name for name in row if name not in _LABELS and name not in lists)]
    return [(_LABELS.get(name, name), row[name]) for name in names]
