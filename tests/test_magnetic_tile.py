"""All of it on real images.

761 good training images; 191 good and 392 defective test images.
"""

from __future__ import annotations

import pytest

from flawmap import Inspector
from flawmap.data.layouts import labelled_test_samples
from flawmap.evaluation import evaluate
from helpers import MAGNETIC_TILE, RESNET18, needs_shared, value_of


@needs_shared
@pytest.mark.parametrize(
    ("backbone", "weights", "bar"),
    [("tf_efficientnet_lite0", "embedded", 0.905), ("resnet18", str(RESNET18), 0.960)],
)
def test_patchcore_finds_what_it_should(backbone: str, weights: str, bar: float) -> None:
    inspector = Inspector("patchcore", backbone=backbone, weights=weights).fit(MAGNETIC_TILE)
    metrics = evaluate(inspector.runtime, labelled_test_samples(MAGNETIC_TILE)).metrics
    assert value_of(metrics["image AUROC"]) >= bar
    # A budget of 1 % of 191 good parts: more than 6 rejects come about by chance less than once in
    # a hundred times.
    assert value_of(metrics["false reject rate (FPR)"]) <= 6 / 191
