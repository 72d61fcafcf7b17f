"""Templates to answers, with who is signed in on each page."""

from __future__ import annotations

from functools import cache
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from flawmap.errors import FlawmapError
from flawmap.server.api.actors import actor_of
from flawmap.server.api.problems import Problem
from flawmap.server.api.settings import web_of
from flawmap.server.core.accounts import Actor

VERDICTS = ("good", "reject", "undecided")
"""The words of verdicts, as they stand on pages and in the record."""


def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page as an answer.

    Args:
        request: that asks for it.
        template: file in the folder `templates`.
        status: of HTTP.
        values: what the template shows; all of it is escaped.
    """
    web = web_of(request)
    actor = values.pop("actor", None) or actor_or_none(request)
    text = (
        _environment()
        .get_template(template)
        .render(
            station=web.station,
            actor=actor,
            csrf_token=actor.csrf_token if actor else "",
            path=request.url.path,
            **values,
        )
    )
    return HTMLResponse(text, status)


def actor_or_none(request: Request) -> Actor | None:
    """Who sends a request; None where that cannot be told, as on a page about an error.

    Args:
        request: any.
    """
    try:
        return actor_of(request, web_of(request))
    except (Problem, FlawmapError):
        return None


def moment(text: str | None) -> str:
    """A time of the record for people, in UTC.

    Args:
        text: as the record writes it.

    Example:
        >>> moment("2026-01-31T12:00:00.000Z")
        '2026-01-31 12:00:00'
    """
    return (text or "")[:19].replace("T", " ")


def number(value: float | None) -> str:
    """A number with four digits that count.

    Args:
        value: None for none.

    Example:
        >>> number(0.123456), number(1.06), number(12), number(None)
        ('0.1235', '1.060', '12', '–')
    """
    if value is None:
        return "–"
    return str(value) if isinstance(value, int) else f"{value:#.4g}".rstrip(".")


def percent(value: float | None) -> str:
    """A fraction as a percentage.

    Args:
        value: None for none.

    Example:
        >>> percent(0.0125), percent(0.000001), percent(0.0)
        ('1.25 %', 'less than 0.001 %', '0 %')
    """
    if value is None:
        return "–"
    return "less than 0.001 %" if 0 < value < 1e-5 else f"{100 * value:.4g} %"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("flawmap.server.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"moment": moment, "number": number, "percent": percent}
    environment.globals |= {"VERDICTS": VERDICTS}
    return environment
