"""What is measured: each part asks both sides in turn and gives rows of figures."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rivals.plan import BANK, POSITIONS, Network, Plan
from rivals.talk import Side

OURS, THEIRS = "flawmap", "anomalib"
FITTED = {"f32": "f32", "bf16": "f32", "int8": "int8"}
"""Which saved file a precision is loaded from."""

OPENED: dict[str, str | None] = {"f32": "f32", "bf16": "bf16", "int8": None}
KINDS = {
    "torch": "torch inferencer",
    "openvino": "OpenVINO inferencer",
    "openvino-fixed": "OpenVINO inferencer, 224 × 224 baked in",
}
ENGINE = "Engine.predict (torch)"


@dataclass
class Row:
    """Figures of one thing that one side did.

    Args:
        group: rows of one group did the same.
        cited: where a figure is no median of values but stands in the other ones' place: an interval.
    """

    part: str
    group: str
    side: str
    variant: str
    unit: str
    values: list[float] = field(default_factory=list)
    note: str = ""
    more_is_better: bool = False


class Bench:
    """Both sides, the pictures, and what is measured of them."""

    def __init__(self, plan: Plan, ours: Side, theirs: Side, work: Path) -> None:
        self.plan, self.ours, self.theirs, self.work = plan, ours, theirs, work.resolve()
        self.good = _pictures(plan.dataset / "train" / "good")
        self.test = _test_pictures(plan.dataset)

    def parts(self) -> dict[str, Callable[[], list[Row]]]:
        """Give the parts by name, in order."""
        return {
            "coreset": self.coreset,
            "fit": self.fit,
            "latency": self.latency,
            "folder": self.folder,
            "start": self.start,
            "quality": self.quality,
        }

    def coreset(self) -> list[Row]:
        """Time the coreset on the same drawn vectors."""
        plan, file = self.plan, self.work / f"vectors-{self.plan.rows}-{self.plan.channels}.npy"
        if not file.exists():
            self.ours.once("draw_vectors", file=file, rows=plan.rows, channels=plan.channels)
        count = max(1, plan.rows // 100)
        group = f"{plan.rows:,} × {plan.channels} vectors → {count:,}"
        ours = Row("coreset", group, OURS, "pick, all picks", "s")
        theirs = Row("coreset", group, THEIRS, "KCenterGreedy", "s")
        setup = Row("coreset", group, THEIRS, "of these, its projection beforehand", "s")
        for side in (self.ours, self.theirs):
            side.ask("read_vectors", file=file)
        for repeat in range(plan.coreset_repeats):
            found = self.ours.ask("coreset", count=count, picks=0)
            ours.values.append(found["picking"])
            whole = plan.whole and not repeat
            if whole or not plan.whole:
                found = self.theirs.ask("coreset", count=count, picks=0 if whole else plan.picks)
                setup.values.append(found["setup"])
                theirs.values.append(found["setup"] + _scaled(found))
        theirs.note = _scaling(found)
        self._close()
        return [ours, theirs, setup]

    def fit(self) -> list[Row]:
        """Time `fit` in a process of its own, from its start to its end, and read its peak memory."""
        plan, rows = self.plan, []
        good = self._folder("fit", self.good[: plan.fit_pictures])
        for name in plan.fit_networks:
            group = f"{name}, {len(list(good.iterdir()))} pictures, coreset 1 %"
            times = {side: Row("fit", group, side, "patchcore", "s") for side in (OURS, THEIRS)}
            peaks = {side: Row("fit", group, side, "patchcore, peak memory", "MB") for side in (OURS, THEIRS)}
            for _ in range(plan.fit_repeats):
                ours = self._fit_ours(good, self.work / "fit.flawmap", plan.networks[name], 0.01)
                theirs = self._fit_theirs(good, self.work / "fit-theirs", name, plan.networks[name], whole=plan.whole)
                found = theirs.answer
                times[OURS].values.append(ours.wall)
                times[THEIRS].values.append(theirs.wall - found["picking"] + _scaled(found))
                peaks[OURS].values.append(ours.peak)
                peaks[THEIRS].values.append(theirs.peak)
            times[OURS].note = "calibrates its threshold on every good picture as well"
            times[THEIRS].note = f"sets no threshold; {_scaling(found)}"
            rows += [*times.values(), *peaks.values()]
        return rows

    def latency(self) -> list[Row]:
        """Time single pictures, from the file to score and map."""
        rows = []
        for name in self.plan.latency_networks:
            variants = self._open(name, all_methods=True)
            pictures = self._spread(self.plan.judged)
            for variant in variants:
                variant.judge(pictures)  # every size of picture has been seen once
            for _ in range(self.plan.rounds):
                for variant in variants:
                    variant.row.values += [1000 * one for one in variant.judge(pictures)["seconds"]]
            self._close()
            rows += [variant.row for variant in variants]
        return rows

    def folder(self) -> list[Row]:
        """Count pictures a second over a folder."""
        pictures = self._folder("throughput", self._spread(self.plan.folder_pictures))
        count, rows = len(list(pictures.iterdir())), []
        for name in self.plan.latency_networks[:1]:
            variants = self._open(name, all_methods=False)
            for variant in variants:
                label = ENGINE if variant.name == "torch" else variant.row.variant
                row = Row("folder", f"{name}, {count} pictures", variant.row.side, label, "pictures/s")
                row.more_is_better, row.note, variant.row = True, variant.row.note, row
            for repeat in range(self.plan.folder_repeats + 1):
                for variant in variants:
                    seconds = variant.side.ask("folder", name=variant.name, folder=pictures)
                    if repeat:  # the first one warms up
                        variant.row.values.append(count / seconds)
            self._close()
            rows += [variant.row for variant in variants]
        return rows

    def start(self) -> list[Row]:
        """Time fresh processes: to the library's import, and to the first verdict."""
        picture, rows = self.test[0][0], []
        files = self._models("Lite0", all_methods=False)
        jobs: list[tuple[Row, Side, dict[str, Any]]] = []
        for label, side in ((OURS, self.ours), (THEIRS, self.theirs)):
            group = "import of what judges pictures (flawmap.load, anomalib.deploy)"
            jobs.append((Row("start", group, label, "import", "s"), side, {"job": "import"}))
        for variant in files:
            if variant.key in self.plan.start_variants:
                row = Row("start", "Lite0, interpreter start → first verdict", *variant.label, "s", note=variant.row.note)
                jobs.append((row, variant.side, {"job": "start", **variant.opening, "picture": picture}))
        for repeat in range(self.plan.starts + 1):
            for row, side, job in jobs:
                first = side.once(**job).first
                if repeat:  # the first one fills the disk's cache, and OpenVINO's
                    row.values.append(first)
        rows += [row for row, _, _ in jobs]
        return rows

    def quality(self) -> list[Row]:
        """Measure image AUROC, so that no speed is bought with it."""
        plan = self.plan
        count = len(self.good) if plan.whole else plan.quality_fit
        good = self._folder("quality", self.good[:: len(self.good) // count][:count])
        test = self.test[:: plan.quality_every]
        rows: list[Row] = []
        for name in ("Lite0", "ResNet-18"):
            if name in plan.networks:
                group = f"{name}, learned from {count} pictures, {len(test)} judged"
                rows += self._quality_of(name, group, good, test)
        return rows

    def _quality_of(self, name: str, group: str, good: Path, test: list[tuple[Path, int]]) -> list[Row]:
        network, pictures = self.plan.networks[name], [picture for picture, _ in test]
        theirs = self.work / f"quality-theirs-{name}"
        for precision in ("f32", "int8"):
            self._fit_ours(good, self.work / f"quality-{name}-{precision}.flawmap", network, 0.01, precision)
        self._fit_theirs(good, theirs, name, network, whole=True, export=True)
        variants = self._variants(self.work / f"quality-{name}", theirs)
        for variant in variants:
            variant.open()
            scores = variant.judge(pictures)["scores"]
            row = Row("quality", group, *variant.label, "% image AUROC", more_is_better=True)
            row.values, row.note = [100 * auroc(scores, [label for _, label in test])], variant.row.note
            variant.row = row
        self._close()
        return [variant.row for variant in variants]

    def _open(self, name: str, *, all_methods: bool) -> list[Variant]:
        variants = self._models(name, all_methods=all_methods)
        for variant in variants:
            variant.open()
        return variants

    def _models(self, name: str, *, all_methods: bool) -> list[Variant]:
        """Learn, with both sides, models with a bank of `BANK` rows; anomalib's memory is filled at random."""
        network = self.plan.networks[name]
        learned = self._folder(f"learned-{name}", self.good[: network.learned])
        count = len(list(learned.iterdir()))
        share = (BANK + 0.5) / (count * POSITIONS)
        theirs = self.work / f"models-theirs-{name}"
        if not (theirs / "weights/openvino/fixed_size.xml").exists():
            files = {"out": theirs, "weights": self._weights(name, network)}
            pictures = self.good[: math.ceil(BANK / POSITIONS) + 1]
            spec = {"backbone": network.backbone, "layers": network.layers}
            self.theirs.once("prepare", pictures=list(map(str, pictures)), rows=BANK, **files, **spec)
        variants: list[Variant] = []
        methods = ["patchcore"] + ["improved-patchcore"] * (all_methods and name == "WRN-50-2")
        for method in methods:
            stem = self.work / f"models-{name}-{count}-{method}"
            for precision in ("f32", "int8"):
                file = stem.with_name(f"{stem.name}-{precision}.flawmap")
                if not file.exists():
                    self._fit_ours(learned, file, network, share, precision, method)
            variants += [one for one in self._variants(stem, theirs, method) if one.row.side == OURS or not variants]
        theirs_too = [one for one in self._variants(self.work, theirs) if one.row.side == THEIRS]
        variants = [one for one in variants if one.row.side == OURS] + theirs_too
        for variant in variants:
            variant.row.part, variant.row.group = "latency", f"{name}, bank of {BANK:,}"
        return variants

    def _variants(self, ours: Path, theirs: Path, method: str = "patchcore") -> list[Variant]:
        found = []
        for precision, opened in OPENED.items():
            row = Row("", "", OURS, f"{method}, {precision}", "ms")
            file = ours.with_name(f"{ours.name}-{FITTED[precision]}.flawmap")
            opening = {"file": str(file), "precision": opened}
            found.append(Variant(self.ours, f"{method}-{precision}", precision, row, opening))
        for kind, described in KINDS.items():
            row = Row("", "", THEIRS, f"patchcore, {described}", "ms")
            found.append(Variant(self.theirs, kind, kind, row, {"folder": str(theirs), "kind": kind}))
        return found

    def _fit_ours(
        self,
        good: Path,
        file: Path,
        network: Network,
        share: float,
        precision: str = "f32",
        method: str = "patchcore",
    ) -> Any:
        options = {
            "--output": file,
            "--method": method,
            "--backbone": network.backbone,
            "--weights": network.weights,
            "--coreset": share,
            "--precision": precision,
        }
        return self.ours.run(["-m", "flawmap", "fit", good, *_flat(options)])

    def _fit_theirs(
        self, good: Path, out: Path, name: str, network: Network, *, whole: bool, export: bool = False
    ) -> Any:
        shutil.rmtree(out, ignore_errors=True)
        return self.theirs.once(
            "fit",
            folder=good,
            out=out,
            backbone=network.backbone,
            layers=network.layers,
            weights=self._weights(name, network),
            share=0.01,
            picks=0 if whole else self.plan.picks,
            export=export,
        )

    def _weights(self, name: str, network: Network) -> Path:
        file = self.work / f"weights-{name}.safetensors"
        self.ours.once("save_weights", file=file, backbone=network.backbone, weights=network.weights)
        return file

    def _folder(self, name: str, pictures: Sequence[Path]) -> Path:
        """Make a folder of links to pictures."""
        folder = self.work / "pictures" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for number, picture in enumerate(pictures):
            (folder / f"{number:04d}{picture.suffix}").symlink_to(picture)
        return folder

    def _spread(self, count: int) -> list[Path]:
        step = max(1, len(self.test) // count)
        return [picture for picture, _ in self.test[::step]][:count]

    def _close(self) -> None:
        self.ours.close()
        self.theirs.close()


@dataclass
class Variant:
    """One way in which one side judges pictures."""

    side: Side
    name: str
    key: str
    row: Row
    opening: dict[str, Any]

    @property
    def label(self) -> tuple[str, str]:
        """The first cells of its row."""
        return self.row.side, self.row.variant

    def open(self) -> None:
        """Load it into its side's process that stays."""
        self.row.note = self.side.ask("open", name=self.name, **self.opening) or ""

    def judge(self, pictures: Sequence[Path]) -> dict[str, list[float]]:
        """Give the seconds and the score of each picture."""
        return self.side.ask("judge", name=self.name, pictures=list(map(str, pictures)))


def auroc(scores: Sequence[float], labels: Sequence[int]) -> float:
    """Give the share of pairs that are in the right order; ties count half."""
    bad = [score for score, label in zip(scores, labels, strict=True) if label]
    good = [score for score, label in zip(scores, labels, strict=True) if not label]
    return sum((above > below) + (above == below) / 2 for above in bad for below in good) / (len(bad) * len(good))


def _scaled(found: dict[str, float]) -> float:
    return found["picking"] * found["whole"] / found["picked"]


def _scaling(found: dict[str, float]) -> str:
    if found["picked"] == found["whole"]:
        return "all picks were made"
    return f"scaled: {found['picked']:.0f} of its {found['whole']:.0f} picks were made, each takes as long"


def _flat(options: dict[str, Any]) -> Iterator[Any]:
    for name, value in options.items():
        yield from (name, value)


def _pictures(folder: Path) -> list[Path]:
    found = sorted(path.resolve() for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".bmp"))
    if not found:
        raise SystemExit(f"{folder}: no pictures; DATASET needs train/good and test/<kind>, as MVTec AD has them")
    return found


def _test_pictures(dataset: Path) -> list[tuple[Path, int]]:
    kinds = sorted(path for path in (dataset / "test").iterdir() if path.is_dir())
    return [(picture, int(kind.name != "good")) for kind in kinds for picture in _pictures(kind)]
