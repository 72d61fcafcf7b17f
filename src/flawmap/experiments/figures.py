"""Figures 5 and 6 of Li et al.

(2025): what the images look like, and where each method sees the defects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flawmap.data.layouts import good_training_samples, labelled_test_samples
from flawmap.data.sample import GOOD, Sample
from flawmap.errors import ImageError
from flawmap.experiments.runs import RunSpec, StudyRunner
from flawmap.experiments.study import MethodSetup, StudyConfig
from flawmap.experiments.tables import OURS, PATCHCORE
from flawmap.render.figures import (
    CalibratedScale,
    DatasetScale,
    LocalisationRow,
    ValueRange,
    View,
    localisation_figure,
    sample_figure,
)
from flawmap.runtime.decode import decode, decode_mask
from flawmap.runtime.preprocess import ImageU8, Mask
from flawmap.runtime.verdict import Verdict
from flawmap.support.progress import emit, track

FIGURE6_METHODS: dict[str, MethodSetup] = {
    "PaDiM": MethodSetup("padim"),
    "PatchCore": PATCHCORE,
    "SA-PatchCore": MethodSetup("sa-patchcore"),
    "Ours": OURS,
}
"""The methods of figure 6, in the order of its columns."""

SAMPLES = 2
"""Images of each kind in figure 5."""

CASES = 4
"""Defective images of each product in figure 6; the first ones of each kind, not the best ones."""


@dataclass(frozen=True)
class LocalisationFigures:
    """Figure 6, twice.

    Args:
        over_test_set: on the scale of the test set, as the paper shows it.
        calibrated: on the scale that good parts set.
    """

    over_test_set: ImageU8
    calibrated: ImageU8


def draw_samples(study: StudyConfig) -> ImageU8:
    """Draw figure 5: for each product some good images and some of each kind of defect."""
    images = {}
    for product, place in study.products.items():
        kinds: dict[str, list[Sample]] = {GOOD: good_training_samples(place)}
        for sample in labelled_test_samples(place):
            kinds.setdefault(sample.defect_type, []).append(sample)
        images[product] = {
            kind: [sample.path for sample in some[:SAMPLES]] for kind, some in kinds.items()
        }
    return sample_figure(images, f"Samples of {study.source.name}")


def draw_localisation(study: StudyConfig, folder: Path, cases: int = CASES) -> LocalisationFigures:
    """Draw figure 6: the first defective images of each product, as each method sees them.

    Args:
        study: its first seed counts.
        folder: of the rows.
        cases: of each product.
    """
    lab = StudyRunner(study, folder)
    shown: tuple[list[LocalisationRow], list[LocalisationRow]] = ([], [])
    for product, place in study.products.items():
        samples = first_defects_by_type(labelled_test_samples(place), cases)
        seen = [
            _look(lab, RunSpec(setup, product, 0), samples)
            for setup in track(FIGURE6_METHODS.values(), "methods", len(FIGURE6_METHODS))
        ]
        for number, sample in enumerate(samples):
            for page, views in zip(
                shown, zip(*(one[number] for one in seen), strict=True), strict=True
            ):
                page.append(
                    LocalisationRow(
                        product, sample.defect_type, decode(sample.path), views, _mask(sample)
                    )
                )
    title = f"Where {study.source.name} is defective"
    return LocalisationFigures(
        localisation_figure(
            shown[0], list(FIGURE6_METHODS), f"{title}: each method on the scale of its test set"
        ),
        localisation_figure(
            shown[1], list(FIGURE6_METHODS), f"{title}: on the scale that good parts set"
        ),
    )


def first_defects_by_type(samples: Sequence[Sample], count: int) -> list[Sample]:
    """The first defective samples, equally many of each type, at most `count` in all."""
    kinds: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.label:
            kinds.setdefault(sample.defect_type, []).append(sample)
    rounds = [some[place] for place in range(count) for some in kinds.values() if place < len(some)]
    return sorted(rounds[:count], key=lambda sample: (sample.defect_type, sample.path))


def _look(lab: StudyRunner, cell: RunSpec, shown: Sequence[Sample]) -> list[tuple[View, View]]:
    """Judge the test set by one method; gives both views of the images to show."""
    runtime = lab.inspector(cell).runtime
    samples = labelled_test_samples(lab.study.products[cell.product])
    verdicts: dict[Path, Verdict] = {}
    scores: list[float] = []
    values: list[float] = []
    wanted = {sample.path for sample in shown}
    for sample, one in zip(
        samples, runtime.inspect_many([sample.path for sample in samples]), strict=True
    ):
        if one.verdict is None:
            emit(f"left out: {one.error}")
            continue
        scores.append(one.verdict.score)
        values += [float(one.verdict.heatmap.min()), float(one.verdict.heatmap.max())]
        if sample.path in wanted:
            verdicts[sample.path] = one.verdict
    spans = [ValueRange(min(found), max(found)) for found in (values, scores)]
    return [
        (DatasetScale(verdict.heatmap, verdict.score, *spans), CalibratedScale(verdict))
        for verdict in _in_order(verdicts, shown)
    ]


def _in_order(verdicts: Mapping[Path, Verdict], shown: Sequence[Sample]) -> list[Verdict]:
    if missing := [sample.path for sample in shown if sample.path not in verdicts]:
        raise ImageError(
            f"{missing[0]} cannot be used, so it cannot be shown; repair it or take it out of "
            f"the test set"
        )
    return [verdicts[sample.path] for sample in shown]


def _mask(sample: Sample) -> Mask | None:
    return decode_mask(sample.mask) if sample.mask else None
