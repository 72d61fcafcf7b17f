import pytest

from flawmap.errors import OptionError
from flawmap.tuning.budget import TimeBudget


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_first_trial_is_always_allowed() -> None:
    clock = Clock()
    budget = TimeBudget(0.01, clock)
    clock.now += 60
    assert budget.allows(1)
    assert budget.elapsed == 60


def test_a_trial_is_allowed_as_long_as_it_is_expected_to_end_in_time() -> None:
    clock = Clock()
    budget = TimeBudget(1, clock)
    budget.add(work=1, seconds=20)
    clock.now += 40
    assert budget.allows(1)
    assert budget.allows(0.1)
    assert not budget.allows(2)
    clock.now += 0.5
    assert not budget.allows(1)
    assert not budget.allows(0.1), "less work is not expected to take less time"


def test_more_work_takes_more_than_its_share() -> None:
    budget = TimeBudget(1, Clock())
    budget.add(work=1, seconds=10)
    assert budget.allows(3.3)
    assert not budget.allows(3.31)


def test_the_trial_with_the_likest_work_counts() -> None:
    budget = TimeBudget(1, Clock())
    budget.add(work=1, seconds=30)
    budget.add(work=4, seconds=50)
    assert budget.allows(1)
    assert budget.allows(4)
    assert not budget.allows(8)
    assert not budget.allows(1.9)


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf")])
def test_no_time_is_refused(minutes: float) -> None:
    with pytest.raises(OptionError, match="minutes to tune in; give more than 0, such as 5"):
        TimeBudget(minutes)
