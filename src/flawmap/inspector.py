"""The inspector: learns from good pictures, judges new ones, and is one file."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import flawmap
from flawmap import bundle
from flawmap.calibration import Budget, Calibration
from flawmap.certificate import FITTED, Certificate
from flawmap.data.layouts import GOOD, good_to_fit
from flawmap.data.loading import Batches
from flawmap.data.reading import Unreadable
from flawmap.data.splits import check_unchanged
from flawmap.errors import BundleError, DatasetError, FlawmapError, NotExportable, NotFitted, OptionError, ParityError
from flawmap.features.transfer import Transfer
from flawmap.graph import Graph
from flawmap.methods import CLASSES, make_method, preset_of
from flawmap.methods.base import Method, best_device
from flawmap.prepare import Photo, Pixels, Preparation, Prepared, read
from flawmap.runtime import NO_GRAPH, OF_GRAPH, GraphScorer, Inspection, Runtime, Scored
from flawmap.tuning import Tuning, tune
from flawmap.verdict import Verdict

SIZE = 224
"""Of the network's input where nobody says, in pixels a side."""

FEWEST = 2
"""Good pictures to learn from; each is judged by what the others taught."""

TUNED_ON_ALL = (
    "The backbone was fine-tuned on the same good pictures that set the threshold, so more good parts than promised "
    "may be rejected; calibration_share=0.2 (--calibration-share 0.2) keeps some out of both."
)


class Inspector:
    """Learns what a good part looks like, and tells where a picture differs.

    Args:
        method: a name among `flawmap.METHODS`, or a method.
        name: of the method, where it is not given by name.
        size: of the network's input in pixels: one number for a square, or (height, width); None for the preset's, and
            224 where there is none.
        false_rejects: the share of good parts that may be rejected, between 0 and 1.
        confidence: how sure that shall be of the very threshold, as 0.95; None for the share on average.
        calibration_share: of the good pictures, to be kept out of the memory and only judged (`split`); 0 learns from
            all of them and judges each by a memory without it (`leave-out`), or keeps out a fifth where the method is
            trained, as it cannot be without a picture afterwards.
        transfer: how the backbone is fine-tuned on the parts before anything is learned; None leaves it as it came.
        preset: settings of the method to begin with, where it is given by name: `paper`, `cpu` or `smoke` for methods
            that are trained.
        options: of the method, where it is given by name: `backbone`, `coreset`, `seed`, …

    Example::

        inspector = Inspector("patchcore").fit("good/")
        verdict = inspector.inspect("new.png")
        inspector.save("part.flawmap")

    Attributes:
        unreadable: pictures that `fit` had to leave out, and why.
        tuning: what came of the fine-tuning; None without one.
    """

    def __init__(
        self,
        method: str | Method = "patchcore",
        *,
        name: str = "",
        size: int | tuple[int, int] | None = None,
        false_rejects: float = 0.01,
        confidence: float | None = None,
        calibration_share: float = 0.0,
        transfer: Transfer | None = None,
        preset: str | None = None,
        **options: Any,
    ) -> None:
        self.method = make_method(method, preset, **options) if isinstance(method, str) else method
        if size is None:
            size = preset_of(method, preset).size if preset and isinstance(method, str) else SIZE
        self.name = name or (method if isinstance(method, str) else type(method).__name__)
        height, width = (size, size) if isinstance(size, int) else size
        self.preparation = Preparation(height, width)
        self.budget = Budget(false_rejects, confidence)
        if not 0 <= calibration_share < 1:
            raise OptionError(f"a calibration share of {calibration_share} is not a share; use 0 or more, less than 1")
        self.calibration_share = calibration_share
        self.transfer = transfer
        self.tuning: Tuning | None = None
        self.unreadable: list[Unreadable] = []
        self._runtime: Runtime | None = None
        self._golden: Pixels | None = None
        self._saved_graph: _Graph | None = None

    def fit(
        self,
        good: str | Path | Sequence[Photo],
        groups: Sequence[str] = (),
        *,
        classes: Mapping[str, Sequence[Photo]] | None = None,
        folder: Path | None = None,
    ) -> Inspector:
        """Learn from good pictures.

        Args:
            good: a folder of them, a data set with `train/good`, a CSV manifest, or the pictures themselves. Where a
                manifest names pictures for calibration, they stay out of the memory, whatever `calibration_share` is.
            groups: the lot, day or camera of each picture, where they are given themselves; a manifest names its own.
            classes: what the fine-tuning tells apart, pictures by the name of their class; unless given, the good
                pictures and the same with painted defects.
            folder: for checkpoints and curves of the fine-tuning, or of the method where it is trained, from which the
                same training goes on if it was stopped; see `flawmap.training.Course.run`. Where both happen, those of
                the method are in `method` within.

        Raises:
            DatasetError: fewer than two pictures can be used, or one has changed since the manifest was written.
            WeightsUnavailable: the backbone's weights cannot be had.
        """
        photos: Sequence[Photo] = []
        aside: list[int] = []
        if isinstance(good, str | Path):
            samples = good_to_fit(Path(good))
            check_unchanged(samples)
            photos, groups = [sample.path for sample in samples], [sample.group for sample in samples]
            aside = [place for place, sample in enumerate(samples) if sample.split == "calibration"]
        else:
            photos = good
        if len(photos) < FEWEST:
            raise DatasetError(
                f"{len(photos)} good picture; {FEWEST} are the fewest to learn from, 100 or more are better"
            )
        # One group for all is as good as none.
        groups = groups if len(set(groups)) > 1 else []
        aside = aside or self._set_aside(len(photos), groups)
        if self.transfer:
            unseen = {_identity(photos[place]) for place in aside}
            told = classes or {GOOD: photos}
            taught = {
                name: [one for one in of_class if _identity(one) not in unseen] for name, of_class in told.items()
            }
            self.tuning = tune(self.method, taught, self.transfer, folder)
            if not aside:
                self.method.notes.append(TUNED_ON_ALL)
            folder = folder / "method" if folder else None
        self._learn(photos, groups, aside, folder)
        return self

    @property
    def calibration(self) -> Calibration:
        """What good parts score, and the threshold that follows.

        Raises:
            NotFitted: nothing was learned yet.
        """
        return self.runtime.calibration

    @property
    def runtime(self) -> Runtime:
        """What judges pictures, as `flawmap.load` gives it for a saved inspector; here in torch.

        Raises:
            NotFitted: nothing was learned yet.
        """
        if self._runtime is None:
            raise NotFitted("the inspector has learned nothing yet; call fit, or Inspector.load a saved one")
        return self._runtime

    def inspect(self, photo: Photo) -> Verdict:
        """Judge one picture.

        Args:
            photo: a path, the bytes of a file, or an array (height, width[, 1 | 3 | 4]) in RGB order.

        Raises:
            PictureError: the picture cannot be used.
            NotFitted: nothing was learned yet.
        """
        return self.runtime.inspect(photo)

    def inspect_each(self, photos: Iterable[Photo]) -> Iterator[Inspection]:
        """Judge many pictures, in order; those that cannot be used are among the results with their error."""
        return self.runtime.inspect_each(photos)

    def save(self, file: str | Path) -> None:
        """Write all of it into one file; an old file stands until the new one is complete.

        Raises:
            WriteError: it cannot be written.
            NotFitted: nothing was learned yet.
        """
        calibrated, scores = self.calibration.to_saved()
        graph, no_graph = self._graph()
        arrays = {_METHOD + name: tensor.numpy() for name, tensor in self.method.state().items()}
        bundle.save(Path(file), self._manifest() | calibrated | no_graph, arrays | scores | graph)

    @classmethod
    def load(cls, file: str | Path) -> Inspector:
        """Read a saved inspector.

        Raises:
            BundleError: damaged, not a saved inspector, or from a newer flawmap.
            WeightsMismatch: its memory belongs to other weights than those in it.
        """
        manifest, arrays = bundle.load(Path(file))
        try:
            inspector = cls(CLASSES[manifest["method"]].from_options(manifest["options"]), name=manifest["name"])
            inspector.preparation = Preparation.from_json(manifest["preparation"])
            state = {name: torch.from_numpy(arrays[name]) for name in arrays if name.startswith(_METHOD)}
            inspector.method.restore({name.removeprefix(_METHOD): tensor for name, tensor in state.items()})
            if manifest["tuning"]:
                inspector.tuning = Tuning.from_json(manifest["tuning"])
                inspector.transfer = inspector.tuning.transfer
            inspector._judge_with(Calibration.from_saved(manifest, arrays))
            inspector.budget = inspector.calibration.budget
            inspector._saved_graph = (
                {name: arrays[name] for name in arrays if name.startswith(OF_GRAPH)},
                {name: manifest[name] for name in (NO_GRAPH,) if name in manifest},
            )
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, FlawmapError):
                raise
            raise BundleError(f"{file}: holds no complete inspector ({error!r}); fit again") from error
        return inspector

    def _set_aside(self, count: int, groups: Sequence[str]) -> list[int]:
        """Choose the pictures that stay out of the memory, whole groups where there are some."""
        owners = np.unique(groups or range(count), return_inverse=True)[1]
        shuffled = np.random.default_rng(self.method.seed).permutation(owners.max() + 1)
        chosen = shuffled[: math.ceil((self.calibration_share or self.method.aside) * len(shuffled))]
        return np.flatnonzero(np.isin(owners, chosen)).tolist()

    def _learn(self, photos: Sequence[Photo], groups: Sequence[str], aside: Sequence[int], folder: Path | None) -> None:
        self.preparation = replace(self.preparation, mean=self.method.network.mean, std=self.method.network.std)

        def batches(places: Iterable[int]) -> Batches:
            chosen = list(places)
            named = [groups[place] for place in chosen] if groups else []
            return Batches([photos[place] for place in chosen], self.preparation, groups=named)

        learned = batches(sorted(set(range(len(photos))) - set(aside)))
        judged = batches(aside) if aside else learned
        held_out = self.method.fit(learned, folder).score_all(judged) if aside else self.method.fit_held_out(learned)
        self.unreadable = learned.unreadable + (judged.unreadable if aside else [])
        if (usable := len(learned.read)) < FEWEST:
            raise DatasetError(f"{usable} of {len(photos)} pictures can be used; {FEWEST} are the fewest to learn from")
        if not judged.read:
            raise DatasetError(f"none of the {len(aside)} pictures kept for calibration can be used")
        scores, peaks, named = held_out.image.numpy(), held_out.peak.numpy(), tuple(judged.groups_read)
        self._golden, self._saved_graph = read(photos[learned.read[0]]), None
        self._judge_with(Calibration(scores, peaks, self.budget, exact=bool(aside), groups=named))

    def _judge_with(self, calibration: Calibration) -> None:
        self._runtime = Runtime(self._manifest(), calibration, self._score)

    def _score(self, pictures: Iterable[Prepared], *, many: bool = False) -> Iterator[Scored]:
        del many
        for picture in pictures:
            started = time.perf_counter()
            scores = self.method.score(torch.from_numpy(picture[None]))
            taken = 1000 * (time.perf_counter() - started)
            yield Scored(float(scores.image[0]), scores.pixel[0].numpy(), taken)

    def _manifest(self) -> dict[str, Any]:
        return {
            "version": flawmap.__version__,
            "name": self.name,
            "method": type(self.method).__name__,
            "options": self.method.options(),
            "preparation": self.preparation.to_json(),
            "weights": self.method.network.fingerprint(),
            "tuning": self.tuning.to_json() if self.tuning else None,
        }

    def _graph(self) -> _Graph:
        """Give the scorer as a graph with its certificate, or say why there is none; made once."""
        if self._saved_graph is None:
            try:
                graph = self.method.graph(self.preparation.height, self.preparation.width)
                self._saved_graph = graph.to_saved() | self._certify(graph).to_saved(), {}
            except (NotExportable, ParityError) as error:
                # What was learned is not lost for it.
                self._saved_graph = {}, {NO_GRAPH: str(error)}
                self.method.notes.append(f"{error}. The file needs flawmap[fit] wherever it is used.")
        return self._saved_graph

    def _certify(self, graph: Graph) -> Certificate:
        scorer = self.method.scorer()

        def in_torch(picture: Prepared) -> tuple[float, np.ndarray]:
            with torch.inference_mode():
                scores = scorer(torch.from_numpy(picture[None]).to(best_device()))
            return float(scores.image[0]), scores.pixel[0].cpu().numpy()

        if self._golden is None:
            raise NotFitted("the inspector has learned nothing yet; call fit, or Inspector.load a saved one")
        if self.method.precision == "int8":
            # There is no torch that computes so; what was just made is the measure for other machines.
            return Certificate.issue(self._golden, self.preparation, GraphScorer(graph, "int8").score)
        certificate = Certificate.issue(self._golden, self.preparation, in_torch)
        certificate.check(self.preparation, GraphScorer(graph, "f32").score, FITTED, "the graph just made")
        return certificate


_METHOD = "method."

_Graph = tuple[dict[str, np.ndarray], dict[str, str]]
"""What a saved file keeps of the graph: arrays, and an entry of the manifest where there is none."""


def _identity(photo: Photo) -> object:
    return id(photo) if isinstance(photo, np.ndarray) else photo
