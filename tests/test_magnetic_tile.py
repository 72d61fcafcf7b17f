"""PatchCore on real images: 761 good ones to fit, 191 good and 392 defective ones to test."""

from __future__ import annotations

from typing import Any

import pytest

from flawmap import Inspector
from flawmap.data.layouts import good_training_samples, labelled_test_samples
from flawmap.evaluation import evaluate
from helpers import MAGNETIC_TILE, RESNET18, needs_shared, value_of


def rates(step: int, **options: Any) -> tuple[float, float]:
    """Image AUROC and false reject rate of every `step`-th image."""
    good = [sample.path for sample in good_training_samples(MAGNETIC_TILE)[::step]]
    inspector = Inspector("patchcore", **options).fit(good)
    metrics = evaluate(inspector.runtime, labelled_test_samples(MAGNETIC_TILE)[::step]).metrics
    return value_of(metrics["image AUROC"]), value_of(metrics["false reject rate (FPR)"])


@needs_shared
def test_patchcore_finds_defects_after_a_quarter_of_the_images() -> None:
    auroc, false_reject_rate = rates(4)
    assert auroc >= 0.87
    # A budget of 1 % of 47 good parts: more than 3 rejects come about by chance less than once in
    # a hundred times.
    assert false_reject_rate <= 3 / 47


@needs_shared
@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "weights", "bar"),
    [("tf_efficientnet_lite0", "embedded", 0.905), ("resnet18", str(RESNET18), 0.960)],
)
def test_patchcore_finds_what_it_should(backbone: str, weights: str, bar: float) -> None:
    auroc, false_reject_rate = rates(1, backbone=backbone, weights=weights)
    assert auroc >= bar
    # Of 191 good parts, more than 6 rejects come about by chance as seldom.
    assert false_reject_rate <= 6 / 191
