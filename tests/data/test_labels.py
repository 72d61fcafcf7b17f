from __future__ import annotations

import pytest

from flawmap.data.labels import defect_type_of, is_defect_word, is_good_word, split_of_word

GOOD = """
good|Good |OK|okay|normal|pass|PASSED|0|0.0|0.00|-0|0,0|00|false|False|no|none|None|null|n/a|N/A
na|nan|NaN|no defect|no_defect|No-Defects|no anomaly|defect free|defect-free|anomaly_free|
not defective|non-anomalous|good parts|OK images|ＯＫ|良品|   |\tok\t|IO|i.O.|without defects
"""
DEFECTIVE = """
NG|ng|KO|nok|not ok|Not-Good|no good|bad|Bad parts|abnormal|anomaly|defect|Defective|fail|failed
NG_2|ng3|reject|rejects|True|yes|n.i.O.|faulty|damaged|不良|ＮＧ|not normal
"""
UNKNOWN = (
    "dent|scratch|1|1.0|-1|2|No 1|day 1|-|?|okra|nota|goodness|normalised|0.1|10|data|broken pipe"
)


def words(text: str) -> list[str]:
    return text.strip("\n").replace("|\n", "|").replace("\n", "|").split("|")


@pytest.mark.parametrize("word", words(GOOD))
def test_words_for_good(word: str) -> None:
    assert is_good_word(word)
    assert not is_defect_word(word)
    assert defect_type_of(word) == "good"


@pytest.mark.parametrize("word", words(DEFECTIVE))
def test_words_for_defective(word: str) -> None:
    assert is_defect_word(word)
    assert not is_good_word(word)
    assert defect_type_of(f" {word} ") == word


@pytest.mark.parametrize("word", words(UNKNOWN))
def test_words_on_no_list_are_types_of_defects(word: str) -> None:
    assert not is_good_word(word)
    assert not is_defect_word(word)
    assert defect_type_of(word) == word


def test_words_for_splits() -> None:
    assert split_of_word(" Test_Public") == "test"
    assert split_of_word("VALIDATION") == "calibration"
    assert split_of_word("test_private") is None
