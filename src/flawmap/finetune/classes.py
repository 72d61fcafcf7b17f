"""What a fine-tuning may tell apart.

Images by the name of their class, as each of its modes has them.
"""

from __future__ import annotations

import hashlib
import math
import unicodedata
from itertools import groupby
from pathlib import Path

from flawmap.data.layouts import (
    find_products,
    find_samples,
    good_training_samples,
    labelled_test_samples,
)
from flawmap.data.sample import GOOD, Sample
from flawmap.errors import DatasetError

DEFECTIVE = "defective"

REAL_DEFECT_FRACTION = 0.2
"""Share of each kind of defect that is taken out of the test set to teach with."""

Classes = dict[str, list[Path]]


def classes_by_product(source: Path) -> Classes:
    """Tell products apart: the good images to learn from, of each data set in a folder.

    Raises:
        DatasetError: there are not two products.
    """
    products = find_products(source)
    if len(products) < 2:
        found = f"only {', '.join(products)}" if products else "one data set, not a folder of them"
        raise DatasetError(
            f"{source}: {found}; to tell products apart name a folder of two or more, or use "
            f"synthetic"
        )
    return {name: _paths(good_training_samples(place)) for name, place in products.items()}


def sample_real_defects(source: Path, share: float = REAL_DEFECT_FRACTION) -> list[Sample]:
    """Choose the real defects to teach with.

    A share of each kind, at least one, by a hash of their file names.

    Raises:
        DatasetError: the data set has none.
    """
    defects = sorted(
        (one for one in find_samples(source) if one.label), key=lambda one: one.defect_type
    )
    if not defects:
        raise DatasetError(
            f"{source}: no defective images to hold out; use synthetic, which paints them"
        )
    chosen: list[Sample] = []
    for _, kind in groupby(defects, key=lambda one: one.defect_type):
        of_kind = sorted(kind, key=_hash_of_name)
        chosen += of_kind[: math.ceil(share * len(of_kind))]
    return chosen


def classes_with_real_defects(source: Path) -> Classes:
    """Tell good images to learn from and held-out defects apart.

    Raises:
        DatasetError: the data set has no good images to learn from, or no defects.
    """
    return {
        GOOD: _paths(good_training_samples(source)),
        DEFECTIVE: _paths(sample_real_defects(source)),
    }


def leaky_classes(source: Path) -> Classes:
    """Tell good and defective images of the test set apart.

    The leak, to show its size and for nothing else.

    Raises:
        DatasetError: there is no test set.
    """
    samples = labelled_test_samples(source)
    return {
        GOOD: _paths([sample for sample in samples if not sample.label]),
        DEFECTIVE: _paths([sample for sample in samples if sample.label]),
    }


def _paths(samples: list[Sample]) -> list[Path]:
    return [sample.path for sample in samples]


def _hash_of_name(sample: Sample) -> str:
    name = unicodedata.normalize("NFC", sample.path.name)
    return hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()
