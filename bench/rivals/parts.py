"""What is measured: each part asks both sides in turn and gives rows of figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rivals.models import OURS, THEIRS, Row, Variant, Workshop
from rivals.talk import Side

METHODS = {
    "Lite0": ("patchcore", "flawmap:fast", "flawmap:balanced"),
    "WRN-50-2": ("patchcore", "improved-patchcore:paper"),
}
"""Methods of flawmap, with their presets, beside the other side's PatchCore."""

ENGINE = "patchcore, Engine.predict (torch)"


def coreset(shop: Workshop) -> list[Row]:
    """Time the coreset on the same drawn vectors."""
    plan, file = shop.plan, shop.work / f"vectors-{shop.plan.rows}-{shop.plan.channels}.npy"
    if not file.exists():
        shop.ours.once("draw_vectors", file=file, rows=plan.rows, channels=plan.channels)
    count = max(1, plan.rows // 100)
    group = f"{plan.rows:,} × {plan.channels} vectors → {count:,}"
    ours = Row("coreset", group, OURS, "pick, all picks", "s")
    theirs = Row("coreset", group, THEIRS, "KCenterGreedy", "s")
    setup = Row("coreset", group, THEIRS, "of these, its projection beforehand", "s", apart=True)
    for side in (shop.ours, shop.theirs):
        side.ask("read_vectors", file=file)
    for repeat in range(plan.coreset_repeats):
        ours.values.append(shop.ours.ask("coreset", count=count))
        if repeat and plan.whole:
            continue  # a quarter of an hour each
        found = shop.theirs.ask("coreset", count=count, picks=0 if plan.whole else plan.picks)
        setup.values.append(found["setup"])
        theirs.values.append(found["setup"] + _scaled(found))
    theirs.note = _scaling(found)
    shop.close()
    return [ours, theirs, setup]


def fit(shop: Workshop) -> list[Row]:
    """Time `fit` in a process of its own, from its start to its end, and read its peak memory."""
    good = shop.folder("fit", shop.good[: shop.plan.fit_images])
    return [row for network in shop.plan.fit_networks for row in _fit(shop, network, good)]


def _fit(shop: Workshop, network: str, good: Path) -> list[Row]:
    group = f"{network}, {len(list(good.iterdir()))} images, coreset 1 %"
    time = {side: Row("fit", group, side, "patchcore", "s") for side in (OURS, THEIRS)}
    peak = {
        side: Row("fit", group, side, "patchcore, peak memory", "MB") for side in (OURS, THEIRS)
    }
    for _ in range(shop.plan.fit_repeats):
        ours = shop.fit_ours(good, shop.work / "fit.flawmap", network)
        picks = 0 if shop.plan.whole else shop.plan.picks
        theirs = shop.fit_theirs(good, shop.work / "fit-theirs", network, picks=picks)
        found = theirs.answer
        time[OURS].values.append(ours.wall)
        time[THEIRS].values.append(theirs.wall - found["picking"] + _scaled(found))
        peak[OURS].values.append(ours.peak)
        peak[THEIRS].values.append(theirs.peak)
    time[OURS].note = "judges every good image as well, to set its threshold"
    time[THEIRS].note = f"sets no threshold; {_scaling(found)}"
    return [*time.values(), *peak.values()]


def latency(shop: Workshop) -> list[Row]:
    """Time single images, from the file to score and map."""
    return [row for network in shop.plan.latency_networks for row in _latency(shop, network)]


def _latency(shop: Workshop, network: str) -> list[Row]:
    methods = METHODS[network]
    variants = shop.open(shop.models(network, methods))
    rows = [
        variant.row("latency", f"{network}, a bank of 1 % of 761 images (flawmap: its own)", "ms")
        for variant in variants
    ]
    images = shop.some(shop.plan.judged)
    for variant in variants:
        variant.judge(images)  # every size of image has been seen once
    for _ in range(shop.plan.rounds):
        for variant, row in zip(variants, rows, strict=True):
            row.values += [1000 * one for one in variant.judge(images)["seconds"]]
    shop.close()
    return rows


def folder(shop: Workshop) -> list[Row]:
    """Count images a second over a folder."""
    images = shop.folder("throughput", shop.some(shop.plan.folder_images))
    count = len(list(images.iterdir()))
    group = f"Lite0, {count} images"
    variants = shop.open(shop.models("Lite0"))
    rows = [variant.row("folder", group, "images/s", more_is_better=True) for variant in variants]
    for variant, row in zip(variants, rows, strict=True):
        row.variant = ENGINE if variant.key == "torch" else row.variant
        variant.judge_folder(images)
    for _ in range(shop.plan.folder_repeats):
        for variant, row in zip(variants, rows, strict=True):
            row.values.append(count / variant.judge_folder(images))
    shop.close()
    return rows


def start(shop: Workshop) -> list[Row]:
    """Time fresh processes: to the library's import, and to the first verdict."""
    imported = "import of what judges images (flawmap.Runtime, anomalib.deploy.OpenVINOInferencer)"
    jobs: list[tuple[Row, Side, str, dict[str, Any]]] = [
        (Row("start", imported, label, "import", "s"), side, "import", {})
        for label, side in ((OURS, shop.ours), (THEIRS, shop.theirs))
    ]
    first = "Lite0, from the start of the interpreter to the first verdict"
    variants = shop.open(shop.models("Lite0"))
    shop.close()
    for variant in variants:
        if variant.key in shop.plan.start_variants:
            options = {**variant.opening, "image": shop.test[0][0]}
            jobs.append((variant.row("start", first, "s"), variant.side, "start", options))
    for repeat in range(shop.plan.starts + 1):
        for row, side, job, options in jobs:
            seconds = side.once(job, **options).first
            if repeat:  # the first one fills the disk's cache, and OpenVINO's
                row.values.append(seconds)
    return [row for row, *_ in jobs]


def quality(shop: Workshop) -> list[Row]:
    """Measure image AUROC, so that no speed is bought with it."""
    count = len(shop.good) if shop.plan.whole else min(shop.plan.quality_fit, len(shop.good))
    good = shop.folder("quality", shop.good[:: len(shop.good) // count][:count])
    test = shop.test[:: shop.plan.quality_every]
    rows = []
    for network in shop.plan.quality_networks:
        group = f"{network}, learned from {count} images, {len(test)} judged"
        rows += [
            _quality(variant, group, test) for variant in shop.open(_learned(shop, network, good))
        ]
        shop.close()
    return rows


def _learned(shop: Workshop, network: str, good: Path) -> list[Variant]:
    stem, theirs = shop.work / f"quality-{network}", shop.work / f"quality-theirs-{network}"
    for precision in ("f32", "int8"):
        shop.fit_ours(
            good, stem.with_name(f"{stem.name}-{precision}.flawmap"), network, precision=precision
        )
    shop.fit_theirs(good, theirs, network, picks=0, export=True)
    return shop.our_variants(stem) + shop.their_variants(theirs)


def _quality(variant: Variant, group: str, test: Sequence[tuple[Path, int]]) -> Row:
    scores = variant.judge([image for image, _ in test])["scores"]
    row = variant.row("quality", group, "% image AUROC", more_is_better=True)
    row.values = [100 * auroc(scores, [label for _, label in test])]
    return row


def auroc(scores: Sequence[float], labels: Sequence[int]) -> float:
    """Give the share of pairs that are in the right order; ties count half."""
    bad = [score for score, label in zip(scores, labels, strict=True) if label]
    good = [score for score, label in zip(scores, labels, strict=True) if not label]
    return sum((above > below) + (above == below) / 2 for above in bad for below in good) / (
        len(bad) * len(good)
    )


def _scaled(found: dict[str, float]) -> float:
    return found["picking"] if found["picked"] == found["whole"] else found["each"] * found["whole"]


def _scaling(found: dict[str, float]) -> str:
    if found["picked"] == found["whole"]:
        return "all picks were made"
    return (
        f"scaled: the median of {found['picked']:,} picks times all {found['whole']:,}, which "
        "are the same work"
    )


PARTS: dict[str, Callable[[Workshop], list[Row]]] = {
    "coreset": coreset,
    "fit": fit,
    "latency": latency,
    "folder": folder,
    "start": start,
    "quality": quality,
}
