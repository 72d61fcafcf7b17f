"""The command line: one function per command. Prints, bars and files are here and in `console.py`, nowhere below."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

import flawmap
from flawmap.console import bars, err, line, out, percent, print_learned, print_left_out
from flawmap.errors import DatasetError, FlawmapError, OptionError
from flawmap.progress import track

ALL_GOOD, SOME_REJECTED, SOME_UNREADABLE, NOTHING_DONE = 0, 1, 2, 3

EXIT_CODES = f"""Exit code: {ALL_GOOD} all good · {SOME_REJECTED} some rejected · {SOME_UNREADABLE} some pictures could
not be read (the others were done) · {NOTHING_DONE} nothing was done, the message says why."""

app = typer.Typer(
    name="flawmap",
    help="Learns what a good part looks like from pictures of good parts only, and shows where a new one differs.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

Saved = Annotated[Path, typer.Argument(help="The file that `flawmap fit` wrote.", metavar="PART.flawmap")]
Results = Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")]
Seed = Annotated[int, typer.Option(help="Of everything random: the same seed gives the same file.")]


@app.command(epilog=EXIT_CODES)
def fit(
    good: Annotated[
        Path,
        typer.Argument(help="A folder of good pictures, or one with train/good, or a CSV manifest.", metavar="GOOD"),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")] = Path("part.flawmap"),
    method: Annotated[str, typer.Option(help="See `flawmap methods`.")] = "patchcore",
    backbone: Annotated[str, typer.Option(help="Any timm name.")] = "tf_efficientnet_lite0",
    weights: Annotated[
        str | None,
        typer.Option(help="FILE.safetensors, hub, embedded or random; unless given, embedded where there are."),
    ] = None,
    size: Annotated[str, typer.Option(help="Of the network's input: 224, or HEIGHTxWIDTH.")] = "224",
    coreset: Annotated[float, typer.Option(help="Share of all patches to remember.")] = 0.01,
    false_rejects: Annotated[float, typer.Option(help="Share of good parts that may be rejected.")] = 0.01,
    seed: Seed = 0,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Another option of the method: reducer=PCA, context.ratio=0.25, …"),
    ] = None,
) -> None:
    """Learn from good pictures; writes one file."""
    # Imported here, as everywhere below, so that --help and a typing error take no seconds.
    from flawmap.inspector import Inspector
    from flawmap.methods import make_method

    made = make_method(method, backbone=backbone, weights=weights, coreset=coreset, seed=seed)
    for change in changes or []:
        made = type(made).from_options(_with_change(made.options(), change))
    inspector = Inspector(made, size=_parse_size(size), false_rejects=false_rejects)
    if weights == "random":
        err.print("[yellow]The backbone has random weights: good for timing, not for finding defects.[/]")
    with bars():
        inspector.fit(good)
    inspector.save(output)
    print_left_out(inspector.unreadable)
    print_learned(inspector.calibration, output)
    raise typer.Exit(SOME_UNREADABLE if inspector.unreadable else ALL_GOOD)


@app.command(epilog=EXIT_CODES)
def inspect(
    part: Saved,
    pictures: Annotated[list[Path], typer.Argument(help="Pictures, or folders of them.", metavar="PICTURES...")],
    output: Results = Path("results"),
) -> None:
    """Judge pictures: a line each, results.csv, results.jsonl, and heat maps over the pictures."""
    from flawmap.inspector import Inspector
    from flawmap.output import write_csv, write_jsonl, write_picture
    from flawmap.render.heatmap import overlay

    named = _find_pictures(pictures)
    inspector = Inspector.load(part)
    records: list[dict[str, Any]] = []
    try:
        with bars():
            inspections = track(inspector.inspect_each([path for path, _ in named]), "inspecting", len(named))
            for (path, name), inspection in zip(named, inspections, strict=True):
                records.append(_record(path, inspection.verdict, inspection.error, inspection.milliseconds))
                out.print(line(records[-1]))
                if inspection.verdict and inspection.pixels is not None:
                    write_picture(output / "maps" / f"{name}.png", overlay(inspection.pixels, inspection.verdict))
    finally:
        # An interruption loses nothing that was judged.
        write_csv(output / "results.csv", records)
        write_jsonl(output / "results.jsonl", records)
    rejected, unreadable = (sum(bool(record[column]) for record in records) for column in ("reject", "error"))
    good = len(records) - rejected - unreadable
    out.print(f"{good} good, {rejected} rejected, {unreadable} unreadable → {escape(str(output))}")
    raise typer.Exit(SOME_UNREADABLE if unreadable else SOME_REJECTED if rejected else ALL_GOOD)


@app.command(epilog=EXIT_CODES)
def evaluate(
    part: Saved,
    dataset: Annotated[
        Path,
        typer.Argument(help="A data set with test pictures: MVTec AD layout or a CSV manifest.", metavar="DATASET"),
    ],
    output: Results = Path("results"),
) -> None:
    """Judge pictures whose truth is known, and say how well that went; writes metrics.json and scores.csv."""
    from flawmap.data.layouts import to_test
    from flawmap.evaluation import evaluate as run
    from flawmap.inspector import Inspector
    from flawmap.output import write_csv, write_json

    samples = to_test(dataset)
    inspector = Inspector.load(part)
    with bars():
        evaluation = run(inspector, samples)
    records = [
        {**_record(row.sample.path, row, row.error, row.milliseconds), "kind": row.sample.kind}
        for row in evaluation.rows
    ]
    write_csv(output / "scores.csv", records)
    write_json(output / "metrics.json", evaluation.metrics)
    table = Table("%", part.name)
    for metric, share in evaluation.metrics.items():
        table.add_row(metric, percent(share))
    out.print(table)
    unreadable = [record for record in records if record["error"]]
    for record in unreadable:
        out.print(line(record))
    raise typer.Exit(SOME_UNREADABLE if unreadable else ALL_GOOD)


@app.command()
def methods() -> None:
    """List the methods."""
    from flawmap.methods import METHODS

    table = Table("method", "source", "learns")
    for name, recipe in METHODS.items():
        table.add_row(name, recipe.source, recipe.learns)
    out.print(table)


@app.command()
def demo(output: Results = Path("demo"), seed: Seed = 0) -> None:
    """Draw memory heat sinks, learn the good ones, find the defects of the others; leaves pictures to look at."""
    from flawmap.demo import run

    with bars():
        result = run(output, seed)
    shown = ("image AUROC", "F1 max", "F1 at the threshold", "pixel AUROC")
    table = Table("%", *shown)
    for name, metrics in result.metrics.items():
        table.add_row(name, *(percent(metrics[metric]) for metric in shown))
    out.print(table)
    out.print(f"Look at [bold]{escape(str(result.contact_sheet))}[/]; pictures and inspectors are beside it.")
    out.print(f"Next: flawmap inspect {escape(str(result.inspector))} {escape(str(result.pictures))} -o results")


def _version(asked: bool) -> bool:
    if asked:
        out.print(f"flawmap {flawmap.__version__}")
        raise typer.Exit
    return asked


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")] = False,
) -> None:
    del version


def main() -> None:
    """Run the command line; an error of flawmap's becomes one line and an exit code."""
    _share_the_cores()
    _silence_libraries()
    try:
        code = app(standalone_mode=False)
    except FlawmapError as error:
        err.print(f"[red]flawmap:[/] {escape(str(error))}")
        code = NOTHING_DONE
    except Exception as error:
        # A wrong word on the command line knows how to show itself. All else is a mistake of ours, whose exit code must
        # not read as a verdict.
        getattr(error, "show", err.print_exception)()
        code = NOTHING_DONE
    sys.exit(code)


def _share_the_cores() -> None:
    # Where another program wants the cores too, torch's threads (GNU OpenMP) wait for each other by spinning, and take
    # twenty times as long as alone. Spinning briefly costs nothing when alone. Read when torch is loaded.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def _silence_libraries() -> None:
    # What OpenCV and the hub print beside our message says the same at length.
    from cv2.utils import logging as cv2_logging

    cv2_logging.setLogLevel(cv2_logging.LOG_LEVEL_SILENT)
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


def _parse_size(text: str) -> tuple[int, int]:
    try:
        sides = [int(side) for side in text.lower().split("x")]
    except ValueError:
        sides = []
    if len(sides) not in (1, 2):
        raise OptionError(f"size {text!r} is neither a number of pixels nor HEIGHTxWIDTH; write 224 or 224x320")
    return sides[0], sides[-1]


def _with_change(options: dict[str, Any], change: str) -> dict[str, Any]:
    path, equals, text = change.partition("=")
    *parents, name = path.split(".")
    place: Any = options
    for parent in parents:
        place = place.get(parent) if isinstance(place, dict) else None
    if not equals or not isinstance(place, dict) or name not in place:
        known = ", ".join(place if isinstance(place, dict) else options)
        raise OptionError(f"--set {change!r}: write NAME=VALUE with a name among {known}")
    place[name] = {"kind": text} if isinstance(place[name], dict) else _parse_value(text)
    return options


def _parse_value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _find_pictures(arguments: list[Path]) -> list[tuple[Path, str]]:
    """Pair each picture with the name of its heat map: its place below the folder that was named."""
    from flawmap.data.layouts import pictures_below

    named: dict[str, Path] = {}
    for argument in arguments:
        below = pictures_below(argument) if argument.is_dir() else [argument]
        if not below:
            raise DatasetError(f"{argument}: no pictures in this folder")
        for path in below:
            name = path.relative_to(argument).as_posix() if argument.is_dir() else path.name
            number = sum(other == name or other.startswith(f"{name} (") for other in named)
            named[f"{name} ({number + 1})" if number else name] = path
    return [(path, name) for name, path in named.items()]


def _record(path: Path, verdict: Any, error: object, milliseconds: float) -> dict[str, Any]:
    """Make a row of the results; `verdict` has score, p_value and reject, or is None."""
    judged = {column: getattr(verdict, column, None) for column in ("score", "p_value", "reject")}
    return {"path": str(path), **judged, "error": str(error or ""), "milliseconds": round(milliseconds, 1)}
