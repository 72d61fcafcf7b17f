"""Good images' patches extracted to a scratch folder, going on where an earlier run stopped."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flawmap.engine.batches import Batch, Batches
from flawmap.errors import DatasetError, ImageError, OptionError, WriteError
from flawmap.memory.scratch import Scratch
from flawmap.memory.scratch_rows import ScratchRows
from flawmap.memory.thin import thin
from flawmap.methods.patchcore_shard import GoodPatches, Thinned
from flawmap.runtime.image_types import ImageInput
from flawmap.runtime.images.decode import UnreadableImage
from flawmap.runtime.images.image_input import read_input
from flawmap.support.tensors import Embedded

_Plan = Callable[[list[Tensor], int, int], int]
"""What was made of the first batch, images done, patches kept before to patches to keep."""

_Embed = Callable[[Batch], list[Tensor]]
"""A batch to the tensors of `Embedded.flatten`."""


def patches_in_scratch(
    scratch: Scratch,
    key: Mapping[str, str],
    batches: Batches,
    embed: _Embed,
    plan: _Plan,
) -> GoodPatches:
    """The patches of all images, in files of the folder; what is there already is not redone.

    Where there is no room for all, each image keeps some of its patches.

    Args:
        scratch: where the vectors go.
        key: what the vectors depend on beside the images and how they are made ready.
        batches: the images.
        embed: makes the vectors of a batch; the same for the same images.
        plan: called with what was made of the first batch, the number of images that are done
            already, and how many patches of an image an earlier run kept (0 for no such run); says
            how many to keep. What it raises ends the extraction before it is long.

    Raises:
        DatasetError: no image could be used.
        OptionError: the folder belongs to another fit.
        WriteError: there is no space.
    """
    scratch.open({**key, **_key_of(batches)})
    extraction = _Extraction(scratch, batches)
    kept = 0
    for batch in extraction.remaining_batches():
        tensors = embed(batch)
        if not kept:
            try:
                kept = plan(tensors, extraction.inputs, extraction.kept)
            except (OptionError, WriteError):
                if extraction.is_empty:
                    scratch.remove()
                raise
        size = batch.images.shape[-2], batch.images.shape[-1]
        extraction.add(tensors, kept, size, is_complete=batch.is_complete)
    return extraction.finish(embed)


class _Extraction:
    """What was extracted so far: the files hold it, and the journal's last entry says how much.

    The first file has the patches' vectors, a row each; the others have a row for each input of the
    network, an image or a tile. Where images are thinned, the second file has the number of each
    input's patches that count.
    """

    def __init__(self, scratch: Scratch, batches: Batches) -> None:
        self._scratch = scratch
        self._batches = batches
        self._done = 0  # of the batches' images, readable or not
        self._whole = 0  # patches of an input before it was thinned
        self.inputs = 0
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
            vectors.truncate(self.inputs * math.prod(self._shapes[0][:2]))
            for rows in others:
                rows.truncate(self.inputs)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was extracted yet."""
        return not self._files

    @property
    def kept(self) -> int:
        """The number of patches that each image keeps; 0 where nothing was extracted yet."""
        return math.prod(self._shapes[0][:2]) if self._shapes else 0

    def remaining_batches(self) -> Iterator[Batch]:
        """The batches that are not in the files yet."""
        return self._batches.after(self._done, self._unreadable, self._image_sizes)

    def add(
        self, tensors: list[Tensor], kept: int, size: tuple[int, int], *, is_complete: bool
    ) -> None:
        """Write a batch, of each input so many patches, then record it where an image ends."""
        self._whole = math.prod(tensors[0].shape[1:3])
        if kept < self._whole:
            tensors = _thin(tensors, kept)
        if not self._files:
            self._size = size
            self._open([tuple(tensor.shape[1:]) for tensor in tensors], tensors[0].dtype)
        for rows, tensor in zip(self._files, tensors, strict=True):
            rows.append(tensor.reshape(-1, rows.shape[1]))
        self.inputs += len(tensors[0])
        if is_complete:
            self._record(self._batches.readable_indices[-1] + 1)

    def finish(self, embed: _Embed) -> GoodPatches:
        """The patches of all images; `embed` makes them once more where they were thinned."""
        if not self._files:
            raise DatasetError("no image could be used, so there is nothing to fit to")
        vectors, *others = self._files
        small = [
            rows[:].reshape(-1, *shape)
            for rows, shape in zip(others, self._shapes[1:], strict=True)
        ]
        rows, columns, _ = self._shapes[0]
        grid = self.inputs, rows, columns
        if self.kept < self._whole:
            (counts,) = small
            again = partial(self._embedded_again, embed)
            thinned = Thinned(int(counts.sum()), self._whole, again)
            is_inside = (torch.arange(rows) < counts).float()
            return GoodPatches(vectors, grid, self._size, inside=is_inside, thinned=thinned)
        _, transforms, inside = Embedded.unflatten(small)
        return GoodPatches(vectors, grid, self._size, transforms, inside)

    def _embedded_again(self, embed: _Embed) -> Iterator[Embedded]:
        """Each input with all its patches, as the first time: by the same batches."""
        count = 0
        for batch in self._batches:
            embedded = Embedded.unflatten(embed(batch))
            count += len(batch.names)
            yield from map(embedded.image, range(len(batch.names)))
        if count != self.inputs:
            raise DatasetError(
                f"{self.inputs} good images could be read at first, and then {count}; fit again "
                "when nothing writes to them"
            )

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
                "inputs": self.inputs,
                "image sizes": new_sizes,
                "size": self._size,
                "patches": self._whole,
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
        self._whole = entry["patches"]
        self.inputs = entry["inputs"]
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


def _thin(tensors: list[Tensor], kept: int) -> list[Tensor]:
    """So many vectors of each image, (image, kept, 1, channel), and how many patches count."""
    (grid,), _, inside = Embedded.unflatten(tensors)
    images, rows, columns, _ = grid.shape
    vectors = grid.flatten(1, 2)
    counts = torch.full((images, 1), float(rows * columns))
    if inside is not None:
        counts = inside.sum(dim=1, keepdim=True)
    chosen = [
        image[thin(image, kept, None if inside is None else inside[index] > 0)]
        for index, image in enumerate(vectors)
    ]
    return [torch.stack(chosen)[:, :, None], counts]


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
