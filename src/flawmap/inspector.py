"""The inspector: learns from good pictures, judges new ones, and is one file."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

import flawmap
from flawmap import bundle
from flawmap.calibration import Calibration
from flawmap.data.layouts import good_to_fit
from flawmap.data.loading import Batches, Unreadable, read_ahead
from flawmap.errors import BundleError, DatasetError, FlawmapError, NotFitted, PictureError
from flawmap.methods import CLASSES, make_method
from flawmap.methods.base import Method
from flawmap.prepare import Photo, Pixels, Preparation, Prepared, read, resize
from flawmap.verdict import Heatmap, Verdict

FEWEST = 2
"""Good pictures to learn from; each is judged by what the others taught."""


class Inspection(NamedTuple):
    """One picture of many, and what came of it: a verdict, or the reason why there is none."""

    photo: Photo
    verdict: Verdict | None
    error: PictureError | None
    pixels: Pixels | None
    milliseconds: float
    """From the prepared picture to the verdict; decoding runs beside it."""


class Inspector:
    """Learns what a good part looks like, and tells where a picture differs.

    Args:
        method: a name among `flawmap.METHODS`, or a method.
        size: of the network's input in pixels: one number for a square, or (height, width).
        false_rejects: the share of good parts that may be rejected, between 0 and 1.
        options: of the method, where it is given by name: `backbone`, `coreset`, `seed`, …

    Example::

        inspector = Inspector("patchcore").fit("good/")
        verdict = inspector.inspect("new.png")
        inspector.save("part.flawmap")

    Attributes:
        unreadable: pictures that `fit` had to leave out, and why.
    """

    def __init__(
        self,
        method: str | Method = "patchcore",
        *,
        size: int | tuple[int, int] = 224,
        false_rejects: float = 0.01,
        **options: Any,
    ) -> None:
        self.method = make_method(method, **options) if isinstance(method, str) else method
        height, width = (size, size) if isinstance(size, int) else size
        self.preparation = Preparation(height, width)
        self.false_rejects = Calibration(np.ones(1), np.ones(1), false_rejects).false_rejects
        self.unreadable: list[Unreadable] = []
        self._calibration: Calibration | None = None

    def fit(self, good: str | Path | Sequence[Photo]) -> Inspector:
        """Learn from good pictures.

        Args:
            good: a folder of them, a data set with `train/good`, a CSV manifest, or the pictures themselves.

        Raises:
            DatasetError: fewer than two pictures can be used.
            WeightsUnavailable: the backbone's weights cannot be had.
        """
        photos = [sample.path for sample in good_to_fit(Path(good))] if isinstance(good, str | Path) else good
        if len(photos) < FEWEST:
            raise DatasetError(
                f"{len(photos)} good picture; {FEWEST} are the fewest to learn from, 100 or more are better"
            )
        network = self.method.network
        self.preparation = replace(self.preparation, mean=network.mean, std=network.std)
        batches = Batches(photos, self.preparation)
        held_out = self.method.fit_held_out(batches)
        self.unreadable = batches.unreadable
        if (usable := len(photos) - len(self.unreadable)) < FEWEST:
            raise DatasetError(f"{usable} of {len(photos)} pictures can be used; {FEWEST} are the fewest to learn from")
        self._calibration = Calibration(held_out.image.numpy(), held_out.peak.numpy(), self.false_rejects)
        return self

    @property
    def calibration(self) -> Calibration:
        """What good parts score, and the threshold that follows.

        Raises:
            NotFitted: nothing was learned yet.
        """
        if self._calibration is None:
            raise NotFitted("the inspector has learned nothing yet; call fit, or Inspector.load a saved one")
        return self._calibration

    def inspect(self, photo: Photo) -> Verdict:
        """Judge one picture.

        Args:
            photo: a path, the bytes of a file, or an array (height, width[, 1 | 3 | 4]) in RGB order.

        Raises:
            PictureError: the picture cannot be used.
            NotFitted: nothing was learned yet.
        """
        pixels = read(photo)
        return self._judge(self.preparation(pixels), pixels)

    def inspect_each(self, photos: Iterable[Photo]) -> Iterator[Inspection]:
        """Judge many pictures, in order; those that cannot be used are among the results with their error."""
        for loaded in read_ahead(photos, self.preparation):
            started = time.perf_counter()
            if isinstance(loaded, Unreadable):
                yield Inspection(loaded.photo, None, loaded.error, None, 0.0)
                continue
            verdict = self._judge(loaded.prepared, loaded.pixels)
            yield Inspection(loaded.photo, verdict, None, loaded.pixels, 1000 * (time.perf_counter() - started))

    def save(self, file: str | Path) -> None:
        """Write all of it into one file; an old file stands until the new one is complete.

        Raises:
            WriteError: it cannot be written.
            NotFitted: nothing was learned yet.
        """
        calibration = self.calibration
        manifest = {
            "version": flawmap.__version__,
            "method": type(self.method).__name__,
            "options": self.method.options(),
            "preparation": self.preparation.to_json(),
            "false_rejects": self.false_rejects,
            "weights": self.method.network.fingerprint(),
        }
        arrays = {_METHOD + name: tensor.numpy() for name, tensor in self.method.state().items()}
        arrays |= {_SCORES: calibration.scores, _PEAKS: calibration.peaks}
        bundle.save(Path(file), manifest, arrays)

    @classmethod
    def load(cls, file: str | Path) -> Inspector:
        """Read a saved inspector.

        Raises:
            BundleError: damaged, not a saved inspector, or from a newer flawmap.
            WeightsMismatch: its memory belongs to other weights than those in it.
        """
        manifest, arrays = bundle.load(Path(file))
        try:
            inspector = cls(CLASSES[manifest["method"]].from_options(manifest["options"]))
            inspector.preparation = Preparation.from_json(manifest["preparation"])
            inspector.false_rejects = manifest["false_rejects"]
            state = {name: torch.from_numpy(arrays[name]) for name in arrays if name.startswith(_METHOD)}
            inspector.method.restore({name.removeprefix(_METHOD): tensor for name, tensor in state.items()})
            inspector._calibration = Calibration(arrays[_SCORES], arrays[_PEAKS], inspector.false_rejects)
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, FlawmapError):
                raise
            raise BundleError(f"{file}: holds no complete inspector ({error!r}); fit again") from error
        return inspector

    def _judge(self, prepared: Prepared, pixels: Pixels) -> Verdict:
        calibration = self.calibration
        scores = self.method.score(torch.from_numpy(prepared[None]))
        score = float(scores.image[0])
        heatmap = self._scale(scores.pixel[0].numpy(), pixels.shape[0], pixels.shape[1])
        return Verdict(score, calibration.p_value(score), calibration.rejects(score), heatmap)

    def _scale(self, distances: np.ndarray, height: int, width: int) -> Heatmap:
        return np.asarray(resize(distances, height, width) / np.float32(self.calibration.limit))


_METHOD = "method."
_SCORES, _PEAKS = "calibration.scores", "calibration.peaks"
