from __future__ import annotations

import pytest

from flawmap.cli.repeats import Repeats, sum_up


def test_only_the_first_of_a_kind_are_shown() -> None:
    errors = [f"{number}.png: the file is empty" for number in range(200)]
    errors[5:5] = ["a.png: cut off after 17 of 20 bytes", "b.png: cut off after 3 of 20 bytes"]
    assert list(sum_up(errors)) == [
        *errors[:3],
        *errors[5:7],
        "… and 197 more like this: the file is empty",
    ]


def test_a_name_with_a_colon_is_no_kind_of_its_own() -> None:
    repeats = Repeats("results.csv has all")
    files = [f"day: {letter}.png" for letter in "abcdef"]
    assert [repeats.shows(f"{file}: broken", file) for file in files] == [True] * 3 + [False] * 3
    assert list(repeats.rest()) == ["… and 3 more like this: broken; results.csv has all"]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_three_are_shown_as_they_are(count: int) -> None:
    errors = [f"{letter}: broken" for letter in "abc"[:count]]
    assert list(sum_up(errors)) == errors
