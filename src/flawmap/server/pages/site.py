"""The pages put into the web application."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from flawmap.errors import FlawmapError
from flawmap.server.api.settings import Web
from flawmap.server.core.limits import Refused
from flawmap.server.pages import inspections, inspectors, sign_in, status
from flawmap.server.pages.forms import go_to
from flawmap.server.pages.render import page

SIGN_IN = "/sign-in"

_NO_PAGES = ("/api/", "/v2/", "/metrics")
_Handler = Callable[[Request, Any], Awaitable[Response]]


def add_pages(app: FastAPI, web: Web) -> None:
    """Add the pages to the REST interface.

    Args:
        app: as `create_app` made it.
        web: what it was made of.
    """
    app.state.web = web
    app.state.sign_in_limit = sign_in.sign_in_limit()
    for module in (status, inspections, inspectors, sign_in):
        app.include_router(module.router)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
    for kind in (Refused, FlawmapError, RequestValidationError, HTTPException):
        known: Any = app.exception_handlers[kind]
        app.add_exception_handler(kind, _as_page(known))


def _as_page(handler: _Handler) -> _Handler:
    """The same error, as a page where a page was asked for."""

    async def handle(request: Request, error: Any) -> Response:
        response = await handler(request, error)
        path = request.url.path
        if path.startswith(_NO_PAGES):
            return response
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            return go_to(SIGN_IN)
        return await run_in_threadpool(_error_page, request, response)

    return handle


def _error_page(request: Request, response: Response) -> Response:
    problem = json.loads(bytes(response.body))
    parent = request.url.path.rpartition("/")[0]
    shown = page(
        request,
        "error.html",
        response.status_code,
        title=problem["title"],
        detail=problem["detail"],
        back=parent if request.method == "POST" and parent else "/",
    )
    for name in ("retry-after", "allow"):
        if name in response.headers:
            shown.headers[name] = response.headers[name]
    return shown
