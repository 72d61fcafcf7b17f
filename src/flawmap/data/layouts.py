"""Where data sets keep their images.

A flat folder of good images, folders named for what is in them, the MVTec AD layout, or a CSV
manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from flawmap.data.manifest import is_manifest, read_manifest
from flawmap.data.sample import GOOD, Sample
from flawmap.errors import DatasetError
from flawmap.runtime.image_formats import SUFFIXES
from flawmap.support.own_images import is_own_image

_GROUND_TRUTH = "ground_truth"


def find_samples(source: Path) -> list[Sample]:
    """The images of a data set, whichever way it is laid out.

    Args:
        source: a CSV manifest (`read_manifest`), a folder with `train` or `test` in it
            (`walk_mvtec`), a folder of good images, or a folder with `good` in it and one folder
            per defect type beside it; the first that fits.

    Raises:
        DatasetError: there is nothing there, or it is laid out in none of these ways.
    """
    if source.is_file():
        return read_manifest(source)
    if not source.is_dir():
        raise DatasetError(f"{source}: no such folder or manifest")
    walk = _layout(source) or _walk_flat
    return walk(source)


def find_products(source: Path) -> dict[str, Path]:
    """The data sets that lie side by side in a folder, by name.

    A file, and a folder with images or with `train`, `test` or `good` in it, is one data set itself
    and has no products. In any other folder each subfolder in which `find_samples` finds images is
    a product, named as the subfolder, and so is each `*.csv` with a column named path, named
    without its suffix. Where both have one name the CSV counts, which was written for the folder.
    Subfolders of subfolders are not looked into.

    Args:
        source: a folder, or a manifest.

    Returns:
        Where each product is, in the order of their names; empty where `source` is one data set, or
        none.
    """
    if not source.is_dir() or _layout(source):
        return {}
    folders = {folder.name: folder for folder in _folders(source) if _is_data_set(folder)}
    manifests = {file.stem: file for file in _manifests(source)}
    return dict(sorted((folders | manifests).items()))


def good_training_samples(source: Path) -> list[Sample]:
    """The good images to fit to and to calibrate with.

    Those of the train split and, where there is one, the calibration split.

    Args:
        source: a data set, as `find_samples` takes it.

    Raises:
        DatasetError: there are none in the train split.
    """
    samples = [
        sample for sample in find_samples(source) if sample.split != "test" and not sample.label
    ]
    if not any(sample.split == "train" for sample in samples):
        raise DatasetError(f"{source}: no good images to fit to; put them in train/{GOOD}")
    return samples


def labelled_test_samples(source: Path) -> list[Sample]:
    """The images to evaluate with: the test split.

    Args:
        source: a data set, as `find_samples` takes it.

    Raises:
        DatasetError: there are none.
    """
    samples = [sample for sample in find_samples(source) if sample.split == "test"]
    if not samples:
        raise DatasetError(
            f"{source}: no test images; put them in test/{GOOD} and test/<type of defect>"
        )
    return samples


def walk_mvtec(root: Path) -> list[Sample]:
    """The images of a data set laid out as MVTec AD (Bergmann et al. 2019).

    `train/good`, `test/good`, `test/<type>`, and masks in `ground_truth/<type>` named as the image,
    with or without `_mask` behind, whatever their suffix. Folders that a data set does not have are
    skipped.

    Args:
        root: the folder that has `train` and `test`.
    """
    train = [Sample(path, "train") for path in _images_in(root / "train" / GOOD)]
    types = _folders(root / "test")
    return train + [sample for folder in types for sample in _walk_type(root, folder)]


def _images_in(folder: Path) -> list[Path]:
    """The images of a folder by name, without its subfolders.

    Args:
        folder: the folder; an absent one has no images.
    """
    return sorted(path for path in folder.glob("*") if _is_image(path))


def images_below(folder: Path) -> list[Path]:
    """The images of a folder and of all folders in it, by name.

    Args:
        folder: the folder; an absent one has no images.
    """
    return sorted(path for path in folder.rglob("*") if _is_image(path))


def _layout(folder: Path) -> Callable[[Path], list[Sample]] | None:
    if (folder / "train").is_dir() or (folder / "test").is_dir():
        return walk_mvtec
    if _images_in(folder):
        return _walk_flat
    if any(inner.name == GOOD for inner in _folders(folder)):
        return _walk_classes
    return None


def _walk_flat(folder: Path) -> list[Sample]:
    """The images of a folder of good images; subfolders are not entered."""
    samples = [Sample(path, "train") for path in _images_in(folder)]
    if not samples:
        suffixes = ", ".join(sorted(SUFFIXES))
        raise DatasetError(f"{folder}: no images ({suffixes}) in it{_hint(folder)}")
    return samples


def _hint(folder: Path) -> str:
    """Where below a folder images are, for a message."""
    inner = list(find_products(folder).values())
    inner = inner or sorted({path.parent for path in images_below(folder)})
    if not inner:
        return ""
    noun = "folder" if inner[0].is_dir() else "file"
    return f"; there are some in {inner[0]}: name that {noun}"


def _walk_classes(root: Path) -> list[Sample]:
    """The images of a folder with `good`, to fit to, and one folder per defect type, to test."""
    train = [Sample(path, "train") for path in _images_in(root / GOOD)]
    types = [folder for folder in _folders(root) if folder.name not in (GOOD, _GROUND_TRUTH)]
    return train + [sample for folder in types for sample in _walk_type(root, folder)]


def _walk_type(root: Path, folder: Path) -> Iterator[Sample]:
    defect_type = folder.name
    masks = {
        path.stem.removesuffix("_mask"): path
        for path in _images_in(root / _GROUND_TRUTH / defect_type)
    }
    for path in _images_in(folder):
        yield Sample(path, "test", defect_type, masks.get(path.stem))


def _is_data_set(folder: Path) -> bool:
    walk = _layout(folder)
    return walk is not None and bool(walk(folder))


def _manifests(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.glob("*") if _is_visible_csv(path))
    return [file for file in files if is_manifest(file)]


def _is_visible_csv(path: Path) -> bool:
    return path.suffix.lower() == ".csv" and not path.name.startswith(".") and path.is_file()


def _is_image(path: Path) -> bool:
    # "._x.png" is what macOS leaves beside x.png on foreign disks.
    if path.suffix.lower() not in SUFFIXES or path.name.startswith(".") or not path.is_file():
        return False
    return not is_own_image(path)


def _folders(root: Path) -> list[Path]:
    return sorted(
        path for path in root.glob("*") if path.is_dir() and not path.name.startswith(".")
    )
