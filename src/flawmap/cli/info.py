"""`flawmap info`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from flawmap.cli.common import EXIT_CODES, ExitCode, InspectorFile, app
from flawmap.cli.console import on_one_line, out, print_json, print_notes
from flawmap.cli.products import find_inspectors, run_jobs
from flawmap.cli.tuning_table import print_tuning

if TYPE_CHECKING:
    from flawmap.runtime.bundle import Bundle
    from flawmap.runtime.calibration import Calibration

_Facts = dict[str, Any]


@app.command(epilog=EXIT_CODES)
def info(
    inspector: InspectorFile,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object; of a folder, an object per product."),
    ] = False,
) -> None:
    """Print what a file holds: method, images, threshold and its guarantee, versions, hashes."""
    files = find_inspectors(inspector)
    facts: dict[str, _Facts] = {}
    jobs = {name: partial(_collect, name, file, facts, as_json) for name, file in files.items()}
    code = run_jobs(jobs, titles=not as_json)
    if as_json:
        printed = facts if inspector.is_dir() else facts[inspector.stem]
        print_json(printed)
    raise typer.Exit(code)


def _collect(name: str, file: Path, facts: dict[str, _Facts], as_json: bool) -> int:
    from flawmap.runtime import bundle
    from flawmap.runtime.calibration import Calibration
    from flawmap.tuning.record import TuningRecord

    loaded = bundle.load(file)
    calibration = Calibration.from_arrays(loaded.manifest.calibration, loaded.arrays)
    facts[name] = _facts(file, loaded, calibration)
    if not as_json:
        _print(facts[name])
        if loaded.manifest.tuning:
            print_tuning(TuningRecord.from_dict(loaded.manifest.tuning))
        print_notes(calibration.warnings())
    return ExitCode.ALL_GOOD


def _facts(file: Path, loaded: Bundle, calibration: Calibration) -> _Facts:
    manifest = loaded.manifest
    return {
        "file": str(file),
        "bytes": file.stat().st_size,
        "method_name": manifest.method_name,
        "method_class": manifest.method_class,
        "method_source": manifest.method_source,
        "method_options": manifest.method_options,
        "changed_options": manifest.changed_options,
        "height": manifest.preprocessing.height,
        "width": manifest.preprocessing.width,
        "letterbox_beyond": manifest.preprocessing.letterbox_beyond,
        "white_of_16_bits": manifest.preprocessing.white,
        "precision": manifest.precision,
        "has_graph": not manifest.no_graph_reason,
        "no_graph_reason": manifest.no_graph_reason,
        "fitted_images": manifest.fitted_images,
        "finetuning": _finetuning(manifest.finetuning),
        "tuning": manifest.tuning,
        "calibration": _calibration(calibration),
        "versions": {"flawmap": manifest.version, **manifest.libraries},
        "model_sha256": loaded.sha256,
        "scorer_sha256": manifest.scorer_sha256,
        "weights_sha256": manifest.weights_sha256,
    }


def _calibration(calibration: Calibration) -> _Facts:
    return {
        "kind": "split" if calibration.exact else "leave-out",
        "images": len(calibration.scores),
        "groups": sorted(set(calibration.groups)),
        "false_rejects": calibration.budget.false_rejects,
        "confidence": calibration.budget.confidence,
        "threshold": calibration.threshold,
        "map_limit": calibration.map_limit,
        "expected_false_rejects": calibration.expected_false_rejects,
        "false_reject_bound": calibration.false_reject_bound,
        "guarantees": calibration.guarantees(),
    }


def _finetuning(saved: dict[str, Any] | None) -> _Facts | None:
    from flawmap.finetune.config import FineTuneConfig
    from flawmap.finetune.record import FineTuneRecord
    from flawmap.support.flat import changes
    from flawmap.support.options import to_dict

    if saved is None:
        return None
    record = FineTuneRecord.from_dict(saved)
    return {
        "mode": record.config.mode,
        "epochs": len(record.history),
        "classes": record.classes,
        "excluded_images": len(record.excluded_sha256),
        "changed_options": changes(to_dict(record.config), to_dict(FineTuneConfig())),
    }


def _print(facts: _Facts) -> None:
    table = Table.grid(padding=(0, 2))
    for label, text in _rows(facts):
        table.add_row(f"[bold]{label}[/]", on_one_line(text))
    out.print(table)


def _rows(facts: _Facts) -> list[tuple[str, str]]:
    calibration = facts["calibration"]
    groups = f", {len(calibration['groups'])} groups" if calibration["groups"] else ""
    return [
        ("file", f"{facts['file']} ({facts['bytes'] / 1e6:.1f} MB)"),
        ("method", _method_text(facts)),
        ("options", _as_text(facts["changed_options"]) or "defaults"),
        ("image size", _size_text(facts)),
        ("precision", facts["precision"]),
        ("graph", facts["no_graph_reason"] or "yes"),
        ("good images", f"fitted on {facts['fitted_images']}"),
        ("calibration", f"{calibration['kind']}, {calibration['images']} good images{groups}"),
        ("budget", _budget_text(calibration)),
        ("threshold", f"{calibration['threshold']:.4f}"),
        ("guarantee", "\n".join(calibration["guarantees"])),
        ("fine-tuning", _finetuning_text(facts["finetuning"])),
        ("tuning", facts["tuning"]["reason"] if facts["tuning"] else "none"),
        ("versions", _as_text(facts["versions"])),
        ("model hash", facts["model_sha256"]),
        ("scorer hash", facts["scorer_sha256"]),
        ("weights hash", facts["weights_sha256"]),
    ]


def _method_text(facts: _Facts) -> str:
    text = str(facts["method_name"])
    if facts["method_class"] != text:
        text += f" ({facts['method_class']})"
    return f"{text} from {facts['method_source']}" if facts["method_source"] else text


def _size_text(facts: _Facts) -> str:
    text = f"{facts['height']} × {facts['width']}"
    beyond = facts["letterbox_beyond"]
    if beyond is None:
        return text
    return f"{text}, letterboxed where the aspect is more than {beyond:.0%} off"


def _budget_text(calibration: _Facts) -> str:
    confidence = calibration["confidence"]
    certainty = f"{confidence:.0%} sure" if confidence else "on average"
    return f"{calibration['false_rejects']:.2%} of good parts rejected, {certainty}"


def _finetuning_text(facts: _Facts | None) -> str:
    if facts is None:
        return "none"
    classes = ", ".join(f"{name} ({count})" for name, count in facts["classes"].items())
    options = _as_text(facts["changed_options"])
    text = f"{facts['mode']}, {facts['epochs']} epochs: {classes}"
    return f"{text}; {options}" if options else text


def _as_text(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
