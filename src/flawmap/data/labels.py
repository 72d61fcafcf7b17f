"""What the words of labels, folders and splits mean; the same everywhere."""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache

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
_NEGATED = (
    *(f"no {fault}" for fault in _FAULTS),
    *(f"non {fault}" for fault in _FAULTS),
    *(f"without {fault}" for fault in _FAULTS),
    *(f"{fault} free" for fault in _FAULTS),
    *(f"free of {fault}" for fault in _FAULTS),
    *(f"{no} {word}" for no in ("not", "non") for word in _FAULTY),
)
_GOOD_WORDS = (
    *_NEGATED,
    *("false", "no", "none", "null", "nil", "n/a", "na", "nan", "#n/a", "<na>", "nothing"),
    *("good", "goods", "ok", "okay", "io", "normal", "pass", "passed", "accepted", "acceptable"),
    *("flawless", "undamaged", "intact", "healthy", "no issue", "no issues", "no fault found"),
    *("gut", "gutteil", "gutteile", "in ordnung", "fehlerfrei", "ohne fehler", "ohne befund"),
    *("bon", "bons", "bonne", "bonnes", "conforme", "conformes", "sans défaut", "sans défauts"),
    *("bueno", "buenos", "sin defecto", "sin defectos", "buono", "buoni", "senza difetti"),
    *("sem defeito", "sem defeitos", "dobry", "dobre", "bez wad", "годен", "годные", "норма"),
    *("良", "良品", "良好", "合格", "合格品", "正常", "正常品", "無欠陥", "无缺陷", "無缺陷"),
    *("異常なし", "欠陥なし", "ok品", "정상", "양품", "합격"),
)
_DEFECT_WORDS = (
    *_FAULTS,
    *_FAULTY,
    *("ng", "ko", "nok", "nio", "bad", "true", "yes", "scrap", "def", "rej", "error", "errors"),
    *("fail", "fails", "failed", "failure", "failures", "reject", "rejects", "rejected"),
    *("damage", "damages", "outlier", "outliers", "no good", "unacceptable", "positive"),
    *(f"{no} {word}" for no in ("not", "non") for word in ("good", "ok", "okay", "normal")),
    *("nonconforming", "not conforming", "schlecht", "schlechtteil", "schlechtteile", "ausschuss"),
    *("fehler", "mit fehler", "mit fehlern", "fehlerhaft", "defekt", "nicht in ordnung"),
    *("mauvais", "mauvaise", "non conforme", "non conformes", "défaut", "défauts", "défectueux"),
    *("rebut", "rebuts", "malo", "malos", "no conforme", "defecto", "defectos", "defectuoso"),
    *("scarto", "scarti", "non conformi", "difetto", "difetti", "difettoso", "defeito"),
    *("defeitos", "zły", "wada", "wady", "wadliwy", "брак", "дефект", "дефекты", "негоден"),
    *("不良", "不良品", "不合格", "不合格品", "异常", "異常", "缺陷", "欠陥", "欠陥品", "次品"),
    *("废品", "ng品", "불량", "불량품", "불합격"),
)
_DEFECT_TYPES = (
    *("scratch", "scratches", "scratched", "crack", "cracks", "cracked", "dent", "dents"),
    *("dented", "stain", "stains", "contamination", "corrosion", "rust", "burr", "burrs"),
    *("blowhole", "blowholes", "fracture", "deformation", "deformed", "misprint", "kratzer"),
)
"""Types of defects that are hardly ever the name of a product."""

_NEGATED_TYPES = (
    *(f"{no} {name}" for no in ("no", "without") for name in _DEFECT_TYPES),
    *(f"{name} free" for name in _DEFECT_TYPES),
)

_THINGS = re.compile(r"\b(parts?|pieces?|images?|imgs?|samples?|pictures?|photos?|data)\b")
"""What may stand beside a word in the name of a folder, as in `good parts`."""

_PLAIN_GOOD_WORDS = frozenset({"good", "ok", "okay", "normal", "pass", "passed"})
_NUMBERED_GOOD_WORDS = frozenset({"good", "ok", "okay", "normal"})
"""Not pass, of which welds have a first and a second."""

_NUMBER_BEFORE = re.compile(r"^\d+[. ]+")
_NUMBER_BEHIND = re.compile(r" ?\d+$| ?\(\d+\)$")
_MAX_WORDS_OF_NAME = 3
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
        *("label", "labels", "segmentation", "segmentations", "annotation", "annotations"),
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
    named = _NUMBER_BEFORE.sub("", _THINGS.sub("", plain)).strip()
    return (
        bool(_ZERO.fullmatch(plain))
        or _joined(plain) in _joined_words(_GOOD_WORDS)
        or _joined(named) in _PLAIN_GOOD_WORDS
        or _joined(_NUMBER_BEHIND.sub("", named)) in _NUMBERED_GOOD_WORDS
    )


def is_defect_word(word: str) -> bool:
    """Whether a label or the name of a folder says that a part is defective, whatever the type.

    Words that say neither good nor defective are types of defects where something else is good.

    Args:
        word: the label; a number before or behind it does not count.

    Example:
        >>> [is_defect_word(word) for word in ("NG_2", "not ok", "Bad parts", "dent", "good")]
        [True, True, True, False, False]
    """
    named = _NUMBER_BEHIND.sub("", _NUMBER_BEFORE.sub("", _plain(word)))
    without_things = _THINGS.sub("", named).strip()
    return bool({_joined(named), _joined(without_things)} & _joined_words(_DEFECT_WORDS))


@lru_cache(maxsize=10_000)
def is_defect_name(name: str) -> bool:
    """Whether the name of a folder says that what is in it is defective.

    It is a word for defective, or the name of a usual type of defect, or begins or ends with one.

    Args:
        name: of the folder.

    Example:
        >>> names = ("NG", "screw_NG", "bad screws", "scratch", "defect-free screws", "screw")
        >>> [is_defect_name(name) for name in names]
        [True, True, True, True, False, False]
    """
    plain = _plain(name)
    if is_good_word(name) or any(negated in plain for negated in (*_NEGATED, *_NEGATED_TYPES)):
        return False
    words = _NUMBER_BEHIND.sub("", plain).split()
    counts = range(1, min(_MAX_WORDS_OF_NAME, len(words)) + 1)
    ends = [" ".join(part) for count in counts for part in (words[:count], words[-count:])]
    return is_defect_word(name) or any(
        end not in ("true", "yes") and (is_defect_word(end) or end in _DEFECT_TYPES) for end in ends
    )


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
    # Such as the zero-width blanks of web pages, which nobody sees.
    visible = "".join(letter for letter in narrow if unicodedata.category(letter) != "Cf")
    return re.sub(r"[-_\s]+", " ", visible).strip().casefold()


def _joined(plain: str) -> str:
    """Without blanks and full stops: `n. i. o.`, `n.i.o` and `nio` are one word."""
    return re.sub(r"[ .]", "", plain)


@cache
def _joined_words(words: tuple[str, ...]) -> frozenset[str]:
    return frozenset(map(_joined, map(_plain, words)))
