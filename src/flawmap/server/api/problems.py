"""Errors as answers: RFC 9457, `application/problem+json`."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from flawmap.errors import FlawmapError, ImageError, OptionError, RecordError, WriteError
from flawmap.server.api.guard import TooLarge
from flawmap.server.core.accounts import SignInRefused
from flawmap.server.core.inspectors import InspectorRefused
from flawmap.server.core.limits import Refused
from flawmap.server.record.inspections import KeyReused, NotFound, UnknownProduct

_STATUS: dict[type[Exception], int] = {
    NotFound: 404,
    UnknownProduct: 404,
    KeyReused: 422,
    InspectorRefused: 422,
    OptionError: 422,
    ImageError: 422,
    SignInRefused: 401,
    RecordError: 503,
    WriteError: 503,
}
"""What each kind of error is in HTTP; the most special one counts."""

PROBLEM = "application/problem+json"


class Problem(HTTPException):
    """An answer that is an error.

    Args:
        status: of HTTP.
        detail: what is wrong, and what to do.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(status, detail)


def add_handlers(app: FastAPI) -> None:
    """Have all errors answered in one form.

    Args:
        app: the application.
    """

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> JSONResponse:
        headers = {} if error.retry_after is None else {"retry-after": str(error.retry_after)}
        return problem(error.status, str(error), headers)

    @app.exception_handler(FlawmapError)
    async def known(_: Request, error: FlawmapError) -> JSONResponse:
        kinds = (kind for kind in type(error).__mro__ if kind in _STATUS)
        return problem(next((_STATUS[kind] for kind in kinds), 500), str(error))

    @app.exception_handler(TooLarge)
    async def too_large(_: Request, error: TooLarge) -> JSONResponse:
        del error
        return problem(413, "the request is larger than the station takes (--largest-image)")

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        reasons = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        return problem(422, "; ".join(reasons)[:2000])

    @app.exception_handler(StarletteHTTPException)
    async def http(_: Request, error: StarletteHTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail), dict(error.headers or {}))


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error as an answer.

    Args:
        status: of HTTP.
        detail: what is wrong, and what to do.
        headers: of the answer.
    """
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    return JSONResponse(content, status, headers, media_type=PROBLEM)
