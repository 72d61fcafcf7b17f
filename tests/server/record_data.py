"""Events for tests of the record."""

from __future__ import annotations

from typing import Any

from flawmap.server.record.inspections import Arrival, Judgement
from flawmap.server.record.writer import Transaction

MODEL = "ab" * 32


def activate(transaction: Transaction, product: str = "sink") -> None:
    """Have an inspector in force, without a file."""
    inspector: dict[str, Any] = {
        "model_sha256": MODEL,
        "file_sha256": "cd" * 32,
        "file_size": 5,
        "scorer_sha256": "ef" * 32,
        "method_name": "small",
        "version": "1.0",
        "precision": "f32",
        "golden_difference": 0.0,
        "fitted_images": 20,
        "budget": 0.01,
        "threshold": 2.0,
    }
    transaction.append("inspector.imported", product, "station", inspector)
    activation = {"number": 1, "model_sha256": MODEL, "threshold_number": None, "reason": "test"}
    transaction.append("inspector.activated", product, "station", activation)


def arrival(number: int = 0, **changes: Any) -> Arrival:
    """A part, each with an image of its own."""
    values: dict[str, Any] = {
        "product": "sink",
        "image_sha256": f"{number:064x}",
        "image_size": 100,
        "source": "rest",
    }
    return Arrival(**values | changes)


def judgement(**changes: Any) -> Judgement:
    """A verdict."""
    values: dict[str, Any] = {
        "state": "good",
        "score": 1.0,
        "p_value": 0.5,
        "threshold": 2.0,
        "zone": "",
        "regions": [],
        "by_zone": [],
        "error": "",
        "image_width": 64,
        "image_height": 48,
        "overlay_sha256": None,
        "overlay_size": None,
        "model_sha256": MODEL,
        "scorer_sha256": "ef" * 32,
        "method_name": "small",
        "version": "1.0",
        "precision": "f32",
        "golden_difference": 0.0,
        "wait_ms": 1.0,
        "inference_ms": 2.0,
        "record_ms": 3.0,
    }
    return Judgement(**values | changes)
