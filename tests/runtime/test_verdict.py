from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flawmap.runtime.verdict import Verdict


def make_verdict(heatmap: np.ndarray) -> Verdict:
    return Verdict(1.0, 0.5, False, heatmap.astype(np.float32))


def test_regions_beyond_the_limit_the_most_anomalous_first() -> None:
    heatmap = np.full((20, 30), 0.9)
    heatmap[2:5, 3:9] = 1.2
    heatmap[10:12, 20:21] = 1.8
    first, second = make_verdict(heatmap).regions()
    assert (first.x, first.y, first.width, first.height, first.area) == (20, 10, 1, 2, 2)
    assert (second.x, second.y, second.width, second.height, second.area) == (3, 2, 6, 3, 18)
    assert first.to_dict()["peak"] == 1.8
    assert second.outline.min(axis=0).tolist() == [3, 2]
    assert second.outline.max(axis=0).tolist() == [8, 4]


def test_pixels_that_touch_at_a_corner_are_one_region() -> None:
    assert len(make_verdict(np.eye(5) * 2).regions()) == 1


def test_the_limit_itself_is_not_beyond() -> None:
    assert make_verdict(np.ones((5, 5))).regions() == []


def test_small_regions_are_left_out_only_when_asked() -> None:
    heatmap = np.zeros((9, 9))
    heatmap[0, 0] = heatmap[4:6, 4:6] = 2
    assert [region.area for region in make_verdict(heatmap).regions()] == [1, 4]
    assert [region.area for region in make_verdict(heatmap).regions(min_area=2)] == [4]
    assert make_verdict(heatmap).regions(min_area=5) == []


@given(st.integers(0, 10_000))
def test_regions_hold_every_pixel_beyond_the_limit_once(seed: int) -> None:
    heatmap = np.random.default_rng(seed).uniform(0, 1.4, (12, 17))
    assert sum(region.area for region in make_verdict(heatmap).regions()) == np.count_nonzero(
        heatmap.astype(np.float32) > 1
    )


def test_a_verdict_as_json_has_all_but_the_heat_map() -> None:
    heatmap = np.zeros((9, 9), np.float32)
    heatmap[4:6, 3:6] = 1.5
    heatmap[0, 0] = 1.2
    verdict = Verdict(2.5, 0.01, True, heatmap)
    values = json.loads(json.dumps(verdict.to_dict()))
    assert (values["score"], values["p_value"], values["verdict"]) == (2.5, 0.01, "reject")
    first, second = values["regions"]
    assert (first["peak"], first["area"], second["area"]) == (1.5, 6, 1)
    assert first["outline"] == [[3, 4], [3, 5], [5, 5], [5, 4]]
    assert verdict.to_dict(min_area=2)["regions"] == [first]
    assert replace(verdict, reject=False).to_dict()["verdict"] == "good"
