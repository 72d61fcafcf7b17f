"""The page of inspectors and thresholds, and its forms."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Request
from fastapi import Query as Asked
from fastapi.responses import HTMLResponse, RedirectResponse

from flawmap.server.api.actors import Approving, Managing, Viewer
from flawmap.server.api.settings import Web, WebDep
from flawmap.server.core.accounts import APPROVE, MANAGE, Actor
from flawmap.server.core.thresholds import FOUR_EYES
from flawmap.server.pages.forms import NumberField, OwnForm, ProductField, ReasonField, go_to
from flawmap.server.pages.render import page
from flawmap.server.record.reader import Row

router = APIRouter(prefix="/inspectors", include_in_schema=False)

DONE = {
    "": "",
    "rolled-back": "What judged before judges again.",
    "activated": "The inspector judges the parts that come from now on.",
    "proposed": "The threshold is proposed.",
    "approved": "The threshold is approved. It judges nothing until it is put in force.",
    "in-force": "The threshold judges the parts that come from now on.",
    "withdrawn": "The threshold is withdrawn.",
}
"""What the page says after a form."""

_Percent = Annotated[float, Form(gt=0, lt=100)]


@router.get("")
def inspectors(
    request: Request,
    web: WebDep,
    actor: Viewer,
    done: Annotated[
        Literal["", "rolled-back", "activated", "proposed", "approved", "in-force", "withdrawn"],
        Asked(),
    ] = "",
) -> HTMLResponse:
    """What judges each product, what did before, and the thresholds."""
    names = sorted({row["product"] for row in web.station.reader.inspectors()})
    return page(
        request,
        "inspectors.html",
        actor=actor,
        done=DONE[done],
        products=[_product(web, actor, name) for name in names],
        may_manage=actor.may(MANAGE),
    )


@router.post("/roll-back", dependencies=[OwnForm])
def roll_back(
    web: WebDep, actor: Managing, product: ProductField, reason: ReasonField
) -> RedirectResponse:
    """Have what judged before judge again."""
    web.station.inspectors.roll_back(product, reason, actor.name)
    return go_to("/inspectors?done=rolled-back")


@router.post("/activate", dependencies=[OwnForm])
def activate(
    web: WebDep,
    actor: Managing,
    product: ProductField,
    model_sha256: Annotated[str, Form(pattern="^[0-9a-f]{64}$")],
    reason: ReasonField,
) -> RedirectResponse:
    """Have another imported inspector judge."""
    web.station.inspectors.activate(product, model_sha256, reason, actor.name)
    return go_to("/inspectors?done=activated")


@router.post("/propose", dependencies=[OwnForm])
def propose(
    web: WebDep,
    actor: Managing,
    product: ProductField,
    budget: _Percent,
    reason: ReasonField,
    confidence: Annotated[float | None, Form(gt=0, lt=100)] = None,
) -> RedirectResponse:
    """Propose a threshold, by percentages."""
    sure = None if confidence is None else _fraction(confidence)
    web.station.thresholds.propose(product, _fraction(budget), sure, reason, actor.name)
    return go_to("/inspectors?done=proposed")


@router.post("/approve", dependencies=[OwnForm])
def approve(
    web: WebDep, actor: Approving, product: ProductField, number: NumberField
) -> RedirectResponse:
    """Approve a proposal of another person."""
    web.station.thresholds.approve(product, number, actor.name)
    return go_to("/inspectors?done=approved")


@router.post("/put-in-force", dependencies=[OwnForm])
def put_in_force(
    web: WebDep, actor: Approving, product: ProductField, number: NumberField, reason: ReasonField
) -> RedirectResponse:
    """Have an approved threshold judge."""
    web.station.thresholds.put_in_force(product, number, reason, actor.name)
    return go_to("/inspectors?done=in-force")


@router.post("/withdraw", dependencies=[OwnForm])
def withdraw(
    web: WebDep, actor: Managing, product: ProductField, number: NumberField
) -> RedirectResponse:
    """Take a proposal back."""
    web.station.thresholds.withdraw(product, number, actor.name)
    return go_to("/inspectors?done=withdrawn")


def _product(web: Web, actor: Actor, name: str) -> dict[str, Any]:
    """All that the page says of a product."""
    reader = web.station.reader
    stored = {row["model_sha256"]: row for row in reader.inspectors(name)}
    proposals = reader.thresholds(name)
    scores = {row["number"]: row for row in proposals}
    history = [
        row | {"inspector": stored[row["model_sha256"]]} | _threshold(row, stored, scores)
        for row in reader.activations(name)
    ]
    now = history[0] if history else None
    current = None if now is None else now["model_sha256"]
    needs_two = (reader.setting(FOUR_EYES) or {}).get("on", True)
    return {
        "name": name,
        "now": now,
        "before": next((row for row in history if _judge(row) != _judge(history[0])), None),
        "history": history,
        "others": [row for row in stored.values() if row["model_sha256"] != current],
        "needs_two": needs_two,
        "thresholds": [_steps(row, actor, current, needs_two) for row in proposals],
    }


def _judge(row: Row) -> tuple[str, int | None]:
    """What an activation judges with."""
    return row["model_sha256"], row["threshold_number"]


def _threshold(row: Row, stored: dict[str, Row], proposals: dict[int, Row]) -> dict[str, Any]:
    """The threshold of an activation: that in the file, or one that was proposed."""
    inspector, proposed = stored[row["model_sha256"]], proposals.get(row["threshold_number"])
    if proposed is None:
        return {"score": inspector["threshold"], "budget": inspector["budget"]}
    return {"score": proposed["score"], "budget": proposed["budget"]}


def _steps(row: Row, actor: Actor, current: str | None, needs_two: bool) -> dict[str, Any]:
    """A threshold, with what this person may do with it."""
    state, is_own = row["state"], row["proposed_by"] == actor.name
    is_open = state == "proposed"
    return row | {
        "may_approve": is_open and actor.may(APPROVE) and not (is_own and needs_two),
        "needs_another": is_open and is_own and needs_two,
        "may_put_in_force": state == "approved"
        and actor.may(APPROVE)
        and row["model_sha256"] == current,
        "may_withdraw": state in ("proposed", "approved") and actor.may(MANAGE),
    }


def _fraction(percent: float) -> float:
    """A percentage as it was typed, without what binary fractions add."""
    return round(percent / 100, 12)
