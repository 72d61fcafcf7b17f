from __future__ import annotations

from flawmap.metrics.metric import Metric


def test_a_value_goes_to_json_with_its_interval() -> None:
    assert Metric(0.5, 0.25, 0.75).to_dict() == {"value": 0.5, "low": 0.25, "high": 0.75}


def test_what_is_not_there_is_left_out() -> None:
    assert Metric(0.5).to_dict() == {"value": 0.5}
    assert Metric(unavailable="no masks").to_dict() == {"unavailable": "no masks"}


def test_zero_is_a_value() -> None:
    assert Metric(0.0, 0.0, 0.1).to_dict() == {"value": 0.0, "low": 0.0, "high": 0.1}
