"""Who sends a request, and whether they may."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request

from flawmap.server.api.problems import Problem
from flawmap.server.api.settings import Web, web_of
from flawmap.server.core.accounts import APPROVE, DECIDE, INSPECT, LOCAL, MANAGE, VIEW, Actor

COOKIE = "flawmap_session"


def actor_of(request: Request, web: Web) -> Actor | None:
    """Who sends a request; None where nobody has signed in.

    Args:
        request: by key, by session, or on this machine before there are accounts.
        web: the station.

    Raises:
        Problem: 401, the key does not hold.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme:
        actor = web.accounts.by_key(token.strip()) if scheme.lower() == "bearer" else None
        if actor is None:
            raise Problem(401, "that key does not hold; send Authorization: Bearer KEY")
        return actor
    if cookie := request.cookies.get(COOKIE):
        actor = web.accounts.by_session(cookie)
        if actor is not None:
            return actor
    if web.is_loopback and not web.accounts.exist():
        return LOCAL
    return None


def _allowed(permission: str) -> Callable[[Request], Actor]:
    def check(request: Request) -> Actor:
        actor = actor_of(request, web_of(request))
        if actor is None:
            raise Problem(401, "sign in at /sign-in, or send Authorization: Bearer KEY")
        if not actor.may(permission):
            raise Problem(403, f"{actor.name} ({actor.role}) may not {permission}")
        return actor

    return check


Viewer = Annotated[Actor, Depends(_allowed(VIEW))]
Inspecting = Annotated[Actor, Depends(_allowed(INSPECT))]
Deciding = Annotated[Actor, Depends(_allowed(DECIDE))]
Managing = Annotated[Actor, Depends(_allowed(MANAGE))]
Approving = Annotated[Actor, Depends(_allowed(APPROVE))]
