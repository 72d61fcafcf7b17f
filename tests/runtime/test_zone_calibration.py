from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flawmap.errors import OptionError
from flawmap.runtime.calibration import Budget, Calibration, CalibrationSettings, ZoneBudget
from flawmap.runtime.verdict import Verdict, ZoneVerdict
from flawmap.runtime.zone_calibration import (
    ZoneCalibration,
    calibrate,
    calibration_from_arrays,
)

BUDGETS = (ZoneBudget("face", Budget(0.05)), ZoneBudget("bore", Budget(0.01)))
SETTINGS = CalibrationSettings(Budget(0.02), exact=True, zones=BUDGETS)


def zoned(scores: np.ndarray) -> ZoneCalibration:
    calibration = calibrate(SETTINGS, scores, 2 * scores)
    assert isinstance(calibration, ZoneCalibration)
    return calibration


def test_each_zone_keeps_its_budget_on_average_and_all_their_sum() -> None:
    """Over many sets of good images, whose zones differ in scale and go together."""
    rng = np.random.default_rng(0)
    rejected, in_all = [], []
    for _ in range(300):
        common = rng.gamma(2, 1, (199 + 400, 1))
        scores = (common + rng.gamma(2, 1, (199 + 400, 2))) * [1, 30]
        calibration = zoned(scores[:199])
        limits = [part.threshold for part in calibration.by_zone.values()]
        above = scores[199:] > limits
        rejected.append(above.mean(axis=0))
        in_all.append(above.any(axis=1).mean())
    realised = np.array(rejected)
    error = realised.std(axis=0) / np.sqrt(len(realised))
    assert (np.abs(realised.mean(axis=0) - [0.05, 0.01]) < 4 * error).all()
    assert 0.05 < np.mean(in_all) < calibration.total_budget == pytest.approx(0.06)


def test_the_zone_decides_whose_score_is_the_largest_multiple() -> None:
    calibration = zoned(np.arange(1.0, 200)[:, None] * [1, 10])
    assert [part.threshold for part in calibration.by_zone.values()] == [190, 1980]
    heatmap = np.zeros((9, 9), np.float32)
    verdict = Verdict.of_zones(calibration.verdicts([189.0, 1985.0]), heatmap)
    assert (verdict.zone, verdict.score, verdict.reject) == ("bore", 1985.0, True)
    assert verdict.zone_threshold == 1980
    assert verdict.p_value == pytest.approx(2 / 200)
    assert [zone.reject for zone in verdict.by_zone] == [False, True]
    verdict = Verdict.of_zones(calibration.verdicts([189.0, 1900.0]), heatmap)
    assert (verdict.zone, verdict.reject) == ("face", False)


def test_a_reject_decides_however_its_multiple_is_rounded() -> None:
    threshold = np.nextafter(2.0, 0)
    above = float(np.nextafter(threshold, 3))
    zones = (
        ZoneVerdict("even", 1.0, 1.0, 0.5, reject=False),
        ZoneVerdict("above", above, float(threshold), 0.1, reject=True),
    )
    verdict = Verdict.of_zones(zones, np.zeros((9, 9), np.float32))
    assert verdict.zone == "above"
    assert verdict.reject


def test_as_one_calibration_it_has_multiples_of_thresholds() -> None:
    rng = np.random.default_rng(0)
    calibration = zoned(rng.random((199, 2)) * [1, 10])
    assert (calibration.threshold, calibration.map_limit) == (1, 1)
    parts = list(calibration.by_zone.values())
    above = sum(part.scores > part.threshold for part in parts)
    assert np.array_equal(calibration.scores > 1, above > 0)
    assert calibration.expected_false_rejects == pytest.approx(10 / 200 + 2 / 200)
    assert calibration.at(Budget(0.1)).expected_false_rejects == 20 / 200


def test_it_comes_back_from_a_file_and_a_budget_can_be_changed() -> None:
    calibration = zoned(np.random.default_rng(0).random((50, 2)))
    again = calibration_from_arrays(calibration.settings, calibration.to_arrays())
    assert isinstance(again, ZoneCalibration)
    assert again.settings == calibration.settings == SETTINGS
    assert np.array_equal(again.scores, calibration.scores)
    moved = again.with_budget("face", Budget(0.2))
    assert moved.by_zone["face"].threshold < again.by_zone["face"].threshold
    assert moved.by_zone["bore"].threshold == again.by_zone["bore"].threshold
    with pytest.raises(OptionError, match="no region 'rim' here; there are face, bore"):
        again.with_budget("rim", Budget(0.2))


def test_a_single_zone_may_come_without_its_axis() -> None:
    single = replace(SETTINGS, zones=BUDGETS[:1])
    scores = np.arange(99.0)
    calibration = calibrate(single, scores, scores)
    assert isinstance(calibration, ZoneCalibration)
    assert (
        calibration.by_zone["face"].threshold == Calibration(scores, scores, Budget(0.05)).threshold
    )
    assert calibration.to_arrays()["calibration.scores"].shape == (99, 1)


def test_it_says_what_each_budget_takes() -> None:
    strict = (BUDGETS[0], ZoneBudget("bore", Budget(0.001)))
    scores = np.random.default_rng(0).random((200, 2))
    calibration = calibrate(replace(SETTINGS, zones=strict), scores, scores)
    said = " ".join(calibration.guarantees())
    assert "bore: 0.50% of good parts will be rejected on average" in said
    assert "a budget of 0.10% takes 999 good images, and there are 200" in said
    assert "beyond 5.10%, the sum of the budgets" in said
    (warning,) = calibration.warnings()
    assert warning.startswith("Region bore: A budget of 0.10% takes 999 good images, 799 more")
    assert calibration.images_missing == 799
