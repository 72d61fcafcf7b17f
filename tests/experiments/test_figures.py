from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flawmap.errors import ImageError
from flawmap.experiments.figures import draw_localisation, draw_samples, localisation_rows
from flawmap.experiments.study import MethodSetup, StudyConfig
from flawmap.render.scales import CalibratedScale, DatasetScale
from helpers import save, texture, with_defect

PATCHCORE = MethodSetup("patchcore", {"coreset": 0.1})
METHODS = {"PaDiM": MethodSetup("padim", {"channels": 20}), "PatchCore": PATCHCORE}


@pytest.fixture
def study(products: Path) -> StudyConfig:
    return StudyConfig(products, "test_resnet", "random", (64, 64), 1)


def test_figure_5_has_a_row_for_each_product(study: StudyConfig, products: Path) -> None:
    two_products, one_product = draw_samples(study), draw_samples(StudyConfig(products / "left"))
    assert two_products.dtype == np.uint8
    assert two_products.shape[0] > 1.4 * one_product.shape[0]
    assert two_products.shape[1] >= one_product.shape[1]


def test_figure_6_shows_the_same_images_on_both_scales(study: StudyConfig, tmp_path: Path) -> None:
    rows = localisation_rows(study, tmp_path, METHODS, count=2)
    expected = [("left", "spot")] * 2 + [("right", "spot")] * 2
    for page in rows:
        assert [(row.product, row.defect_type) for row in page] == expected
    for on_test_set, calibrated in zip(*rows, strict=True):
        assert on_test_set.mask is not None
        assert isinstance(on_test_set.image, np.ndarray)
        assert isinstance(calibrated.image, np.ndarray)
        assert np.array_equal(on_test_set.image, calibrated.image)
        assert len(on_test_set.views) == len(METHODS)
        for view, good in zip(on_test_set.views, calibrated.views, strict=True):
            assert isinstance(view, DatasetScale)
            assert isinstance(good, CalibratedScale)
            assert np.array_equal(view.heatmap, good.verdict.heatmap)
            assert view.scores.low <= view.score <= view.scores.high
            heatmap = view.heatmap
            assert view.heatmaps.low <= heatmap.min() < heatmap.max() <= view.heatmaps.high


def test_the_scale_of_a_test_set_is_that_of_all_its_images(
    study: StudyConfig, tmp_path: Path
) -> None:
    few, many = (localisation_rows(study, tmp_path, METHODS, count) for count in (1, 2))
    first = {row.product: row.views for row in few.over_test_set}
    for row in many.over_test_set:
        for view, same in zip(row.views, first[row.product], strict=True):
            assert isinstance(view, DatasetScale)
            assert isinstance(same, DatasetScale)
            assert view.heatmaps == same.heatmaps
            assert view.scores == same.scores


def test_figure_6_comes_on_both_scales(study: StudyConfig, tmp_path: Path) -> None:
    drawn = draw_localisation(study, tmp_path, dict.fromkeys("abcd", PATCHCORE), count=1)
    assert drawn.over_test_set.shape == drawn.calibrated.shape
    assert not np.array_equal(drawn.over_test_set, drawn.calibrated)


def test_an_image_that_cannot_be_used_cannot_be_shown(tmp_path: Path) -> None:
    for seed in range(4):
        save(tmp_path / "part/train/good" / f"{seed}.png", texture(seed))
    save(tmp_path / "part/test/spot/1.png", with_defect(texture(9), 30, 30))
    (tmp_path / "part/test/spot/0.png").write_bytes(b"no image")
    study = StudyConfig(tmp_path / "part", "test_resnet", "random", (64, 64), 1)
    with pytest.raises(ImageError, match=r"0\.png cannot be used, so it cannot be shown"):
        localisation_rows(study, tmp_path, {"PatchCore": PATCHCORE}, count=2)
