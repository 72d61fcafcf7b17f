"""Pages to sign in and out."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from flawmap.server.api.actors import COOKIE
from flawmap.server.api.guard import RateLimit
from flawmap.server.api.settings import Web, WebDep
from flawmap.server.core.accounts import SignInRefused
from flawmap.server.core.limits import Refused
from flawmap.server.pages.forms import OwnForm, go_to
from flawmap.server.pages.render import actor_or_none, page

router = APIRouter(include_in_schema=False)

_A_MINUTE = 10


def sign_in_limit() -> RateLimit:
    """How often an address may try to sign in: ten times a minute."""
    return RateLimit(_A_MINUTE / 60, 60)


async def check_rate(request: Request) -> None:
    """Refuse an address that tries too often, before any password is hashed.

    It is asynchronous so that one thread alone counts.

    Args:
        request: whose address counts.

    Raises:
        Refused: with status 429.
    """
    limit: RateLimit = request.app.state.sign_in_limit
    address = request.client.host if request.client else ""
    if not limit.allows(address, time.monotonic()):
        raise Refused("too many tries to sign in; wait a minute, and try again", 429, 60)


@router.get("/sign-in")
def form(request: Request) -> HTMLResponse:
    """The form."""
    return page(request, "sign_in.html", problem="", login="")


@router.post("/sign-in", dependencies=[Depends(check_rate)])
def sign_in(
    request: Request,
    web: WebDep,
    login: Annotated[str, Form(max_length=200)] = "",
    password: Annotated[str, Form(max_length=1000)] = "",
) -> Response:
    """Begin a session: a new token each time, whatever cookie came."""
    try:
        token, _ = web.accounts.sign_in(login.strip(), password)
    except SignInRefused as error:
        problem = f"{error}."
        return page(request, "sign_in.html", 401, problem=problem, login=login.strip())
    _end_session(request, web)
    answer = go_to("/")
    answer.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=web.is_secure)
    return answer


@router.post("/sign-out", dependencies=[OwnForm])
def sign_out(request: Request, web: WebDep) -> RedirectResponse:
    """End the session."""
    _end_session(request, web)
    answer = go_to("/sign-in")
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=web.is_secure)
    return answer


def _end_session(request: Request, web: Web) -> None:
    """End the session whose cookie came, if it is one."""
    actor = actor_or_none(request)
    if actor is not None and actor.csrf_token:
        web.accounts.sign_out(request.cookies[COOKIE], actor)
