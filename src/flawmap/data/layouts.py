"""Where data sets keep their images.

A folder of good images, folders named for what is in them, folders for training and testing as in
MVTec AD and its relatives, a CSV manifest, or the JSON of Real-IAD: docs/datasets.md has them all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from flawmap.data.folder_samples import Layout, folder_samples
from flawmap.data.labels import (
    GOOD_WORDS_FOR_MESSAGES,
    is_content_word,
    is_defect_word,
    is_good_word,
    is_mask_word,
    split_of_word,
)
from flawmap.data.listing import Folder, counting_suffixes, passed_over, unusable
from flawmap.data.manifest import is_manifest, manifest_products, read_manifest
from flawmap.data.mask_files import masks_beside
from flawmap.data.paths import FileKeys
from flawmap.data.real_iad import read_real_iad
from flawmap.data.sample import GOOD, FoundSamples, Sample
from flawmap.data.wording import count, list_counts
from flawmap.errors import DatasetError

_MAX_CONTENT_FOLDERS = 4
"""Folders inside each other that are named images, data or the like."""


def find_dataset(source: Path) -> FoundSamples:
    """The images of a data set, whichever way it is laid out, and what is to be said of the rest.

    Args:
        source: a folder, a CSV manifest (`read_manifest`), a JSON file of Real-IAD, or one product
            of a manifest that lists several, as `split_csv/1cls.csv/candle`.

    Raises:
        DatasetError: there is nothing there, or it is laid out in no way that is known.
    """
    found = _read(source)
    notes = [*found.notes, *_note_shared(found.samples), *_note_nothing_good(found.samples)]
    return replace(found, notes=notes)


def find_samples(source: Path) -> list[Sample]:
    """The images of a data set, whichever way it is laid out.

    Args:
        source: a data set, as `find_dataset` takes it.

    Raises:
        DatasetError: there is nothing there, or it is laid out in no way that is known.
    """
    return _read(source).samples


def find_products(source: Path) -> dict[str, Path]:
    """The data sets that lie side by side in a folder, by name.

    A folder that is one data set itself has no products. In any other folder each subfolder in
    which `find_samples` finds images is a product, named as the subfolder, and so is each `*.csv`
    with the columns of a manifest, named without its suffix. Where both have one name the CSV
    counts, which was written for the folder. Subfolders of subfolders are not looked into, and
    folders that are named for defects or masks are no products.

    Args:
        source: a folder, or a manifest; one of VisA's lists several products.

    Returns:
        Where each product is, in the order of their names; empty where `source` is one data set, or
        none.
    """
    if source.is_file() and source.suffix.lower() == ".csv":
        names = manifest_products(source)
        return {name: source / name for name in names} if len(names) > 1 else {}
    if not source.is_dir() or _layout(Folder(source)):
        return {}
    folders = {folder.path.name: folder.path for folder in _product_folders(Folder(source))}
    manifests = {file.stem: file for file in _manifests(source)}
    return dict(sorted((folders | manifests).items()))


def skipped_folders(source: Path, products: Mapping[str, Path]) -> tuple[list[str], list[str]]:
    """What lies beside products and is none: a line on folders with images, one on each closed one.

    Args:
        source: the folder that holds the products.
        products: as `find_products` gives them.
    """
    if not source.is_dir():
        return [], []
    others = [folder for folder in Folder(source).folders if folder.name not in products]
    holding = [folder.name for folder in others if _holds_images(folder)]
    total = count(len(holding), "folder with images is no product", "folders with images are none")
    return [f"{total}: {', '.join(holding)}"] if holding else [], unusable(others)


def good_training_samples(source: Path) -> list[Sample]:
    """The good images to fit to and to calibrate with.

    Those of the train split and, where there is one, the calibration split.

    Args:
        source: a data set, as `find_dataset` takes it.

    Raises:
        DatasetError: there are none in the train split.
    """
    samples = find_samples(source)
    good = [sample for sample in samples if sample.split != "test" and not sample.label]
    if not any(sample.split == "train" for sample in good):
        splits = Counter(f"{sample.defect_type} in {sample.split}" for sample in samples)
        raise DatasetError(
            f"{source}: no good images to fit to, but {list_counts(splits)}; put them in "
            f"train/{GOOD}, or label them in a manifest: {GOOD_WORDS_FOR_MESSAGES} say good"
        )
    return good


def labelled_test_samples(source: Path) -> list[Sample]:
    """The images to evaluate with: the test split.

    Args:
        source: a data set, as `find_dataset` takes it.

    Raises:
        DatasetError: there are none.
    """
    samples = [sample for sample in find_samples(source) if sample.split == "test"]
    if not samples:
        raise DatasetError(
            f"{source}: no test images; put them in test/{GOOD} and test/<type of defect>"
        )
    return samples


def _read(source: Path) -> FoundSamples:
    if source.is_file():
        is_json = source.suffix.lower() == ".json"
        return read_real_iad(source) if is_json else read_manifest(source)
    if source.parent.is_file() and source.parent.suffix.lower() == ".csv":
        return read_manifest(source.parent, source.name)
    if not source.is_dir():
        raise DatasetError(f"{source}: no such folder or manifest")
    root = Folder(source)
    layout = _layout(root)
    if layout is None:
        raise DatasetError(_nothing_found(root))
    if layout is Layout.FLAT and is_defect_word(root.name):
        raise DatasetError(
            f"{source}: named for defective parts, so nothing in it is taken for good; name the "
            "folder of good images, or rename this one"
        )
    found = folder_samples(root, layout)
    for manifest in _manifests(source):
        found.notes.append(f"{manifest} is a manifest and was not read; name it to use its labels")
    if not found.samples:
        raise DatasetError("; ".join([f"{source}: no images of a known label", *found.notes]))
    return found


def _layout(root: Folder) -> Layout | None:
    """How a folder is laid out; None where it is no data set."""
    inner = list(_inner_folders(root))
    if any(split_of_word(folder.name) in ("train", "test") for folder in inner):
        return Layout.SPLITS
    if any(is_good_word(folder.name) and not _has_splits(folder) for folder in inner):
        return Layout.CLASSES
    if root.images:
        return Layout.FLAT
    if any(_has_splits(folder) for folder in root.folders):
        return None
    if _are_pairs(root):
        return Layout.PAIRS
    is_defective = any(is_defect_word(folder.name) and _holds_images(folder) for folder in inner)
    return Layout.CLASSES if is_defective else None


def _inner_folders(root: Folder) -> Iterator[Folder]:
    """The folders in a folder, and those in folders named images, data or the like."""
    for folder in root.folders:
        yield folder
        if is_content_word(folder.name) and len(folder.parts) < _MAX_CONTENT_FOLDERS:
            yield from _inner_folders(folder)


def _has_splits(folder: Folder) -> bool:
    return any(split_of_word(inner.name) in ("train", "test") for inner in folder.folders)


def _are_pairs(root: Folder) -> bool:
    """Whether masks say which images are good.

    Each image in the folder's folders has its mask beside it, as in KolektorSDD, or there are a
    folder of images and one of masks.
    """
    has_masks = any(is_mask_word(folder.name) and _holds_images(folder) for folder in root.folders)
    if has_masks and any(is_content_word(folder.name) for folder in root.folders):
        return True
    found = False
    for folder in root.folders:
        masks = masks_beside(folder.images, are_defective=False)
        if len(set(masks.values())) != len(folder.images) - len(masks):
            return False
        found = found or bool(masks)
    return found


def _holds_images(folder: Folder) -> bool:
    return any(inner.images for inner in folder.walk())


def _product_folders(root: Folder) -> Iterator[Folder]:
    for folder in root.folders:
        if not is_defect_word(folder.name) and not is_mask_word(folder.name):
            product = Folder(folder.path)
            layout = _layout(product)
            if layout and folder_samples(product, layout).samples:
                yield product


def _manifests(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.glob("*") if _is_visible_csv(path))
    return [file for file in files if is_manifest(file)]


def _is_visible_csv(path: Path) -> bool:
    return path.suffix.lower() == ".csv" and not path.name.startswith(".") and path.is_file()


def _nothing_found(root: Folder) -> str:
    """Why a folder is no data set, and where below it images are."""
    products = [folder for folder in root.folders if _layout(folder)]
    structured = [folder.path for folder in products if _layout(folder) is not Layout.FLAT]
    folders = root.walk()
    holding = [folder for folder in folders if folder.images]
    named_good = [folder.path for folder in holding if is_good_word(folder.name)]
    parts = [f"{root.path}: no images ({counting_suffixes()}) in it"]
    if structured or named_good:
        parts.append(f"there are some in {[*structured, *named_good][0]}: name that folder")
    elif holding:
        where = count(len(holding), "folder below it has", "folders below it have")
        parts.append(f"{where} images, none of them named good; name one, or rename it to {GOOD}")
    return "; ".join([*parts, *passed_over(folders)])


def _note_shared(samples: Sequence[Sample]) -> list[str]:
    """A line that names images which are tested with and fitted to."""
    keys = FileKeys()
    first: dict[tuple[str, str], Sample] = {}
    shared: dict[tuple[str, str], Sample] = {}
    for sample in samples:
        file = keys.of(sample.path)
        if first.setdefault(file, sample).split != sample.split:
            shared[file] = sample
    if not shared:
        return []
    image = next(iter(shared.values()))
    verb = count(len(shared), "image is", "images are")
    return [f"{verb} in more than one split, so metrics will flatter, first {image.path}"]


def _note_nothing_good(samples: Sequence[Sample]) -> list[str]:
    if not all(sample.label for sample in samples):
        return []
    types = list_counts(Counter(sample.defect_type for sample in samples))
    return [f"nothing is good, but {types}; {GOOD_WORDS_FOR_MESSAGES} say good"]
