"""Inspectors whose images have zones: from fit and file to verdicts, whole and in tiles."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flawmap import Inspector, TileSize, load
from flawmap.data.training_set import TrainingSet
from flawmap.errors import BundleError, ImageError, NotFitted, OptionError
from flawmap.memory.bank import Reweighted, TopShare
from flawmap.runtime import bundle
from flawmap.runtime.record import Record
from flawmap.runtime.zone_calibration import ZoneCalibration
from flawmap.runtime.zones import Zones
from helpers import TINY, texture, with_defect

LABELS = np.zeros((32, 32), np.uint8)
LABELS[:16, :16], LABELS[18:, 18:] = 1, 2
ZONES = Zones.of(LABELS, ("bore", "face"))
GOOD = [texture(seed, 70, 70) for seed in range(12)]
ZONED: dict[str, Any] = {**TINY, "zones": ZONES, "zone_budgets": {"bore": 0.2}}
ZONED |= {"size": 64, "false_rejects": 0.1}
BAD = with_defect(texture(50, 70, 70), 14, 14, 4)
WAYS: dict[str, dict[str, Any]] = {
    "whole": {},
    "tiled": {"size": TileSize(64)},
    "masked": {"mask": np.pad(np.ones((28, 28), bool), 2)},
    "split": {"calibration_fraction": 0.4},
}


@cache
def fitted(way: str = "whole") -> Inspector:
    return Inspector(**ZONED | WAYS[way]).fit(GOOD)


def parts(inspector: Inspector) -> ZoneCalibration:
    assert isinstance(inspector.calibration, ZoneCalibration)
    return inspector.calibration


@pytest.mark.parametrize("way", WAYS)
def test_the_saved_file_gives_the_same_verdicts(way: str, tmp_path: Path) -> None:
    inspector = fitted(way)
    assert parts(inspector).names == ("bore", "face", "elsewhere")
    inspector.save(tmp_path / "part.flawmap")
    expected = inspector.inspect(BAD)
    assert (expected.zone, expected.reject) == ("bore", True)
    assert expected.heatmap[:20, :20].max() == expected.heatmap.max() > 1
    for loaded in (load(tmp_path / "part.flawmap"), Inspector.load(tmp_path / "part.flawmap")):
        assert loaded.preprocessing == inspector.preprocessing
        assert loaded.calibration.settings == inspector.calibration.settings
        inspections = list(loaded.inspect_many([BAD, texture(9, 140, 140), texture(9, 70, 80)]))
        verdict = inspections[0].verdict
        assert verdict is not None
        for zone, other in zip(verdict.by_zone, expected.by_zone, strict=True):
            assert zone.name == other.name
            assert zone.score == pytest.approx(other.score, rel=1e-4)
            assert zone.threshold == other.threshold
            assert zone.reject == (zone.score > zone.threshold)
        assert np.allclose(verdict.heatmap, expected.heatmap, atol=1e-3)
        assert inspections[1].verdict is not None
        assert "the regions are for 32×32" in str(inspections[2].error)
    with pytest.raises(ImageError, match="the regions are for 32×32"):
        inspector.inspect(texture(9, 70, 80))


@pytest.mark.parametrize("way", ["whole", "tiled"])
def test_one_zone_of_everything_scores_as_an_image_without_zones(way: str) -> None:
    everything = Zones.of(np.ones((9, 9), np.uint8), ("all",))
    options = {**TINY, "size": 64, "false_rejects": 0.1, "image_score": TopShare(0.05)}
    plain = Inspector(**options | WAYS[way]).fit(GOOD)
    zoned = Inspector(**options | WAYS[way], zones=everything).fit(GOOD)
    assert parts(zoned).names == ("all",)
    first, second = plain.calibration, parts(zoned).by_zone["all"]
    assert np.allclose(first.scores, second.scores, rtol=1e-4)
    assert np.allclose(first.map_peaks, second.map_peaks, rtol=0.02)
    expected, verdict = plain.inspect(BAD), zoned.inspect(BAD)
    assert verdict.score == pytest.approx(expected.score, rel=1e-4)
    assert verdict.p_value == expected.p_value
    assert np.allclose(verdict.heatmap, expected.heatmap, atol=0.05)


def test_a_zone_is_scored_by_its_own_patches_and_divided_by_its_own_limit() -> None:
    good, calibration = texture(60, 70, 70), parts(fitted())
    far = with_defect(good, 60, 60, 4)
    first, second = fitted().inspect(good).by_zone, fitted().inspect(far).by_zone
    assert second[1].score > 2 * first[1].score
    assert second[0].score == pytest.approx(first[0].score, rel=0.01)
    limits = calibration.map_limits
    assert len(set(limits)) == 3
    moved = calibration.with_budget("face", calibration.by_zone["bore"].budget)
    assert moved.map_limits[1] < limits[1]


def test_good_images_reach_the_limit_of_a_zone_as_often_as_its_budget_says() -> None:
    inspector, held_out = fitted("split"), GOOD[-4:]
    del held_out
    for name, part in parts(inspector).by_zone.items():
        above = (part.map_peaks > part.map_limit).sum()
        assert above <= part.budget.false_rejects * (len(part.scores) + 1), name


def test_two_zones_reject_as_many_new_good_parts_as_their_budgets_say() -> None:
    """99 good images to hold out, as the strictest budget takes; 5 % and 1 % of 250 new ones."""
    half = Zones.of(np.tile(np.array([1, 2], np.uint8).repeat(4), (8, 1)), ("left", "right"))
    options: dict[str, Any] = {**TINY, "size": 32, "zones": half, "false_rejects": 0.01}
    options["zone_budgets"] = {"left": 0.05}
    images: list[Any] = [texture(1000 + seed, 32, 32) for seed in range(20 + 99)]
    training_set = TrainingSet(images, held_out=list(range(20, 119)))
    inspector = Inspector(**options).fit(training_set)
    assert parts(inspector).names == ("left", "right")
    assert not parts(inspector).warnings()
    new = inspector.inspect_many([texture(5000 + seed, 32, 32) for seed in range(250)])
    verdicts = [one.verdict for one in new if one.verdict]
    # A share above the k-th of 99 is Beta(k, 100 − k); of 250 parts 99.9 % are within these.
    for index, (low, high) in enumerate([(1, 33), (0, 17)]):
        rejected = sum(verdict.by_zone[index].reject for verdict in verdicts)
        assert low <= rejected <= high
    any_zone = sum(verdict.reject for verdict in verdicts)
    assert any_zone == sum(any(zone.reject for zone in one.by_zone) for one in verdicts)


def test_the_record_names_the_zone_that_decides() -> None:
    inspection = next(fitted().inspect_many([BAD]))
    record = Record.from_inspection(inspection, fitted().runtime)
    bore = record.by_zone[0]
    assert (record.zone, record.score, record.threshold) == ("bore", bore.score, bore.threshold)
    assert record.ranking == bore.excess
    assert record.to_csv_row()["zone"] == "bore"
    document = record.to_dict()["by_zone"]
    assert [zone["name"] for zone in document] == ["bore", "face", "elsewhere"]
    torn = Record.from_inspection(next(fitted().inspect_many([b"torn"])), fitted().runtime)
    assert (torn.zone, torn.threshold, torn.by_zone) == ("", None, ())


def test_a_fit_within_memory_scores_alike_and_resumes(tmp_path: Path) -> None:
    inspector = Inspector(**ZONED).fit(GOOD, memory=4 * 10**9, checkpoint_dir=tmp_path)
    again = Inspector(**ZONED).fit(GOOD, memory=4 * 10**9, checkpoint_dir=tmp_path)
    assert np.array_equal(inspector.calibration.scores, again.calibration.scores)
    assert np.allclose(inspector.calibration.scores, fitted().calibration.scores, rtol=1e-2)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"method": "padim"}, "padim scores images as a whole"),
        ({"method": "patchcore"}, "a method that leaves padding out"),
        ({"image_score": Reweighted()}, "a score by Reweighted"),
        ({"place_scaling": True}, "place_scaling=true"),
        ({"zone_budgets": {"rim": 0.1}}, "the region 'rim'; there are bore, face, elsewhere"),
        ({"zone_budgets": {"bore": 2.0}}, "not between 0 and 1"),
        ({"zones": None}, "budgets for regions bore without regions"),
    ],
)
def test_what_cannot_be_is_refused_at_once(changes: dict[str, Any], reason: str) -> None:
    options = {**ZONED, **changes}
    if options.get("method") == "padim":
        del options["coreset"]
    with pytest.raises(OptionError, match=f"(?i){reason}"):
        Inspector(**options)


def test_what_the_images_show_to_be_wrong_is_refused_before_the_fit() -> None:
    with pytest.raises(OptionError, match=r"70×50 pixels, .* the regions are for 32×32"):
        Inspector(**ZONED).fit([texture(seed, 50, 70) for seed in range(3)])
    with pytest.raises(OptionError, match="nothing that the mask lets count is in the region"):
        Inspector(**ZONED, mask=LABELS == 1).fit(GOOD)
    full = Zones.of(np.ones((8, 8), np.uint8), ("bore",))
    with pytest.raises(OptionError, match="the region 'elsewhere'; there are bore"):
        Inspector(**{**ZONED, "zones": full, "zone_budgets": {"elsewhere": 0.1}}).fit(GOOD)
    with pytest.raises(NotFitted, match="what is in no region"):
        Inspector(**ZONED).preprocessing  # noqa: B018


@pytest.mark.parametrize("changes", [{}, {"size": TileSize(64), "zones": None}])
def test_layers_of_several_strides_are_refused(changes: dict[str, Any]) -> None:
    options = {**ZONED, "zone_budgets": {}, **changes, "letterbox": True}
    with pytest.raises(
        OptionError, match="those of this method have 8 and 16 pixels; use stride=8"
    ):
        Inspector("patchcore", **options).fit(GOOD)
    verdict = Inspector("patchcore", stride=8, **options).fit(GOOD).inspect(BAD)
    assert verdict.reject


def test_a_file_whose_parts_disagree_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "part.flawmap"
    fitted().save(file)
    manifest, arrays, _ = bundle.load(file)
    scores = {"calibration.scores": arrays["calibration.scores"][:, :2]}
    bundle.save(file, manifest, arrays | scores)
    with pytest.raises(BundleError, match="2 columns of scores, and 3 zones"):
        load(file)
    bundle.save(file, manifest, arrays | {"calibration.scores": scores["calibration.scores"][:, 0]})
    with pytest.raises(BundleError, match="of shape"):
        load(file)
