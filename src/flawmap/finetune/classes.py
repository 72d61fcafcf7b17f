"""The classes of a fine-tuning: images by the name of their class, for each of its modes."""

from __future__ import annotations

import hashlib
import math
import unicodedata
from itertools import groupby
from pathlib import Path

from flawmap.data.layouts import find_products, good_training_samples
from flawmap.data.sample import GOOD, FoundSamples, Sample
from flawmap.errors import DatasetError

_Classes = dict[str, list[Path]]
"""Image files by the name of their class."""


def classes_by_product(source: Path) -> _Classes:
    """The good training images of each product, for the mode `products`.

    Args:
        source: a folder of data sets, one for each product.

    Raises:
        DatasetError: there are not two products.
    """
    products = find_products(source)
    if len(products) < 2:
        actual = f"only {', '.join(products)}" if products else "one data set, not a folder of them"
        raise DatasetError(
            f"{source}: {actual}; to tell products apart name a folder of two or more, or use "
            "synthetic"
        )
    return {name: _paths(good_training_samples(folder)) for name, folder in products.items()}


def classes_with_real_defects(found: FoundSamples) -> _Classes:
    """Good training images and a fraction of the real defects, for the mode `real-defects`.

    Args:
        found: in a data set with defects in its test set.

    Raises:
        DatasetError: the data set has no good images to train with, or no defects.
    """
    return {
        GOOD: _paths(good_training_samples(found)),
        "defective": _paths(_sample_real_defects(found)),
    }


def _sample_real_defects(found: FoundSamples, fraction: float = 0.2) -> list[Sample]:
    """The real defects to fine-tune with, chosen by a hash of their file names.

    Args:
        found: in a data set with defects in its test set.
        fraction: of each defect type, 0…1; at least one of each is taken.

    Raises:
        DatasetError: the data set has no defects.
    """
    defects = [sample for sample in found.samples if sample.label]
    if not defects:
        raise DatasetError(
            f"{found.source}: no defective images to hold out; use synthetic, which paints them"
        )
    defects.sort(key=_defect_type)
    sampled: list[Sample] = []
    for _, samples in groupby(defects, key=_defect_type):
        by_hash = sorted(samples, key=_hash_of_name)
        sampled += by_hash[: math.ceil(fraction * len(by_hash))]
    return sampled


def _defect_type(sample: Sample) -> str:
    return sample.defect_type


def _paths(samples: list[Sample]) -> list[Path]:
    return [sample.path for sample in samples]


def _hash_of_name(sample: Sample) -> str:
    name = unicodedata.normalize("NFC", sample.path.name)
    return hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()
