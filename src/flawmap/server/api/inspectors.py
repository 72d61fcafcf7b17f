"""Inspectors and thresholds over REST."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field

from flawmap.server.api.actors import Approving, Managing, Viewer
from flawmap.server.api.problems import Problem
from flawmap.server.api.settings import WebDep

router = APIRouter(tags=["inspectors"])

Product = Annotated[str, Path(min_length=1, max_length=100, description="name of the product")]
Number = Annotated[int, Path(ge=1, le=2**31, description="of the threshold")]
_Reason = Annotated[str, Field(min_length=1, max_length=2000)]


class Because(BaseModel):
    """Why something is done."""

    reason: _Reason


class Activate(Because):
    """Which inspector judges from now on."""

    model_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    threshold_number: int | None = Field(None, ge=1, le=2**31)


class Propose(Because):
    """Another budget of false rejects for the inspector in force."""

    budget: float = Field(gt=0, lt=1)
    confidence: float | None = Field(None, gt=0, lt=1)


@router.get("/products")
def products(web: WebDep, actor: Viewer) -> list[dict[str, Any]]:
    """Each product with what is in force for it."""
    del actor
    return list(web.station.reader.in_force().values())


@router.get("/inspectors")
def inspectors(
    web: WebDep, actor: Viewer, product: Annotated[str, Query(max_length=100)] = ""
) -> list[dict[str, Any]]:
    """All inspectors that were imported, the newest first, with how their golden images did."""
    del actor
    return web.station.reader.inspectors(product)


@router.get("/products/{product}/activations")
def activations(web: WebDep, actor: Viewer, product: Product) -> list[dict[str, Any]]:
    """What judged a product's parts, and from which event on, the newest first."""
    del actor
    return web.station.reader.activations(product)


@router.post("/products/{product}/inspectors", status_code=201)
async def upload(
    request: Request, web: WebDep, actor: Managing, product: Product, activate: bool = False
) -> dict[str, str]:
    """Take an inspector in: the body is the file that `flawmap fit` wrote.

    Its golden images are proved on this machine first. It judges only once it is activated.
    """
    data = await request.body()
    if not data:
        raise Problem(422, "the request has no file; send its bytes as the body")
    model_sha256 = await run_in_threadpool(
        web.station.inspectors.import_file, data, product, actor.name, activate=activate
    )
    return {"product": product, "model_sha256": model_sha256}


@router.post("/products/{product}/activations", status_code=201)
def activate(web: WebDep, actor: Managing, product: Product, asked: Activate) -> dict[str, Any]:
    """Have an inspector judge the parts that come from now on."""
    number = web.station.inspectors.activate(
        product, asked.model_sha256, asked.reason, actor.name, asked.threshold_number
    )
    return {"product": product, "number": number}


@router.post("/products/{product}/roll-back", status_code=201)
def roll_back(web: WebDep, actor: Managing, product: Product, why: Because) -> dict[str, Any]:
    """Have what judged before judge again."""
    number = web.station.inspectors.roll_back(product, why.reason, actor.name)
    return {"product": product, "number": number}


@router.get("/thresholds")
def thresholds(
    web: WebDep, actor: Viewer, product: Annotated[str, Query(max_length=100)] = ""
) -> list[dict[str, Any]]:
    """All thresholds that were proposed, and what became of them."""
    del actor
    return web.station.reader.thresholds(product)


@router.post("/products/{product}/thresholds", status_code=201)
def propose(web: WebDep, actor: Managing, product: Product, asked: Propose) -> dict[str, Any]:
    """Propose another budget; another person approves it."""
    number = web.station.thresholds.propose(
        product, asked.budget, asked.confidence, asked.reason, actor.name
    )
    return {"product": product, "number": number}


@router.post("/products/{product}/thresholds/{number}/approve")
def approve(web: WebDep, actor: Approving, product: Product, number: Number) -> dict[str, Any]:
    """Approve a proposal of another person."""
    web.station.thresholds.approve(product, number, actor.name)
    return {"product": product, "number": number, "state": "approved"}


@router.post("/products/{product}/thresholds/{number}/withdraw")
def withdraw(web: WebDep, actor: Managing, product: Product, number: Number) -> dict[str, Any]:
    """Take a proposal back."""
    web.station.thresholds.withdraw(product, number, actor.name)
    return {"product": product, "number": number, "state": "withdrawn"}


@router.post("/products/{product}/thresholds/{number}/put-in-force", status_code=201)
def put_in_force(
    web: WebDep, actor: Approving, product: Product, number: Number, why: Because
) -> dict[str, Any]:
    """Have an approved threshold judge the parts that come from now on."""
    activation = web.station.thresholds.put_in_force(product, number, why.reason, actor.name)
    return {"product": product, "number": number, "activation_number": activation}
