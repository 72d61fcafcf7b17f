"""The Open Inference Protocol, version 2, over REST: the part of it that a station can honour.

No gRPC, no binary data, no repository extension. Each request is a part that is recorded.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from flawmap._version import __version__
from flawmap.errors import FlawmapError
from flawmap.render.encode import encode_image
from flawmap.runtime.image_types import ImageU8
from flawmap.server.api.actors import Inspecting, Viewer
from flawmap.server.api.inspections import answer
from flawmap.server.api.settings import Web, WebDep
from flawmap.server.core.limits import Refused
from flawmap.server.record.inspections import UnknownProduct

router = APIRouter(prefix="/v2", tags=["open inference protocol"])

_WAIT_S = 30.0
_VERSION_DIGITS = 12


class _Input(BaseModel):
    name: str = Field(max_length=100)
    shape: list[int] = Field(max_length=4)
    datatype: str = Field(max_length=20)
    data: list[Any]


class InferenceRequest(BaseModel):
    """One image: `BYTES` in base64, or `UINT8` of (height, width, 3)."""

    id: str | None = Field(None, max_length=200)
    inputs: list[_Input] = Field(max_length=1)


@router.get("")
def server() -> dict[str, Any]:
    """Which server this is."""
    return {"name": "flawmap", "version": __version__, "extensions": []}


@router.get("/health/live")
def live() -> dict[str, bool]:
    """Whether the server answers."""
    return {"live": True}


@router.get("/health/ready")
def ready(web: WebDep, response: Response) -> dict[str, Any]:
    """Whether parts are judged at once: golden images are proved, disk and record are there."""
    is_ready = web.station.state.ready
    response.status_code = 200 if is_ready else 503
    # The specification's answer has the key `live`; what it means is `ready`.
    return {"ready": is_ready, "live": is_ready}


@router.get("/models/{product}")
@router.get("/models/{product}/versions/{version}")
def model(web: WebDep, actor: Viewer, product: str, version: str = "") -> Any:
    """What goes into a product's inspector, and what comes out."""
    del actor
    number = _version(web, product)
    if number is None or version not in ("", number):
        return _error(404, f"there is no model {product[:80]!r} in that version")
    return {
        "name": product,
        "versions": [number],
        "platform": "flawmap",
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [1]}],
        "outputs": [
            {"name": "score", "datatype": "FP32", "shape": [1]},
            {"name": "p_value", "datatype": "FP32", "shape": [1]},
            {"name": "reject", "datatype": "BOOL", "shape": [1]},
        ],
    }


@router.get("/models/{product}/ready")
@router.get("/models/{product}/versions/{version}/ready")
def model_ready(
    web: WebDep, actor: Viewer, product: str, response: Response, version: str = ""
) -> Any:
    """Whether a product's inspector judges."""
    del actor
    number = _version(web, product)
    is_ready = number is not None and version in ("", number) and web.station.state.ready
    response.status_code = 200 if is_ready else 503
    return {"name": product, "ready": is_ready}


@router.post("/models/{product}/infer")
@router.post("/models/{product}/versions/{version}/infer")
async def infer(
    web: WebDep,
    actor: Inspecting,
    product: str,
    asked: InferenceRequest,
    request: Request,
    version: str = "",
) -> Any:
    """Have an image inspected as a part of the product, on record like any other."""
    del request
    number = await run_in_threadpool(_version, web, product)
    if number is None or version not in ("", number):
        return _error(404, f"there is no model {product[:80]!r} in that version")
    try:
        data = _image_of(asked.inputs[0] if asked.inputs else None)
        received = await run_in_threadpool(
            lambda: web.station.submit(data, product, source="rest", actor=actor.name)
        )
    except Refused as error:
        return _error(error.status, str(error))
    except UnknownProduct as error:
        return _error(404, str(error))
    except ValueError as error:
        return _error(400, str(error))
    except FlawmapError as error:
        return _error(503, str(error))
    row = await answer(web, received, _WAIT_S, Response())
    if row["score"] is None:
        return _error(400 if row["error"] else 503, row["error"] or "not judged yet; it will be")
    outputs: list[tuple[str, str, Any]] = [
        ("score", "FP32", row["score"]),
        ("p_value", "FP32", row["p_value"]),
        ("reject", "BOOL", row["state"] == "reject"),
    ]
    return {
        "model_name": product,
        "model_version": row["model_sha256"][:_VERSION_DIGITS],
        "id": asked.id or received.id,
        "parameters": {"inspection": received.id},
        "outputs": [
            {"name": name, "datatype": kind, "shape": [1], "data": [value]}
            for name, kind, value in outputs
        ],
    }


def _version(web: Web, product: str) -> str | None:
    row = web.station.reader.in_force().get(product)
    return None if row is None else str(row["model_sha256"])[:_VERSION_DIGITS]


def _image_of(given: _Input | None) -> bytes:
    """The bytes of an image file.

    Raises:
        ValueError: the input is no image.
    """
    if given is None or given.name != "image":
        raise ValueError("send one input, called image")
    if given.datatype == "BYTES":
        if len(given.data) != 1 or not isinstance(given.data[0], str):
            raise ValueError("an input of BYTES has one element, the image file in base64")
        try:
            return base64.b64decode(given.data[0], validate=True)
        except binascii.Error as error:
            raise ValueError("the image is no base64") from error
    if given.datatype != "UINT8":
        raise ValueError("an image has the datatype BYTES or UINT8")
    return encode_image(_pixels_of(given), ".png")


def _pixels_of(given: _Input) -> ImageU8:
    try:
        values = np.array(given.data)
        if values.dtype.kind not in "iu" or not ((values >= 0) & (values <= 255)).all():
            raise ValueError("values of UINT8 are whole numbers from 0 to 255")
        pixels = values.astype(np.uint8).reshape(given.shape)
    except (TypeError, OverflowError) as error:
        raise ValueError("the values are no numbers") from error
    if pixels.ndim == 4 and pixels.shape[0] == 1:
        pixels = pixels[0]
    if pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(f"an image has the shape height, width, 3, not {given.shape}")
    return pixels


def _error(status: int, text: str) -> JSONResponse:
    return JSONResponse({"error": text}, status)
