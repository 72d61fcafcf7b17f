from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flawmap.data.training_set import GoodImages
from flawmap.errors import DatasetError, OptionError
from flawmap.inspector import Inspector
from flawmap.methods import make_method
from flawmap.methods.base import Method
from flawmap.runtime.image_types import ImageInput
from flawmap.tuning.candidates import Candidate
from flawmap.tuning.search import TuningResult, tune
from helpers import TINY, texture

CANDIDATES = [
    Candidate("as set", 48),
    Candidate("top 5 %", 48, ("image_score=TopShare", "image_score.fraction=0.05")),
    Candidate("64 px", 64),
]


def good_images(count: int = 70) -> list[ImageInput]:
    return [texture(seed, 48, 64) for seed in range(count)]


def tiny() -> Method:
    return make_method("patchcore", **TINY)


class Clock:
    """Each look at it takes so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.now = 0.0
        self.seconds = seconds

    def __call__(self) -> float:
        self.now += self.seconds
        return self.now


@pytest.fixture(scope="module")
def result() -> TuningResult:
    return tune(good_images(), 60, tiny(), candidates=CANDIDATES)


def test_all_that_there_is_time_for_is_tried(result: TuningResult) -> None:
    record = result.record
    assert [trial.label for trial in record.trials] == ["as set", "top 5 %", "64 px"]
    assert record.untried == []
    assert (record.fitted_images, record.held_out_images) == (49, 21)
    assert record.painted_defects > 100
    assert [(trial.height, trial.width) for trial in record.trials] == [(48, 48)] * 2 + [(64, 64)]
    assert record.minutes == 60
    assert record.reason.startswith(record.choice.label)


def test_painted_defects_are_told_from_good_images(result: TuningResult) -> None:
    for trial in result.record.trials:
        assert 0.55 < trial.auroc < 1


def test_the_choice_can_be_fitted(result: TuningResult) -> None:
    choice = result.record.choice
    assert choice.options == list(CANDIDATES[result.record.chosen].options)
    inspector = Inspector(result.method, size=result.size).fit(good_images(5))
    assert inspector.preprocessing.height == choice.height


def test_the_same_seed_tries_the_same(result: TuningResult) -> None:
    again = tune(good_images(), 60, tiny(), candidates=CANDIDATES[:1])
    assert again.record.trials[0].auroc == result.record.trials[0].auroc
    assert again.record.reason == "as set: the time was enough for nothing else"


def test_without_time_only_the_first_is_tried() -> None:
    record = tune(good_images(), 0.1, tiny(), candidates=CANDIDATES, clock=Clock(6)).record
    assert [trial.label for trial in record.trials] == ["as set", "top 5 %"], "they share a fit"
    assert record.untried == ["64 px"]
    assert record.seconds >= 6


def test_what_cannot_be_is_skipped_but_not_at_first() -> None:
    impossible = Candidate("8 px", 8)
    record = tune(good_images(), 60, tiny(), candidates=[CANDIDATES[0], impossible]).record
    assert [trial.label for trial in record.trials] == ["as set"]
    with pytest.raises(OptionError, match="too small"):
        tune(good_images(), 60, tiny(), candidates=[impossible])


def test_what_is_nearest_to_the_best_comes_next() -> None:
    # A larger input finds more; so the stride is tried there, before the cheaper one below.
    candidates = [
        Candidate("32 px", 32),
        Candidate("96 px", 96),
        Candidate("32 px, sigma 2", 32, ("sigma=2.0", "coreset=0.2")),
        Candidate("96 px, sigma 2", 96, ("sigma=2.0",)),
    ]
    record = tune(good_images(), 60, tiny(), candidates=candidates).record
    assert [trial.label for trial in record.trials][:3] == ["32 px", "96 px", "96 px, sigma 2"]


def test_groups_are_held_out_together() -> None:
    images = good_images(80)
    groups = [f"tile {index // 8}" for index in range(80)]
    record = tune(GoodImages(images, groups), 60, tiny(), candidates=CANDIDATES[:1]).record
    assert (record.fitted_images, record.held_out_images) == (56, 24)
    uneven = ["lot 1"] * 70 + ["lot 2"] * 10
    with pytest.raises(DatasetError, match=r"of 80 good images in 2 groups .* tuning takes 19"):
        tune(GoodImages(images, uneven), 60, tiny(), candidates=CANDIDATES[:1])


def test_of_many_images_some_are_used() -> None:
    record = tune(good_images(230), 60, tiny(), candidates=[Candidate("as set", 32)]).record
    assert (record.fitted_images, record.held_out_images) == (140, 60)


def test_too_few_good_images_are_told_how_many_it_takes() -> None:
    with pytest.raises(
        DatasetError,
        match="tuning takes 64 good images or more, of which it holds out 20; there are 10",
    ):
        tune(good_images(10), 5, tiny())


@pytest.mark.parametrize("minutes", [0, -3])
def test_no_time_is_refused(minutes: float) -> None:
    with pytest.raises(OptionError, match=f"{minutes} minutes to tune in; give more than 0"):
        tune(good_images(), minutes, tiny())


def test_a_trained_method_is_refused() -> None:
    with pytest.raises(OptionError, match="GLASS is trained, which takes too long"):
        tune(good_images(), 5, "glass")


def test_no_candidates_are_refused() -> None:
    with pytest.raises(OptionError, match="there are no candidates to try"):
        tune(good_images(), 5, tiny(), candidates=[])


def test_unreadable_images_are_left_out(tmp_path: Path) -> None:
    broken: list[Any] = [tmp_path / "none.png"] * 3
    record = tune(good_images(72) + broken, 60, tiny(), candidates=[Candidate("as set", 32)]).record
    assert record.fitted_images + record.held_out_images <= 75
    assert np.isfinite(record.trials[0].auroc)
