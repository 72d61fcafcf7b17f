from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flawmap.data.sample import Sample
from flawmap.errors import ImageError
from flawmap.experiments import figures
from flawmap.experiments.figures import draw_localisation, draw_samples, first_defects_by_type
from flawmap.experiments.study import MethodSetup, StudyConfig
from flawmap.render import figures as montage
from helpers import save, texture, with_defect

FIGURE6_METHODS = {
    "PaDiM": MethodSetup("padim", {"channels": 20}),
    "PatchCore": MethodSetup("patchcore", {"coreset": 0.1}),
}


@pytest.fixture
def study(products: Path) -> StudyConfig:
    return StudyConfig(products, "test_resnet", "random", (64, 64), 1)


def test_figure_5_has_a_row_for_each_product(study: StudyConfig, products: Path) -> None:
    both, one = draw_samples(study), draw_samples(StudyConfig(products / "left"))
    assert both.dtype == np.uint8
    assert both.shape[0] > 1.4 * one.shape[0]
    assert both.shape[1] >= one.shape[1]


def test_figure_6_shows_the_same_images_on_both_scales(
    study: StudyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "FIGURE6_METHODS", FIGURE6_METHODS)
    cases: list[montage.LocalisationRow] = []
    monkeypatch.setattr(
        figures,
        "Case",
        lambda *given: (cases.append(montage.LocalisationRow(*given)), cases[-1])[1],
    )
    drawn = draw_localisation(study, tmp_path, cases=2)
    assert drawn.over_test_set.shape[1] == drawn.calibrated.shape[1]
    assert [(case.product, case.defect_type) for case in cases[::2]] == [("left", "spot")] * 2 + [
        ("right", "spot")
    ] * 2
    for paper, calibrated in zip(cases[::2], cases[1::2], strict=True):
        assert paper.mask is not None
        for ours, good in zip(paper.views, calibrated.views, strict=True):
            assert np.array_equal(ours.heatmap, good.verdict.heatmap)
            assert ours.scores.low <= ours.score <= ours.scores.high
            assert (
                ours.heatmaps.low <= ours.heatmap.min() <= ours.heatmap.max() <= ours.heatmaps.high
            )


def test_an_image_that_cannot_be_used_cannot_be_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "FIGURE6_METHODS", {"PatchCore": FIGURE6_METHODS["PatchCore"]})
    for seed in range(4):
        save(tmp_path / "part/train/good" / f"{seed}.png", texture(seed))
    save(tmp_path / "part/test/spot/1.png", with_defect(texture(9), 30, 30))
    (tmp_path / "part/test/spot/0.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"0\.png cannot be used, so it cannot be shown"):
        draw_localisation(
            StudyConfig(tmp_path / "part", "test_resnet", "random", (64, 64), 1), tmp_path, cases=2
        )


def test_as_many_of_one_kind_as_of_another() -> None:
    samples = [
        Sample(Path(f"{kind}{number}"), "test", kind)
        for kind in ("a", "b", "good")
        for number in range(3)
    ]
    assert [sample.path.name for sample in first_defects_by_type(samples, 3)] == ["a0", "a1", "b0"]
    assert [sample.path.name for sample in first_defects_by_type(samples, 99)] == [
        "a0",
        "a1",
        "a2",
        "b0",
        "b1",
        "b2",
    ]
