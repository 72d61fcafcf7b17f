"""The images of a data set that is a folder: what each is for, and which masks they have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from flawmap.data.labels import defect_type_of, is_defect_word, is_good_word, is_mask_word
from flawmap.data.listing import Folder, passed_over, unusable
from flawmap.data.mask_files import ImageFile, MaskChoice, MaskMatcher, masks_beside
from flawmap.data.places import Place, read_place
from flawmap.data.read_mask import read_mask
from flawmap.data.sample import GOOD, FoundSamples, Sample, Split
from flawmap.data.wording import count, list_counts, note_unknown_words
from flawmap.errors import ImageError
from flawmap.support.progress import track

_DEFECTIVE = "defective"
"""Defect type of an image whose mask is not empty, where no folder names one."""

_SPLITS: tuple[Split, ...] = ("train", "calibration", "test")


_NO_MASK = MaskChoice()


class Layout(Enum):
    """How a folder is laid out."""

    SPLITS = "train and test folders"
    CLASSES = "folders of good and of defective images"
    FLAT = "good images"
    PAIRS = "images beside their masks"


@dataclass
class _Image:
    """An image of the folder; `split` and `label` are None until something says them."""

    file: ImageFile
    folder: tuple[str, ...]
    split: Split | None
    label: str | None
    mask: MaskChoice = _NO_MASK


class _Files(NamedTuple):
    images: list[_Image]
    masks: list[ImageFile]
    beside: dict[Path, Path]
    unused: Counter[str]
    """Number of images by the folder that no place is known for."""

    folders: list[Folder]
    """Those whose images are used."""


def folder_samples(root: Folder, layout: Layout) -> FoundSamples:
    """The images of a folder, those to fit to first, then those to calibrate and to test with.

    Args:
        root: the folder of the data set.
        layout: how it is laid out.
    """
    files = _sort_files(root, layout)
    matcher = _choose_masks(files)
    notes = _label_by_masks(files)
    samples: list[Sample] = []
    for split in _SPLITS:
        used = [image for image in files.images if image.split == split and image.label is not None]
        samples += [_to_sample(image, split, layout) for image in used]
    notes += _notes(files, matcher)
    return FoundSamples(samples, notes, unusable(root.walk()))


def _to_sample(image: _Image, split: Split, layout: Layout) -> Sample:
    group = "/".join(image.folder) if layout is Layout.PAIRS else ""
    return Sample(
        image.file.path,
        split,
        defect_type_of(image.label or GOOD),
        image.mask.path,
        group,
        mask_problem=image.mask.problem,
    )


def _sort_files(root: Folder, layout: Layout) -> _Files:
    """What each image below the folder is, by the names of the folders above it."""
    folders = root.walk()
    files = _Files([], [], {}, Counter(), [])
    beside_rgb = _beside_rgb(folders)
    # A type of defect may be named gt: then there is a folder of that name among the masks.
    not_masks = frozenset(
        folder.name.casefold() for folder in folders if any(map(is_mask_word, folder.parts[:-1]))
    )
    for folder in folders:
        place = read_place(folder.parts, not_masks)
        in_rgb = any(folder.parts[: len(parts)] == parts for parts in beside_rgb)
        if place.is_mask:
            paths = [folder.path / name for name in folder.images]
            files.masks.extend(ImageFile(path, place.context) for path in paths)
        elif in_rgb or not _is_used(folder, place, layout):
            if folder.images:
                files.unused["/".join(folder.parts) or folder.name] += len(folder.images)
        else:
            files.folders.append(folder)
            files.images.extend(_images_of(folder, place, layout, files.beside))
    return files


def _beside_rgb(folders: Iterable[Folder]) -> list[tuple[str, ...]]:
    """Folders of other sensors, as depth, which lie beside one of colour images."""
    above = {folder.parts[:-1] for folder in folders if folder.name.casefold() == "rgb"}
    return [
        folder.parts
        for folder in folders
        if folder.parts
        and folder.parts[:-1] in above
        and folder.name.casefold() != "rgb"
        and not is_mask_word(folder.name)
    ]


def _is_used(folder: Folder, place: Place, layout: Layout) -> bool:
    """Whether the layout has a place for the images of a folder."""
    if layout is Layout.SPLITS:
        return place.split is not None
    if layout is Layout.CLASSES:
        return place.label is not None
    return not folder.parts if layout is Layout.FLAT else True


def _images_of(
    folder: Folder, place: Place, layout: Layout, beside: dict[Path, Path]
) -> Iterator[_Image]:
    """The images of a folder; masks beside them go to `beside`."""
    label = place.label
    if layout in (Layout.FLAT, Layout.PAIRS):
        label = next(filter(is_defect_word, folder.parts), None)
    is_defective = label is not None and not is_good_word(label)
    masks = masks_beside(folder.images, are_defective=is_defective)
    beside |= {folder.path / mask: folder.path / image for mask, image in masks.items()}
    split = place.split
    if layout is not Layout.SPLITS and label is not None:
        split = split or ("test" if is_defective else "train")
    for name in folder.images:
        if name not in masks:
            file = ImageFile(folder.path / name, place.context)
            yield _Image(file, folder.parts, split, label)


def _choose_masks(files: _Files) -> MaskMatcher:
    """Give each image its mask."""
    not_good = [image.file for image in files.images if not _is_good(image)]
    matcher = MaskMatcher(not_good, files.masks, files.beside)
    if files.masks or files.beside:
        for image in files.images:
            image.mask = matcher.choose(image.file)
    return matcher


def _is_good(image: _Image) -> bool:
    return image.label is not None and is_good_word(image.label)


def _label_by_masks(files: _Files) -> list[str]:
    """Label images whose folders do not: by their masks where they have some, else good.

    A test image without either has no label, nor has one that lies outside of a folder for good
    ones where there is such a folder.
    """
    unlabelled = [image for image in files.images if image.label is None]
    labelled_splits = {image.split for image in files.images if image.label is not None}
    with_masks = [image for image in unlabelled if any(image.mask)]
    for image in track(with_masks, "reading masks", len(with_masks)):
        image.label = _label_of_mask(image.mask)
        image.split = image.split or ("train" if _is_good(image) else "test")
    for image in unlabelled:
        if image.label is None and image.split not in {"test", *labelled_splits}:
            image.label = GOOD
            image.split = image.split or "train"
    left = [image for image in unlabelled if image.label is None]
    files.unused.update("/".join(image.folder) or "." for image in left)
    if not with_masks:
        return []
    good = sum(map(_is_good, with_masks))
    return [f"masks say which images are good: {good} good, {len(with_masks) - good} defective"]


def _label_of_mask(mask: MaskChoice) -> str:
    """Good where the mask is empty; what cannot be read may be defective, and is not learned."""
    try:
        is_empty = mask.path and not _marks_something(mask.path, mask.path.stat().st_mtime_ns)
    except (ImageError, OSError):
        is_empty = False
    return GOOD if is_empty else _DEFECTIVE


@lru_cache(maxsize=100_000)
def _marks_something(path: Path, modified: int) -> bool:
    """Whether a mask has a mark; remembered, for commands ask twice."""
    del modified
    return bool(read_mask(path).any())


def _notes(files: _Files, matcher: MaskMatcher) -> list[str]:
    notes = []
    if files.unused:
        total = count(files.unused.total(), "image is", "images are")
        notes.append(f"{total} not used: {list_counts(files.unused)}")
    not_learned = [image for image in files.images if image.split != "test" and image.label]
    defective = Counter("/".join(image.folder) for image in not_learned if not _is_good(image))
    if defective:
        total = count(defective.total(), "image is", "images are")
        notes.append(f"{total} defective and not learned: {list_counts(defective)}")
    labels = Counter(image.label for image in files.images if image.label)
    notes += note_unknown_words(labels, "folders")
    return [*notes, *_mask_notes(files, matcher), *passed_over(files.folders)]


def _mask_notes(files: _Files, matcher: MaskMatcher) -> list[str]:
    defective = [image for image in files.images if image.label and not _is_good(image)]
    without = [image.file.path for image in defective if not any(image.mask)]
    notes = []
    if 0 < len(without) < len(defective):
        verb = "has" if len(without) == 1 else "have"
        notes.append(
            f"{len(without)} of {len(defective)} defective images {verb} no mask, first "
            f"{without[0]}"
        )
    problems = [image.mask.problem for image in files.images if image.mask.problem]
    if problems:
        total = count(len(problems), "image has", "images have")
        notes.append(f"{total} several masks and so none; {problems[0]}")
    if matcher.unused:
        total = count(len(matcher.unused), "mask belongs", "masks belong")
        notes.append(f"{total} to no image, first {matcher.unused[0]}")
    return notes
