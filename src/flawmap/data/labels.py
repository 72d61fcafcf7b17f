"""What the words of labels, folders and splits mean; the same everywhere."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from flawmap.data.sample import GOOD, Split

_FAULTS = (
    *("defect", "defects", "anomaly", "anomalies", "abnormality", "abnormalities"),
    *("fault", "faults", "flaw", "flaws"),
)
_FAULTY = (
    "defective",
    "defected",
    "anomalous",
    "abnormal",
    "faulty",
    "flawed",
    "damaged",
    "broken",
)
_GOOD_WORDS = frozenset(
    {
        *("false", "no", "none", "null", "nil", "n/a", "n.a.", "na", "nan", "#n/a", "nothing"),
        *("good", "goods", "ok", "okay", "io", "i.o.", "normal", "pass", "passed", "accepted"),
        *("flawless", "undamaged", "nondefective", "良品", "良", "合格", "合格品", "正常"),
        *(f"no {fault}" for fault in _FAULTS),
        *(f"without {fault}" for fault in _FAULTS),
        *(f"{fault} free" for fault in _FAULTS),
        *(f"free of {fault}" for fault in _FAULTS),
        *(f"{no} {word}" for no in ("not", "non") for word in _FAULTY),
    }
)
_DEFECT_WORDS = frozenset(
    {
        *("ng", "n.g.", "ko", "k.o.", "nok", "nio", "n.i.o.", "bad", "true", "yes", "scrap"),
        *("fail", "fails", "failed", "failure", "failures", "reject", "rejects", "rejected"),
        *("damage", "damages", "outlier", "outliers", "no good", "nogood", "unacceptable"),
        *(f"{no} {word}" for no in ("not", "non") for word in ("good", "ok", "okay", "normal")),
        *("不良", "不良品", "不合格", "不合格品", "异常", "異常", "缺陷", "欠陥"),
        *_FAULTS,
        *_FAULTY,
    }
)
_THINGS = re.compile(r"\b(parts?|pieces?|images?|imgs?|samples?|pictures?|photos?|data)\b")
"""What may stand beside a word in the name of a folder, as in `good parts`."""

_PLAIN_GOOD_WORDS = frozenset({"good", "ok", "okay", "normal", "pass", "passed"})
_ZERO = re.compile(r"[+-]?0+([.,]0*)?|[+-]?[.,]0+")
_SPLIT_WORDS: dict[str, Split] = {
    **dict.fromkeys(("fit", "train", "training", "train set", "training set"), "train"),
    **dict.fromkeys(
        ("cal", "calib", "calibration", "val", "valid", "validation", "validation set"),
        "calibration",
    ),
    **dict.fromkeys(("test", "testing", "test public", "test set"), "test"),
}
_MASK_WORDS = frozenset(
    {
        *("ground truth", "ground truths", "groundtruth", "groundtruths", "gt", "mask", "masks"),
        *("labels", "segmentation", "segmentations", "annotation", "annotations"),
        *("defect mask", "defect masks"),
    }
)

_CONTENT_WORDS = frozenset({"data", "image", "images", "img", "imgs", "jpegimages", "rgb"})

GOOD_WORDS_FOR_MESSAGES = "good, ok, normal, pass, 0, no defect and their like"
"""Some of the words for good, for messages; docs/datasets.md has all."""


@lru_cache(maxsize=10_000)
def is_good_word(word: str) -> bool:
    """Whether a label or the name of a folder says that a part has no defect.

    Case does not count, nor do blanks at the ends; `-`, `_` and blanks are alike.

    Args:
        word: the label; an empty one says good.

    Example:
        >>> [is_good_word(word) for word in (" OK", "No-Defect", "0.00", "N/A", "", "dent")]
        [True, True, True, True, True, False]
    """
    if not word.strip():
        return True
    plain = _plain(word)
    without_things = _THINGS.sub("", plain).strip()
    is_zero = bool(_ZERO.fullmatch(plain))
    return plain in _GOOD_WORDS or without_things in _PLAIN_GOOD_WORDS or is_zero


def is_defect_word(word: str) -> bool:
    """Whether a label or the name of a folder says that a part is defective, whatever the type.

    Words that say neither good nor defective are types of defects where something else is good.

    Args:
        word: the label; a number behind it does not count.

    Example:
        >>> [is_defect_word(word) for word in ("NG_2", "not ok", "Bad parts", "dent", "good")]
        [True, True, True, False, False]
    """
    unnumbered = re.sub(r"\s*\d+$", "", _plain(word))
    return bool({unnumbered, _THINGS.sub("", unnumbered).strip()} & _DEFECT_WORDS)


def is_mask_word(word: str) -> bool:
    """Whether a folder of that name holds masks.

    Args:
        word: name of the folder.

    Example:
        >>> [is_mask_word(word) for word in ("Ground_Truth", "masks", "test")]
        [True, True, False]
    """
    return _plain(word) in _MASK_WORDS


def is_content_word(word: str) -> bool:
    """Whether a folder of that name says no more than that images are in it.

    Args:
        word: name of the folder.

    Example:
        >>> [is_content_word(word) for word in ("Images", "rgb", "day 1")]
        [True, True, False]
    """
    return _plain(word) in _CONTENT_WORDS


def split_of_word(word: str) -> Split | None:
    """The split that a word names; None where it names none.

    Args:
        word: of a manifest, or name of a folder.

    Example:
        >>> [split_of_word(word) for word in ("Train", "val", "test_public", "dent")]
        ['train', 'calibration', 'test', None]
    """
    return _SPLIT_WORDS.get(_plain(word))


def defect_type_of(label: str) -> str:
    """`good`, or the label as a defect type.

    Args:
        label: a word of a manifest, or the name of a folder.

    Example:
        >>> defect_type_of("No defect"), defect_type_of(" Dent ")
        ('good', 'Dent')
    """
    return GOOD if is_good_word(label) else label.strip()


@lru_cache(maxsize=10_000)
def _plain(word: str) -> str:
    """One spelling of all; NFKC makes the wide letters of Japanese systems plain."""
    narrow = unicodedata.normalize("NFKC", word)
    return re.sub(r"[-_\s]+", " ", narrow).strip().casefold()
