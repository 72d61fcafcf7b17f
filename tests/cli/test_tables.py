from __future__ import annotations

import io

from flawmap.cli.tables import print_metrics, print_product_summary
from flawmap.metrics.metric import Metric


def test_a_mean_over_fewer_than_all_products_is_not_shown(screen: io.StringIO) -> None:
    names = (
        "defects found at 1 % false rejects, calibrated",
        "defects found at 5 % false rejects, calibrated",
        *("image AUROC", "F1 max", "pixel AUROC", "AUPRO"),
    )
    black = dict.fromkeys(names, Metric(0.9))
    white = dict.fromkeys(names, Metric(0.8)) | {"AUPRO": Metric(unavailable="no masks")}
    print_product_summary({"Black": black, "White": white})
    mean = next(line for line in screen.getvalue().splitlines() if "mean" in line)
    assert mean.count("85.00") == 5
    assert mean.count("–") == 1
    assert "White: no masks" in screen.getvalue()
    assert "Black: " not in screen.getvalue()


def test_a_metric_that_is_unavailable_says_why(screen: io.StringIO) -> None:
    print_metrics(
        "tiles", {"F1 max": Metric(0.9, 0.8, 0.95), "AUPRO": Metric(unavailable="no masks")}
    )
    lines = screen.getvalue().splitlines()
    assert any("F1 max" in line and "80.00 – 95.00" in line for line in lines)
    assert any("AUPRO" in line and "–" in line and "no masks" in line for line in lines)
