"""Which files are masks, and of which image."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

_SUFFIX = re.compile(
    r"(.+?)[-_. ]+(masks?|gt|label|labels|seg|segmentation|ground[-_ ]?truth|annotation)",
    re.IGNORECASE | re.DOTALL,
)
"""The name of an image, and what stands behind it in the name of its mask."""

_LOSSLESS = frozenset({".png", ".bmp"})
_LOSSY = frozenset({".jpg", ".jpeg"})

_Context = tuple[str, ...]


class ImageFile(NamedTuple):
    """An image or a mask, and where it lies.

    Args:
        path: of the file.
        context: the folders above it, as `Place.context`.
    """

    path: Path
    context: _Context


class MaskChoice(NamedTuple):
    """The mask of an image.

    Args:
        path: a file, or a folder of files that together are the mask; None without a mask.
        problem: why there is none although there are files that could be it; empty otherwise.
    """

    path: Path | None = None
    problem: str = ""


def masks_beside(names: Sequence[str], *, are_defective: bool) -> dict[str, str]:
    """The files of a folder that are masks of others in it: image by mask.

    A mask is named as its image with `_mask`, `_gt`, `-label` or the like behind. Beside defective
    images, a PNG that is named as a JPEG is its mask too, as in Real-IAD.

    Args:
        names: of the images of a folder.
        are_defective: whether its name says that they are defective.

    Example:
        >>> masks_beside(["a.jpg", "a_GT.png", "b_mask.png"], are_defective=False)
        {'a_GT.png': 'a.jpg'}
    """
    by_stem = defaultdict(list)
    for name in names:
        by_stem[_stem(name)].append(name)
    found = {}
    for name in names:
        match = _SUFFIX.fullmatch(_stem(name))
        if match and match.group(1) in by_stem:
            found[name] = by_stem[match.group(1)][0]
        elif are_defective and _suffix(name) in _LOSSLESS:
            twins = [twin for twin in by_stem[_stem(name)] if _suffix(twin) in _LOSSY]
            if twins:
                found[name] = twins[0]
    return found


class MaskMatcher:
    """Finds the masks of images.

    A mask that lies elsewhere belongs to the image of its name, with or without `_mask` or the like
    behind, below folders of the same names; where such names are missing above the mask, to the
    only image of its name. A folder of masks that is named as the image is one mask.

    Args:
        images: those whose folder does not say that they are good.
        masks: files in folders of masks.
        beside: image by mask, of masks beside their images.
    """

    def __init__(
        self, images: Iterable[ImageFile], masks: Sequence[ImageFile], beside: dict[Path, Path]
    ) -> None:
        self._unused = {mask.path: None for mask in masks}
        self._by_name: dict[tuple[_Context, str], list[Path]] = defaultdict(list)
        self._by_folder: dict[_Context, list[Path]] = defaultdict(list)
        self._beside: dict[Path, list[Path]] = defaultdict(list)
        self._images: Counter[tuple[_Context, str]] = Counter()
        self._not_good: set[Path] = set()
        for mask in masks:
            self._add(mask)
        for mask_path, image_path in beside.items():
            self._beside[image_path].append(mask_path)
        if self._unused:
            self._count(images)

    def choose(self, image: ImageFile) -> MaskChoice:
        """The mask of an image.

        Args:
            image: an image of the data set.
        """
        candidates = [*self._beside.get(image.path, []), *self._elsewhere(image)]
        if len(candidates) > 1:
            names = " and ".join(str(path) for path in candidates)
            return MaskChoice(None, f"{image.path}: has {len(candidates)} masks, {names}; keep one")
        return MaskChoice(candidates[0] if candidates else None)

    @property
    def unused(self) -> list[Path]:
        """Masks that belong to no image which `choose` was called with."""
        return list(self._unused)

    def _add(self, mask: ImageFile) -> None:
        stem = _stem(mask.path.name)
        match = _SUFFIX.fullmatch(stem)
        for name in {stem, match.group(1)} if match else {stem}:
            self._by_name[mask.context, name].append(mask.path)
        self._by_folder[mask.context].append(mask.path)

    def _count(self, images: Iterable[ImageFile]) -> None:
        for image in images:
            self._not_good.add(image.path)
            for depth in range(len(image.context) + 1):
                self._images[image.context[:depth], _stem(image.path.name)] += 1

    def _elsewhere(self, image: ImageFile) -> list[Path]:
        stem = _stem(image.path.name)
        files = self._by_folder.get((*image.context, stem.casefold()), [])
        folders = list(dict.fromkeys(path.parent for path in files))
        self._use(files)
        found = [*folders, *self._by_name.get((image.context, stem), [])]
        for depth in reversed(range(len(image.context))):
            key = (image.context[:depth], stem)
            if not found and image.path in self._not_good and self._images[key] == 1:
                found = list(self._by_name.get(key, []))
        self._use(found)
        return found

    def _use(self, paths: Iterable[Path]) -> None:
        for path in paths:
            self._unused.pop(path, None)


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _suffix(name: str) -> str:
    return f".{name.rpartition('.')[2]}".lower()
