"""flawmap beside anomalib 2.7.0: times, memory and quality, both sides measured in turn in one run.

    make bench DATASET=… RESNET18=…     (full: about an hour; RIVALS=--whole, several)
    make bench-quick DATASET=…                 (a few minutes of measuring, after both have learned)

Each side runs in an environment of its own, with torch's and OpenVINO's own choice of threads, on
the same images, weights, input size (224 × 224, no crop) and coreset share. After a warm-up the
sides take turns; a figure is the median, with the quartiles beside it. Parts:

    coreset  both coresets on the same drawn vectors (`bench/coreset.py`)
    fit      wall time and peak memory of learning from a folder of good images, a process each
    latency  an image's file → score and map, one at a time
    folder   images a second over a folder
    start    fresh processes: the import, and the first verdict
    quality  image AUROC on the data set

With `--only` the other parts stay as an earlier run left them.

anomalib's coreset takes a quarter of an hour at full size, so its first picks are timed and scaled,
its preparation apart; every pick is the same work on all vectors. `--whole` runs all of them.
Writes RESULTS.md, results.png and results.json into the folder `--out`."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

from rivals.models import Workshop
from rivals.parts import PARTS
from rivals.plan import QUICK, Plan
from rivals.report import describe_machine, moment, read_rows, write
from rivals.talk import Side

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path, help="a folder in the MVTec AD layout")
    parser.add_argument("--resnet18", type=Path, help="weights for timm's resnet18 up to layer 3")
    parser.add_argument("--quick", action="store_true", help="fewer images and repetitions")
    parser.add_argument("--whole", action="store_true", help="run anomalib's coreset to its end")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between them")
    parser.add_argument(
        "--ours", type=Path, default=Path(".venv/bin/python"), help="flawmap's Python"
    )
    parser.add_argument(
        "--theirs", type=Path, default=Path(".venv-anomalib/bin/python"), help="anomalib's Python"
    )
    parser.add_argument(
        "--out", type=Path, default=HERE, help="for RESULTS.md, results.png and results.json"
    )
    parser.add_argument(
        "--work", type=Path, default=HERE / "out" / "rivals", help="for what the run makes"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.only.split(",")) - set(PARTS):
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")

    plan = Plan(arguments.dataset, arguments.resnet18, arguments.whole)
    plan = replace(plan, **QUICK) if arguments.quick else plan
    ours = Side(arguments.ours, HERE / "rivals" / "ours.py", arguments.work / "ours")
    theirs = Side(arguments.theirs, HERE / "rivals" / "theirs.py", arguments.work / "theirs")
    shop = Workshop(plan, ours, theirs, arguments.work)
    machine = describe_machine(ours.once("hello").answer, theirs.once("hello").answer)
    parts = arguments.only.split(",")
    rows = read_rows(arguments.out, without=parts)
    for name in parts:
        began, when = time.perf_counter(), moment()
        rows += [replace(row, when=when) for row in PARTS[name](shop)]
        print(
            f"{name:8s} {time.perf_counter() - began:7.1f} s, with what both learn for it",
            flush=True,
        )
        write(arguments.out, rows, machine, command(arguments), shop.left_out)
    print((arguments.out / "RESULTS.md").read_text())


def command(arguments: argparse.Namespace) -> str:
    """What was run, without this machine's paths."""
    options = []
    if arguments.whole:
        options.append("--whole")
    if arguments.only != ",".join(PARTS):
        options.append(f"--only {arguments.only}")
    words = ["make bench-quick" if arguments.quick else "make bench", "DATASET=…"]
    if arguments.resnet18:
        words.append("RESNET18=…")
    if options:
        words.append(f"RIVALS='{' '.join(options)}'")
    return f"{' '.join(words)}     # DATASET: {arguments.dataset.resolve().name}"


if __name__ == "__main__":
    main()
