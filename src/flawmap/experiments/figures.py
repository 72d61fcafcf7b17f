"""Figures 5 and 6 of Li et al. (2025): what the pictures look like, and where each method sees the defects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flawmap.data.layouts import GOOD, Sample, good_to_fit, to_test
from flawmap.errors import PictureError
from flawmap.experiments.cells import Cell, Lab, Setup, Study
from flawmap.experiments.tables import OURS, PATCHCORE
from flawmap.prepare import Mask, read, read_mask
from flawmap.progress import tell, track
from flawmap.render.heatmap import Picture
from flawmap.render.montage import Calibrated, Case, OverTestSet, Span, View, show_localisation, show_samples
from flawmap.verdict import Verdict

COMPARED: dict[str, Setup] = {
    "PaDiM": Setup("padim"),
    "PatchCore": PATCHCORE,
    "SA-PatchCore": Setup("sa-patchcore"),
    "Ours": OURS,
}
"""The methods of figure 6, in the order of its columns."""

SAMPLES = 2
"""Pictures of each kind in figure 5."""

CASES = 4
"""Defective pictures of each product in figure 6; the first ones of each kind, not the best ones."""


@dataclass(frozen=True)
class Localisation:
    """Figure 6, twice.

    Args:
        over_test_set: on the scale of the test set, as the paper shows it.
        calibrated: on the scale that good parts set.
    """

    over_test_set: Picture
    calibrated: Picture


def draw_samples(study: Study) -> Picture:
    """Draw figure 5: for each product some good pictures and some of each kind of defect."""
    pictures = {}
    for product, place in study.products.items():
        kinds: dict[str, list[Sample]] = {GOOD: good_to_fit(place)}
        for sample in to_test(place):
            kinds.setdefault(sample.kind, []).append(sample)
        pictures[product] = {kind: [sample.path for sample in some[:SAMPLES]] for kind, some in kinds.items()}
    return show_samples(pictures, f"Samples of {study.source.name}")


def draw_localisation(study: Study, folder: Path, cases: int = CASES) -> Localisation:
    """Draw figure 6: the first defective pictures of each product, as each method sees them.

    Args:
        study: its first seed counts.
        folder: of the rows.
        cases: of each product.
    """
    lab = Lab(study, folder)
    shown: tuple[list[Case], list[Case]] = ([], [])
    for product, place in study.products.items():
        samples = first_of_each_kind(to_test(place), cases)
        seen = [
            _look(lab, Cell(setup, product, 0), samples) for setup in track(COMPARED.values(), "methods", len(COMPARED))
        ]
        for number, sample in enumerate(samples):
            for page, views in zip(shown, zip(*(one[number] for one in seen), strict=True), strict=True):
                page.append(Case(product, sample.kind, read(sample.path), views, _mask(sample)))
    title = f"Where {study.source.name} is defective"
    return Localisation(
        show_localisation(shown[0], list(COMPARED), f"{title}: each method on the scale of its test set"),
        show_localisation(shown[1], list(COMPARED), f"{title}: on the scale that good parts set"),
    )


def first_of_each_kind(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Take the first defective samples, as many of one kind as of another, `count` in all where there are so many."""
    kinds: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.label:
            kinds.setdefault(sample.kind, []).append(sample)
    rounds = [some[place] for place in range(count) for some in kinds.values() if place < len(some)]
    return sorted(rounds[:count], key=lambda sample: (sample.kind, sample.path))


def _look(lab: Lab, cell: Cell, shown: Sequence[Sample]) -> list[tuple[View, View]]:
    """Judge the test set by one method; gives both views of the pictures to show."""
    runtime = lab.inspector(cell).runtime
    samples = to_test(lab.study.products[cell.product])
    verdicts: dict[Path, Verdict] = {}
    scores: list[float] = []
    values: list[float] = []
    wanted = {sample.path for sample in shown}
    for sample, one in zip(samples, runtime.inspect_each([sample.path for sample in samples]), strict=True):
        if one.verdict is None:
            tell(f"left out: {one.error}")
            continue
        scores.append(one.verdict.score)
        values += [float(one.verdict.heatmap.min()), float(one.verdict.heatmap.max())]
        if sample.path in wanted:
            verdicts[sample.path] = one.verdict
    spans = [Span(min(found), max(found)) for found in (values, scores)]
    return [
        (OverTestSet(verdict.heatmap, verdict.score, *spans), Calibrated(verdict))
        for verdict in _in_order(verdicts, shown)
    ]


def _in_order(verdicts: Mapping[Path, Verdict], shown: Sequence[Sample]) -> list[Verdict]:
    if missing := [sample.path for sample in shown if sample.path not in verdicts]:
        raise PictureError(
            f"{missing[0]} cannot be used, so it cannot be shown; repair it or take it out of the test set"
        )
    return [verdicts[sample.path] for sample in shown]


def _mask(sample: Sample) -> Mask | None:
    return read_mask(sample.mask) if sample.mask else None
