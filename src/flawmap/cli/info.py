"""`flawmap info`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import typer
from rich.table import Table

from flawmap.cli.common import EXIT_CODES, ExitCode, InspectorFile, app
from flawmap.cli.console import on_one_line, out, print_warnings
from flawmap.cli.facts import Facts, facts_of
from flawmap.cli.output import JsonOption, QuietOption, add_result, choose_output
from flawmap.cli.products import find_inspectors, run_jobs
from flawmap.cli.tuning_table import print_tuning


@app.command(epilog=EXIT_CODES)
def info(inspector: InspectorFile, as_json: JsonOption = False, quiet: QuietOption = False) -> None:
    """Print what a file holds: method, images, threshold and its guarantee, versions, hashes."""
    choose_output(as_json=as_json, quiet=quiet)
    files = find_inspectors(inspector)
    jobs = {name: partial(_show, file) for name, file in files.items()}
    raise typer.Exit(run_jobs(jobs, by_product=inspector.is_dir()))


def _show(file: Path) -> int:
    from flawmap.tuning.record import TuningRecord

    facts = facts_of(file)
    add_result(**facts)
    _print(facts)
    if facts["tuning"]:
        print_tuning(TuningRecord.from_dict(facts["tuning"]))
    print_warnings(facts["warnings"])
    return ExitCode.ALL_GOOD


def _print(facts: Facts) -> None:
    table = Table.grid(padding=(0, 2))
    for label, text in _rows(facts):
        lines = [text] if isinstance(text, str) else text
        table.add_row(f"[bold]{on_one_line(label)}[/]", "\n".join(map(on_one_line, lines)))
    out.print(table)


def _rows(facts: Facts) -> list[tuple[str, str | list[str]]]:
    """Labels with texts, or with several lines each."""
    calibration = facts["calibration"]
    groups = f", {len(calibration['groups'])} groups" if calibration["groups"] else ""
    return [
        ("file", f"{facts['file']} ({facts['bytes'] / 1e6:.1f} MB)"),
        ("method", _method_text(facts)),
        ("options", _as_text(facts["changed_options"]) or "defaults"),
        ("image size", _size_text(facts)),
        ("mask", f"{facts['mask']['counts']:.1%} of an image count" if facts["mask"] else "none"),
        *_region_rows(facts),
        ("precision", facts["precision"]),
        ("graph", facts["no_graph_reason"] or "yes"),
        ("good images", _good_images_text(facts)),
        ("calibration", f"{calibration['kind']}, {calibration['images']} good images{groups}"),
        *([] if facts["zones"] else [("budget", _budget_text(calibration))]),
        *([] if facts["zones"] else [("threshold", f"{calibration['threshold']:.4f}")]),
        ("guarantee", calibration["guarantees"]),
        ("fine-tuning", _finetuning_text(facts["finetuning"])),
        ("tuning", facts["tuning"]["reason"] if facts["tuning"] else "none"),
        ("versions", _as_text(facts["versions"])),
        ("model hash", facts["model_sha256"]),
        ("scorer hash", facts["scorer_sha256"]),
        ("weights hash", facts["weights_sha256"]),
    ]


def _region_rows(facts: Facts) -> list[tuple[str, str]]:
    """A row for each region: its share, its budget and its threshold."""
    return [
        (
            f"region {zone['name']}",
            f"{zone['share']:.1%} of an image; {_budget_text(zone)}; threshold "
            f"{zone['threshold']:.4f}; takes {zone['images_needed']} good images",
        )
        for zone in facts["zones"]
    ]


def _good_images_text(facts: Facts) -> str:
    text = f"fitted on {facts['fitted_images']}"
    hashes = len(facts["fitted_sha256"])
    return f"{text}; hashes of {hashes} files, in --json" if hashes else text


def _method_text(facts: Facts) -> str:
    text = str(facts["method_name"])
    if facts["method_class"] != text:
        text += f" ({facts['method_class']})"
    return f"{text} from {facts['method_source']}" if facts["method_source"] else text


def _size_text(facts: Facts) -> str:
    text = f"{facts['height']} × {facts['width']}"
    beyond, overlap = facts["letterbox_beyond"], facts["tile_overlap"]
    if overlap is not None:
        return f"tiles of {text} of the image's own pixels, {overlap:.0%} overlapping"
    if beyond is None:
        return text
    return f"{text}, letterboxed where the aspect is more than {beyond:.0%} off"


def _budget_text(calibration: Facts) -> str:
    confidence = calibration["confidence"]
    certainty = f"{confidence:.0%} sure" if confidence else "on average"
    return f"{calibration['false_rejects']:.2%} of good parts rejected, {certainty}"


def _finetuning_text(facts: Facts | None) -> str:
    if facts is None:
        return "none"
    classes = ", ".join(f"{name} ({count})" for name, count in facts["classes"].items())
    options = _as_text(facts["changed_options"])
    text = f"{facts['mode']}, {facts['epochs']} epochs: {classes}"
    return f"{text}; {options}" if options else text


def _as_text(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
