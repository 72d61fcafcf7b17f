"""Good images' patches extracted to a scratch folder, going on where an earlier run stopped."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flawmap.engine.batches import Batch, Batches
from flawmap.errors import DatasetError, ImageError, OptionError
from flawmap.memory.scratch import Scratch
from flawmap.memory.scratch_rows import ScratchRows
from flawmap.methods.patchcore_shard import GoodPatches
from flawmap.runtime.images.decode import UnreadableImage
from flawmap.runtime.images.image_input import read_input
from flawmap.runtime.preprocess import ImageInput
from flawmap.support.tensors import Embedded

_Embed = Callable[[Batch], list[Tensor]]
"""A batch to the tensors of `Embedded.flatten`."""


def patches_in_scratch(
    scratch: Scratch,
    key: Mapping[str, str],
    batches: Batches,
    embed: _Embed,
    check: Callable[[int], None],
) -> GoodPatches:
    """The patches of all images, in files of the folder; what is there already is not redone.

    Args:
        scratch: where the vectors go.
        key: what the vectors depend on beside the images and how they are made ready.
        batches: the images.
        embed: makes the vectors of a batch; the same for the same images.
        check: called with the number of all patches once it is known; what it raises ends the
            extraction before it is long.

    Raises:
        DatasetError: no image could be used.
        OptionError: the folder belongs to another fit.
        WriteError: there is no space.
    """
    scratch.open({**key, **_key_of(batches)})
    extraction = _Extraction(scratch, batches)
    is_checked = False
    for batch in extraction.remaining_batches():
        tensors = embed(batch)
        if not is_checked:
            _, rows, columns, _ = tensors[0].shape
            try:
                check(batches.input_count * rows * columns)
            except OptionError:
                if extraction.is_empty:
                    scratch.remove()
                raise
            is_checked = True
        size = batch.images.shape[-2], batch.images.shape[-1]
        extraction.add(tensors, size, is_complete=batch.is_complete)
    return extraction.finish()


class _Extraction:
    """What was extracted so far: the files hold it, and the journal's last entry says how much.

    The first file has the patches' vectors, a row each; the others have a row for each input of the
    network: an image or a tile.
    """

    def __init__(self, scratch: Scratch, batches: Batches) -> None:
        self._scratch = scratch
        self._batches = batches
        self._done = 0  # of the batches' images, readable or not
        self._inputs = 0
        self._image_sizes: list[tuple[int, int]] = []
        self._size = (0, 0)
        self._shapes: list[tuple[int, ...]] = []
        self._files: list[ScratchRows] = []
        self._unreadable: dict[int, UnreadableImage] = {}
        for entry in scratch.journal():
            self._restore(entry)
        if self._files:
            # What was written but not recorded goes.
            vectors, *others = self._files
            vectors.truncate(self._inputs * math.prod(self._shapes[0][:2]))
            for rows in others:
                rows.truncate(self._inputs)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was extracted yet."""
        return not self._files

    def remaining_batches(self) -> Iterator[Batch]:
        """The batches that are not in the files yet."""
        return self._batches.after(self._done, self._unreadable, self._image_sizes)

    def add(self, tensors: list[Tensor], size: tuple[int, int], *, is_complete: bool) -> None:
        """Write a batch, then record that its images are complete, where they are."""
        if not self._files:
            self._size = size
            self._open([tuple(tensor.shape[1:]) for tensor in tensors], tensors[0].dtype)
        for rows, tensor in zip(self._files, tensors, strict=True):
            rows.append(tensor.reshape(-1, rows.shape[1]))
        self._inputs += len(tensors[0])
        if is_complete:
            self._record(self._batches.readable_indices[-1] + 1)

    def finish(self) -> GoodPatches:
        """The patches of all images."""
        if not self._files:
            raise DatasetError("no image could be used, so there is nothing to fit to")
        vectors, *others = self._files
        small = [
            rows[:].reshape(-1, *shape)
            for rows, shape in zip(others, self._shapes[1:], strict=True)
        ]
        _, transforms, inside = Embedded.unflatten(small)
        rows, columns, _ = self._shapes[0]
        return GoodPatches(vectors, (self._inputs, rows, columns), self._size, transforms, inside)

    def _open(self, shapes: list[tuple[int, ...]], dtype: torch.dtype) -> None:
        self._shapes = shapes
        vectors = self._scratch.rows("vectors", shapes[0][-1], dtype)
        others = [
            self._scratch.rows(f"per_image{number}", math.prod(shape), torch.float32)
            for number, shape in enumerate(shapes[1:])
        ]
        self._files = [vectors, *others]

    def _record(self, done: int) -> None:
        read = set(self._batches.readable_indices)
        indices = [index for index in range(self._done, done) if index not in read]
        found = self._batches.unreadable[len(self._unreadable) :]
        added = dict(zip(indices, found, strict=True))
        self._unreadable |= added
        self._done = done
        layouts = self._batches.layouts[len(self._image_sizes) :]
        new_sizes = [layout.image_size for layout in layouts]
        self._image_sizes += new_sizes
        self._scratch.record(
            {
                "done": done,
                "inputs": self._inputs,
                "image sizes": new_sizes,
                "size": self._size,
                "shapes": self._shapes,
                "dtype": str(self._files[0].dtype).removeprefix("torch."),
                "unreadable": [
                    {"index": index, "error": str(image.error), "sha256": image.sha256}
                    for index, image in added.items()
                ],
            }
        )

    def _restore(self, entry: Mapping[str, Any]) -> None:
        self._done = entry["done"]
        self._inputs = entry["inputs"]
        self._image_sizes += [(height, width) for height, width in entry["image sizes"]]
        height, width = entry["size"]
        self._size = (height, width)
        if not self._files:
            shapes = [tuple(shape) for shape in entry["shapes"]]
            self._open(shapes, getattr(torch, entry["dtype"]))
        for image in entry["unreadable"]:
            image_input = self._batches.image_inputs[image["index"]]
            error = ImageError(image["error"])
            self._unreadable[image["index"]] = UnreadableImage(image_input, error, image["sha256"])


def _key_of(batches: Batches) -> dict[str, Any]:
    """What the vectors depend on beside the encoder: the images, and how they are made ready."""
    digest = hashlib.sha256()
    for image_input in batches.image_inputs:
        digest.update(_identity(image_input))
    return {
        "preprocessing": asdict(batches.preprocessing),
        "images": digest.hexdigest(),
        "batch size": batches.size,
    }


def _identity(image_input: ImageInput) -> bytes:
    """What tells an image from another: a file's path, size and time, or the content itself."""
    try:
        if isinstance(image_input, str | os.PathLike):
            file = Path(os.fsdecode(image_input)).absolute()
            status = file.stat()
            return os.fsencode(f"{file} {status.st_size} {status.st_mtime_ns}\n")
        content = read_input(image_input)
    except (ImageError, OSError, ValueError):
        return b"unreadable\n"
    return hashlib.sha256(content if isinstance(content, bytes) else content.tobytes()).digest()
