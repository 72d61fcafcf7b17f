"""What both sides learn before anything is measured.

Folders of images, the same weights, models with equal banks.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rivals.plan import BANK, POSITIONS, Plan
from rivals.talk import Child, Failed, Side

OURS, THEIRS = "flawmap", "anomalib"
SHARE = 0.01
CALIBRATION = 300
"""Images that anomalib's int8 is calibrated on; what it asks for."""
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")

PRECISIONS: dict[str, tuple[str, str | None]] = {
    "f32": ("f32", "f32"),
    "bf16": ("f32", "bf16"),
    "int8": ("int8", None),
}
"""What a precision is fitted with, and what `flawmap.load` is told."""

REFERENCE = "openvino-f32"
"""The other side's way that ratios are also given to.

Its export for CPUs in the precision in which it was learned.
"""

KINDS = {
    "torch": "torch",
    "openvino": "OpenVINO",
    REFERENCE: "OpenVINO, told f32",
    "openvino-fixed": "OpenVINO, fixed",
    "openvino-int8": "OpenVINO, fixed, int8",
}


@dataclass
class Row:
    """Figures of one thing that one side did.

    Args:
        group: rows of one group and unit did the same, and are compared.
        apart: a share of another row's figure, not to be compared.
        reference: whether it is what ratios are also given to.
        when: its part was measured, and how busy the machine was then.
    """

    part: str
    group: str
    side: str
    variant: str
    unit: str
    values: list[float] = field(default_factory=list)
    note: str = ""
    more_is_better: bool = False
    apart: bool = False
    reference: bool = False
    when: str = ""


@dataclass
class Variant:
    """One way in which one side judges images.

    Args:
        key: `f32`, `bf16`, `int8`, or what anomalib's side calls it.
        opening: what its side needs to load it.
    """

    side: Side
    name: str
    key: str
    owner: str
    described: str
    opening: dict[str, Any]
    note: str = ""

    def row(self, part: str, group: str, unit: str, *, more_is_better: bool = False) -> Row:
        """Begin its row."""
        row = Row(
            part,
            group,
            self.owner,
            self.described,
            unit,
            note=self.note,
            more_is_better=more_is_better,
        )
        row.reference = self.key == REFERENCE
        return row

    def open(self) -> Variant:
        """Load it into its side's process that stays."""
        self.note = self.side.ask("open", name=self.name, **self.opening) or ""
        return self

    def judge(self, images: Sequence[Path]) -> dict[str, list[float]]:
        """Seconds and score of each image."""
        answer: dict[str, list[float]] = self.side.ask("judge", name=self.name, images=images)
        return answer

    def judge_folder(self, folder: Path) -> float:
        """Seconds for all its images."""
        return float(self.side.ask("folder", name=self.name, folder=folder))


class Workshop:
    """Both sides, the images, and a folder for what is made of them."""

    def __init__(self, plan: Plan, ours: Side, theirs: Side, work: Path) -> None:
        self.plan, self.ours, self.theirs, self.work = plan, ours, theirs, work.resolve()
        self.left_out: list[str] = []
        self._models: dict[str, list[Variant]] = {}
        self.good = images_in(plan.dataset / "train" / "good")
        kinds = sorted(path for path in (plan.dataset / "test").iterdir() if path.is_dir())
        self.test = [
            (image, int(kind.name != "good")) for kind in kinds for image in images_in(kind)
        ]

    def some(self, count: int) -> list[Path]:
        """Give test images of all kinds."""
        return [image for image, _ in self.test[:: max(1, len(self.test) // count)]][:count]

    def folder(self, name: str, images: Sequence[Path]) -> Path:
        """Make a folder of links to images."""
        folder = self.work / "images" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for number, image in enumerate(images):
            (folder / f"{number:04d}{image.suffix}").symlink_to(image)
        return folder

    def open(self, variants: Sequence[Variant]) -> list[Variant]:
        """Load variants, and note which this machine cannot run: not every processor has bf16."""
        opened = []
        for variant in variants:
            try:
                opened.append(variant.open())
            except Failed as error:
                if variant.key != "bf16":
                    raise
                self.left_out.append(
                    f"{variant.owner}, {variant.described}, is not measured: {error.args[0]}"
                )
        self.left_out = list(dict.fromkeys(self.left_out))
        return opened

    def close(self) -> None:
        """End the processes that stay."""
        self.ours.close()
        self.theirs.close()

    def fit_ours(
        self,
        good: Path,
        file: Path,
        network: str,
        *,
        share: float = SHARE,
        precision: str = "f32",
        method: str = "patchcore",
    ) -> Child:
        """Learn with flawmap's command line; a method may be followed by a colon and a preset."""
        spec = self.plan.networks[network]
        name, _, preset = method.partition(":")
        named = {
            "output": file,
            "method": name,
            "backbone": spec.backbone,
            "weights": spec.weights,
        }
        named["precision"] = precision
        if preset:
            named["preset"] = preset
        if name != "flawmap":  # which has a bank of its own size
            named["coreset"] = share
        return self.ours.run(["-m", "flawmap", "fit", good, *_flags(named)])

    def fit_theirs(
        self, good: Path, out: Path, network: str, *, picks: int, export: bool = False
    ) -> Child:
        """Learn with anomalib's engine; 0 picks are all."""
        shutil.rmtree(out, ignore_errors=True)
        return self.theirs.once(
            "fit",
            folder=good,
            out=out,
            share=SHARE,
            picks=picks,
            export=export,
            **self._named(network),
        )

    def models(self, network: str, methods: Sequence[str] = ("patchcore",)) -> list[Variant]:
        """Make models with `BANK` rows, once.

        Anomalib's are drawn from real embeddings, which times cannot tell.
        """
        if network not in self._models:
            self._models[network] = self._make_models(network, methods)
        return self._models[network]

    def _make_models(self, network: str, methods: Sequence[str]) -> list[Variant]:
        learned = self.plan.networks[network].learned
        good = self.folder(f"learned-{network}", self.good[:learned])
        share = (BANK + 0.5) / (min(learned, len(self.good)) * POSITIONS)
        found = []
        for method in methods:
            stem = self.work / f"models-{network}-{learned}-{method.replace(':', '-')}"
            for precision in ("f32", "int8"):
                file = stem.with_name(f"{stem.name}-{precision}.flawmap")
                self.fit_ours(good, file, network, share=share, precision=precision, method=method)
            found += self.our_variants(stem, method)
        theirs = self.work / f"models-theirs-{network}"
        if not (
            theirs / "weights/openvino/int8.xml"
        ).exists():  # minutes to export, and always the same
            images = {
                "images": self.good[: math.ceil(BANK / POSITIONS) + 1],
                "calibration": self.good[:CALIBRATION],
            }
            self.theirs.once("prepare", rows=BANK, out=theirs, **images, **self._named(network))
        return found + self.their_variants(theirs)

    def our_variants(self, stem: Path, method: str = "patchcore") -> list[Variant]:
        """Give the precisions of the files that begin so."""
        found = []
        for precision, (fitted, opened) in PRECISIONS.items():
            opening = {"file": stem.with_name(f"{stem.name}-{fitted}.flawmap"), "precision": opened}
            described = f"{method}, {precision}"
            found.append(Variant(self.ours, described, precision, OURS, described, opening))
        return found

    def their_variants(self, folder: Path) -> list[Variant]:
        """Give the exports of a folder."""
        return [
            Variant(
                self.theirs,
                kind,
                kind,
                THEIRS,
                f"patchcore, {said}",
                {"folder": folder, "kind": kind},
            )
            for kind, said in KINDS.items()
        ]

    def _named(self, network: str) -> dict[str, Any]:
        spec, file = self.plan.networks[network], self.work / f"weights-{network}.safetensors"
        self.ours.once("save_weights", file=file, backbone=spec.backbone, weights=spec.weights)
        return {"backbone": spec.backbone, "layers": spec.layers, "weights": file}


def images_in(folder: Path) -> list[Path]:
    """List the images of a folder by name."""
    found = sorted(path.resolve() for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise SystemExit(
            f"{folder}: no images; DATASET needs train/good and test/<kind>, as MVTec AD has them"
        )
    return found


def _flags(named: dict[str, Any]) -> Iterator[Any]:
    for name, value in named.items():
        yield from (f"--{name}", value)
