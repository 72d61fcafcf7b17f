"""Parts over REST: send one, look one up, search, decide."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel
from starlette.datastructures import UploadFile

from flawmap.errors import OptionError
from flawmap.server.api.actors import Deciding, Inspecting, Viewer
from flawmap.server.api.problems import Problem
from flawmap.server.api.settings import PLAIN, Reason, Web, WebDep
from flawmap.server.core.accounts import Actor
from flawmap.server.record.inspections import Received
from flawmap.server.record.reader import Query as RecordQuery
from flawmap.server.record.reader import Row

router = APIRouter(prefix="/inspections", tags=["inspections"])

_MOST_WAIT_S = 60.0
_MEDIA_TYPES = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"BM", "image/bmp"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
)

InspectionId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="of the inspection")]
_Text = Annotated[str, Query(max_length=200, pattern=PLAIN)]
_Moment = Annotated[str, Query(pattern=r"^(\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,3})?)?Z?)?)?$")]
_State = Literal["", "waiting", "good", "reject", "undecided", "skipped"]


class Decision(BaseModel):
    """What a person says of a part."""

    verdict: Literal["good", "reject"]
    reason: Reason


class Inspection(BaseModel):
    """A part, and the verdict on it once there is one."""

    id: str
    product: str
    state: Literal["waiting", "good", "reject", "undecided", "skipped"]
    verdict: Literal["good", "reject", "undecided"] | None
    score: float | None
    threshold: float | None
    p_value: float | None
    zone: str | None
    regions: list[Any] | None
    by_zone: list[Any] | None
    error: str | None
    serial: str
    lot: str
    name: str
    purpose: str
    source: str
    station: str
    received_at: str
    received_seq: int
    judged_at: str | None
    judged_seq: int | None
    activation_number: int
    model_sha256: str | None
    scorer_sha256: str | None
    method_name: str | None
    version: str | None
    precision: str | None
    golden_difference: float | None
    image_sha256: str
    image_width: int | None
    image_height: int | None
    overlay_sha256: str | None
    wait_ms: float | None
    inference_ms: float | None
    record_ms: float | None
    links: dict[str, str]
    is_repeat: bool = False
    decisions: list[dict[str, Any]] | None = None


class Found(BaseModel):
    """Some inspections, the newest first."""

    items: list[Inspection]
    next_cursor: int | None


@router.post(
    "",
    response_model=Inspection,
    status_code=201,
    responses={202: {"model": Inspection, "description": "stored, and not judged yet"}},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["image"],
                        "properties": {
                            "image": {"type": "string", "format": "binary"},
                            "product": {"type": "string"},
                            "serial": {"type": "string"},
                            "lot": {"type": "string"},
                        },
                    }
                },
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["root", "path"],
                        "properties": {"root": {"type": "string"}, "path": {"type": "string"}},
                    }
                },
            },
        }
    },
)
async def inspect(
    request: Request,
    response: Response,
    web: WebDep,
    actor: Inspecting,
    product: _Text = "",
    serial: _Text = "",
    lot: _Text = "",
    name: _Text = "",
    purpose: Literal["production", "test"] = "production",
    wait: Annotated[float, Query(ge=0, le=_MOST_WAIT_S)] = 5.0,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> Any:
    """Have a part inspected.

    The image comes as the body itself, as the field `image` of a form, or as JSON with the name of
    an allowed folder (`root`) and a `path` in it. The product may be left out where there is only
    one. After `wait` seconds without a verdict the answer is 202; the image is on the disk and will
    be judged in either case. With the same `Idempotency-Key` the same part is not judged twice.
    """
    fields = {"product": product, "serial": serial, "lot": lot, "name": name, "purpose": purpose}
    data = await _image(request, web, fields)
    received = await run_in_threadpool(
        _submit, web, data, fields, actor, _own_key(actor, idempotency_key)
    )
    return await answer(web, received, wait, response)


@router.get("", response_model=Found)
def search(
    web: WebDep,
    actor: Viewer,
    product: _Text = "",
    serial: _Text = "",
    lot: _Text = "",
    state: _State = "",
    since: _Moment = "",
    until: _Moment = "",
    cursor: Annotated[int | None, Query(ge=0, le=2**62)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Any:
    """Inspections, the newest first; `cursor` is the `next_cursor` of the page before."""
    del actor
    query = RecordQuery(product, serial, lot, state, since, until, cursor, limit)
    page = web.station.reader.search(query)
    return {"items": [public(row) for row in page.items], "next_cursor": page.next_cursor}


@router.get("/{inspection_id}", response_model=Inspection)
def one(web: WebDep, actor: Viewer, inspection_id: InspectionId) -> Any:
    """All that is stored of a part, with what people said of it."""
    del actor
    return public(_row(web, inspection_id), web.station.reader.decisions(inspection_id))


@router.get("/{inspection_id}/image", response_class=Response)
def image(web: WebDep, actor: Viewer, inspection_id: InspectionId) -> Response:
    """The image as it came, byte for byte."""
    del actor
    return _file(web, _row(web, inspection_id)["image_sha256"], "image")


@router.get("/{inspection_id}/overlay", response_class=Response)
def overlay(web: WebDep, actor: Viewer, inspection_id: InspectionId) -> Response:
    """The image under its heat map, as PNG, where one was made: of rejects."""
    del actor
    sha256 = _row(web, inspection_id)["overlay_sha256"]
    if sha256 is None:
        raise Problem(404, f"inspection {inspection_id} has no overlay; see --all-overlays")
    return _file(web, sha256, "overlay")


@router.post("/{inspection_id}/decisions", response_model=Inspection, status_code=201)
def decide(web: WebDep, actor: Deciding, inspection_id: InspectionId, decision: Decision) -> Any:
    """Say what a part is. The verdict stays as it is; this stands beside it, with who and why."""
    web.station.decide(inspection_id, decision.verdict, decision.reason, actor.name)
    return one(web, actor, inspection_id)


async def answer(web: Web, received: Received, wait: float, response: Response) -> dict[str, Any]:
    """What is sent for a part that was taken in, once it is judged or the time is over.

    Args:
        web: the station.
        received: the part.
        wait: seconds.
        response: whose status is set.
    """
    future = web.station.judge.future(received.id)
    if future is not None and wait:
        # The future itself must not be cancelled: others may wait for it.
        await asyncio.wait([asyncio.wrap_future(future)], timeout=wait)
    row = await run_in_threadpool(web.station.reader.inspection, received.id)
    assert row is not None, "it was recorded"
    response.status_code = 202 if row["state"] == "waiting" else 200 if received.is_repeat else 201
    response.headers["location"] = f"/api/v1/inspections/{received.id}"
    return public(row) | {"is_repeat": received.is_repeat}


def public(row: Row, decisions: list[Row] | None = None) -> dict[str, Any]:
    """A row as it is sent.

    Args:
        row: of the record.
        decisions: of people; None where they were not asked for.
    """
    base = f"/api/v1/inspections/{row['id']}"
    links = {"self": base, "image": f"{base}/image"}
    if row["overlay_sha256"]:
        links["overlay"] = f"{base}/overlay"
    state = row["state"]
    verdict = state if state in ("good", "reject", "undecided") else None
    return {**row, "verdict": verdict, "links": links, "decisions": decisions}


def only_product(web: Web) -> str:
    """The product of a request that names none.

    Args:
        web: the station.

    Raises:
        OptionError: there are several, or none.
    """
    products = list(web.station.reader.in_force())
    if len(products) != 1:
        known = ", ".join(products) or "none yet"
        raise OptionError(f"say which product the part is; there are: {known}")
    return products[0]


def _submit(
    web: Web, data: bytes, fields: dict[str, Any], actor: Actor, key: str | None
) -> Received:
    product = fields.pop("product") or only_product(web)
    return web.station.submit(
        data, product, source="rest", actor=actor.name, source_key=key, **fields
    )


def _own_key(actor: Actor, key: str | None) -> str | None:
    """An idempotency key, which two callers may choose alike."""
    return None if key is None else f"{actor.name}/{key}"


async def _image(request: Request, web: Web, fields: dict[str, str]) -> bytes:
    """The bytes of the image in a request; fields of a form are taken over."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _image_of_form(request, fields)
    if kind == "application/json":
        return await _image_of_path(request, web, fields)
    data = await request.body()
    if not data:
        raise Problem(422, "the request has no image; send its bytes as the body")
    return data


async def _image_of_form(request: Request, fields: dict[str, str]) -> bytes:
    async with request.form(max_files=1, max_fields=8) as form:
        upload = form.get("image")
        if not isinstance(upload, UploadFile):
            raise Problem(422, "the form has no file in the field image")
        for name in fields:
            value = form.get(name)
            if isinstance(value, str) and value:
                fields[name] = _checked(name, value)
        fields["name"] = fields["name"] or _plain(upload.filename or "")
        return await upload.read()


async def _image_of_path(request: Request, web: Web, fields: dict[str, str]) -> bytes:
    try:
        asked = await request.json()
        root, path = asked["root"], asked["path"]
        if not (isinstance(root, str) and isinstance(path, str)):
            raise TypeError
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Problem(422, 'send {"root": NAME, "path": "a/b.png"} of an allowed folder') from error
    folder = web.roots.get(root)
    if folder is None:
        raise Problem(403, f"no folder {root[:80]!r} is allowed; see --allow-root")
    fields["name"] = fields["name"] or _plain(path)
    return await run_in_threadpool(web.read_below, folder, path)


def _checked(name: str, value: str) -> str:
    """A field of a form, to which the rule of the query's fields applies."""
    if name == "purpose" and value not in ("production", "test"):
        raise Problem(422, f"purpose is {value[:80]!r}; send production or test")
    if len(value) > 200 or not value.isprintable():
        raise Problem(422, f"{name} is longer than 200 characters or has some that do not print")
    return value


def _plain(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable())[:200]


def _row(web: Web, inspection_id: str) -> Row:
    row = web.station.reader.inspection(inspection_id)
    if row is None:
        raise Problem(404, f"there is no inspection {inspection_id}")
    return row


def _file(web: Web, sha256: str, category: Literal["image", "overlay"]) -> Response:
    stored = web.station.reader.stored_file(sha256)
    if stored is not None and stored["deleted_at"]:
        rule = stored["deleted_by_rule"]
        raise Problem(410, f"deleted at {stored['deleted_at']} by the rule {rule}; its hash stays")
    data = web.station.files.read(sha256, category)
    kind = next((kind for start, kind in _MEDIA_TYPES if data.startswith(start)), None)
    headers = {"cache-control": "private, max-age=86400, immutable", "etag": f'"{sha256}"'}
    if kind is None:
        # What is no known image must not be taken for a page.
        headers["content-disposition"] = f'attachment; filename="{sha256}"'
    return Response(data, media_type=kind or "application/octet-stream", headers=headers)
