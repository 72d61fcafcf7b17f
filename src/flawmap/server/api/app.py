"""The web application: routes, guards and errors put together."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI

from flawmap._version import __version__
from flawmap.server.api import events, inference_protocol, inspections, inspectors, metrics
from flawmap.server.api.guard import Guard
from flawmap.server.api.problems import add_handlers
from flawmap.server.api.settings import Web

_TEXT = """A station inspects parts, and keeps every result.

Errors are `application/problem+json` (RFC 9457). On its own machine, before there are accounts,
nobody signs in; else send `Authorization: Bearer KEY` (see `flawmap station key add`).
"""


def create_app(web: Web) -> FastAPI:
    """The REST interface of a station, without its pages.

    Args:
        web: the station, and how it may be reached.
    """
    # Its page of documentation loads scripts from elsewhere, which a station never does.
    app = FastAPI(
        title="flawmap station",
        version=__version__,
        description=_TEXT,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.web = web
    v1 = APIRouter(prefix="/api/v1")
    for module in (inspections, inspectors, events):
        v1.include_router(module.router)
    app.include_router(v1)
    app.include_router(metrics.router)
    app.include_router(inference_protocol.router)
    add_handlers(app)
    app.add_middleware(Guard, hosts=web.hosts, limits=web.station.limits, is_secure=web.is_secure)
    return app
