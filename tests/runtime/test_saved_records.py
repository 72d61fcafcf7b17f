from __future__ import annotations

from typing import Any

import pytest

from flawmap.errors import OptionError
from flawmap.runtime.saved_records import check_records

EPOCH = {"number": 1, "losses": {"bce": 0.5}, "seconds": 2.0, "loss": 0.5}
FINETUNING: dict[str, Any] = {
    "config": {"mode": "synthetic"},
    "classes": {"good": 3},
    "excluded_sha256": ["ab"],
    "history": [EPOCH],
}
TUNING: dict[str, Any] = {"reason": "the best", "trials": [{}], "chosen": 0}


def test_whole_records_pass() -> None:
    check_records(FINETUNING, TUNING)


@pytest.mark.parametrize("name", FINETUNING)
@pytest.mark.parametrize("value", [None, 5, "text"])
def test_what_a_fine_tuning_lacks_is_named(name: str, value: object) -> None:
    with pytest.raises(OptionError, match=f"finetuning has no {name}"):
        check_records(FINETUNING | {name: value}, None)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"config": {}}, "finetuning.config has no mode"),
        ({"history": [EPOCH, 5]}, "finetuning.history has no number"),
        ({"excluded_sha256": [5]}, "something else than texts"),
    ],
)
def test_so_is_what_its_parts_lack(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(OptionError, match=problem):
        check_records(FINETUNING | change, None)


@pytest.mark.parametrize("change", [{"reason": None}, {"trials": []}, {"chosen": 1}])
def test_a_tuning_that_chose_nothing_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="tuning"):
        check_records(None, TUNING | change)
