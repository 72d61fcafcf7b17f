"""Forms: that they come from our own page, and where a browser goes after them."""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import Depends, Form, Request
from fastapi.responses import RedirectResponse

from flawmap.server.api.actors import actor_of
from flawmap.server.api.problems import Problem
from flawmap.server.api.settings import web_of

ProductField = Annotated[str, Form(min_length=1, max_length=100)]
NumberField = Annotated[int, Form(ge=1, le=2**31)]
ReasonField = Annotated[str, Form(min_length=1, max_length=2000)]


def check_form(request: Request, csrf_token: Annotated[str, Form(max_length=200)] = "") -> None:
    """Refuse a form that was not on a page of this session.

    Args:
        request: the form.
        csrf_token: its hidden field.

    Raises:
        Problem: 403, the field is not the session's. Without a session, on this machine or with a
            key, there is none; `Guard` looks at the origin.
    """
    actor = actor_of(request, web_of(request))
    if actor is None or not actor.csrf_token:
        return
    if not secrets.compare_digest(csrf_token.encode(), actor.csrf_token.encode()):
        raise Problem(403, "this form is of another session; load the page again, and send it anew")


OwnForm = Depends(check_form)
"""What each route that takes a form depends on."""


def go_to(path: str) -> RedirectResponse:
    """Have the browser load a page after a form.

    Args:
        path: of our own page.
    """
    return RedirectResponse(path, 303)
