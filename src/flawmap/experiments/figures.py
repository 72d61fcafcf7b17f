"""Figures 5 and 6 of Li et al. 2025: what the images look like, where each method sees defects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from flawmap.data.layouts import good_training_samples, labelled_test_samples
from flawmap.data.read_mask import read_mask
from flawmap.data.sample import GOOD, Sample
from flawmap.errors import ImageError
from flawmap.experiments.runs import RunSpec, StudyRunner
from flawmap.experiments.study import MethodSetup, StudyConfig
from flawmap.experiments.tables import OURS, PATCHCORE
from flawmap.render.figures import LocalisationRow, localisation_figure, sample_figure
from flawmap.render.scales import CalibratedScale, DatasetScale, ValueRange
from flawmap.runtime.image_types import ImageU8
from flawmap.runtime.images.decode import decode
from flawmap.runtime.verdict import Verdict
from flawmap.support.progress import emit, track

_FIGURE6_METHODS: dict[str, MethodSetup] = {
    "PaDiM": MethodSetup("padim"),
    "PatchCore": PATCHCORE,
    "SA-PatchCore": MethodSetup("sa-patchcore"),
    "Ours": OURS,
}
"""The methods of figure 6, in the order of its columns."""


class LocalisationRows(NamedTuple):
    """The rows of figure 6, twice; the same images in the same order.

    Args:
        over_test_set: on the scale of the test set, as the paper shows it.
        calibrated: on the scale that good parts set.
    """

    over_test_set: list[LocalisationRow]
    calibrated: list[LocalisationRow]


class LocalisationFigures(NamedTuple):
    """Figure 6, twice.

    Args:
        over_test_set: on the scale of the test set, as the paper shows it.
        calibrated: on the scale that good parts set.
    """

    over_test_set: ImageU8
    calibrated: ImageU8


def draw_samples(study: StudyConfig, count: int = 2) -> ImageU8:
    """Figure 5: for each product some good images and some of each defect type.

    Args:
        study: where the products are.
        count: images of each type; the first ones, not the best ones.
    """
    products = {}
    for product, folder in study.products.items():
        by_type: dict[str, list[Sample]] = {GOOD: good_training_samples(folder)}
        for sample in labelled_test_samples(folder):
            by_type.setdefault(sample.defect_type, []).append(sample)
        products[product] = {
            defect_type: [sample.path for sample in samples[:count]]
            for defect_type, samples in by_type.items()
        }
    return sample_figure(products, f"Samples of {study.source.name}")


def draw_localisation(
    study: StudyConfig,
    folder: Path,
    methods: Mapping[str, MethodSetup] = _FIGURE6_METHODS,
    count: int = 4,
) -> LocalisationFigures:
    """Figure 6: the first defective images of each product, as each method sees them.

    Args:
        study: its first seed counts.
        folder: for what is kept between runs.
        methods: by the names over their columns.
        count: images of each product; the first ones of each defect type, not the best ones.

    Raises:
        ImageError: one of the images cannot be used.
    """
    rows = localisation_rows(study, folder, methods, count)
    names = list(methods)
    title = f"Where {study.source.name} is defective"
    return LocalisationFigures(
        localisation_figure(
            rows.over_test_set, names, f"{title}: each method on the scale of its test set"
        ),
        localisation_figure(rows.calibrated, names, f"{title}: on the scale that good parts set"),
    )


def localisation_rows(
    study: StudyConfig,
    folder: Path,
    methods: Mapping[str, MethodSetup],
    count: int,
) -> LocalisationRows:
    """What figure 6 shows: the first defective images of each product, as each method sees them.

    Args:
        study: its first seed counts.
        folder: for what is kept between runs.
        methods: by the names over their columns.
        count: images of each product; the first ones of each defect type, not the best ones.

    Raises:
        ImageError: one of the images cannot be used.
    """
    runner = StudyRunner(study, folder)
    rows = LocalisationRows([], [])
    for product, data in study.products.items():
        samples = _first_defects_by_type(labelled_test_samples(data), count)
        seen = [
            _view_samples(runner, RunSpec(setup, product, 0), samples)
            for setup in track(methods.values(), "methods", len(methods))
        ]
        for index, sample in enumerate(samples):
            image = decode(sample.path)
            mask = read_mask(sample.mask) if sample.mask else None
            over_test_set = [of_method[index][0] for of_method in seen]
            calibrated = [of_method[index][1] for of_method in seen]
            for page, views in ((rows.over_test_set, over_test_set), (rows.calibrated, calibrated)):
                page.append(LocalisationRow(product, sample.defect_type, image, views, mask))
    return rows


def _first_defects_by_type(samples: Sequence[Sample], count: int) -> list[Sample]:
    """The first defective samples, as many of each type as of another, at most `count` in all.

    Args:
        samples: good ones among them are skipped.
        count: of samples wanted.

    >>> samples = [Sample(Path(name), "test", name[0]) for name in ("a1", "a2", "a3", "b1", "b2")]
    >>> [sample.path.name for sample in _first_defects_by_type(samples, 3)]
    ['a1', 'a2', 'b1']
    >>> [sample.path.name for sample in _first_defects_by_type(samples, 9)]
    ['a1', 'a2', 'a3', 'b1', 'b2']
    """
    by_type: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.label:
            by_type.setdefault(sample.defect_type, []).append(sample)
    in_turn = [
        of_type[index]
        for index in range(count)
        for of_type in by_type.values()
        if index < len(of_type)
    ]
    return sorted(in_turn[:count], key=lambda sample: (sample.defect_type, sample.path))


def _view_samples(
    runner: StudyRunner, run: RunSpec, shown: Sequence[Sample]
) -> list[tuple[DatasetScale, CalibratedScale]]:
    """Inspect the test set by one method; both views of the images to be shown."""
    samples = labelled_test_samples(runner.study.products[run.product])
    inspections = runner.inspector(run).runtime.inspect_many([sample.path for sample in samples])
    wanted = {sample.path for sample in shown}
    verdicts: dict[Path, Verdict] = {}
    scores: list[float] = []
    values: list[float] = []
    for sample, inspection in zip(samples, inspections, strict=True):
        verdict = inspection.verdict
        if verdict is None:
            emit(f"skipped: {inspection.error}")
            continue
        scores.append(verdict.score)
        values += [float(verdict.heatmap.min()), float(verdict.heatmap.max())]
        if sample.path in wanted:
            verdicts[sample.path] = verdict
    _check_usable(verdicts, shown)
    heatmap_range = ValueRange(min(values), max(values))
    score_range = ValueRange(min(scores), max(scores))
    views = []
    for sample in shown:
        verdict = verdicts[sample.path]
        on_test_set = DatasetScale(verdict.heatmap, verdict.score, heatmap_range, score_range)
        views.append((on_test_set, CalibratedScale(verdict)))
    return views


def _check_usable(verdicts: Mapping[Path, Verdict], shown: Sequence[Sample]) -> None:
    for sample in shown:
        if sample.path not in verdicts:
            raise ImageError(
                f"{sample.path} cannot be used, so it cannot be shown; repair it or take it out "
                f"of the test set"
            )
