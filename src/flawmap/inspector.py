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

from flawmap._version import __version__
from flawmap.data.layouts import GOOD, good_training_samples
from flawmap.data.splits import check_unchanged
from flawmap.engine.batches import Batches
from flawmap.engine.convert import append_head
from flawmap.engine.run import best_device
from flawmap.errors import BundleError, DatasetError, FlawmapError, NotExportable, NotFitted, OptionError, ParityError
from flawmap.finetune.config import FineTuneConfig
from flawmap.finetune.record import FineTuneRecord
from flawmap.finetune.trainer import fine_tune
from flawmap.methods import CLASSES, get_preset, make_method
from flawmap.methods.base import Method
from flawmap.runtime import bundle
from flawmap.runtime.calibration import Budget, Calibration
from flawmap.runtime.certificate import TORCH_TOLERANCE, Certificate
from flawmap.runtime.decode import UnreadableImage, decode
from flawmap.runtime.graph import Graph
from flawmap.runtime.inference import GRAPH_PREFIXES, NO_GRAPH_KEY, GraphBackend, Inspection, Runtime, ScoredImage
from flawmap.runtime.preprocess import ImageArray, ImageInput, Preprocessed, Preprocessing
from flawmap.runtime.verdict import Verdict

DEFAULT_SIZE = 224
"""Of the network's input where nobody says, in pixels a side."""

MIN_GOOD_IMAGES = 2
"""Good pictures to learn from; each is judged by what the others taught."""

FINETUNED_ON_ALL = (
    "The backbone was fine-tuned on the same good pictures that set the threshold, so more good parts than promised "
    "may be rejected; calibration_fraction=0.2 (--calibration-fraction 0.2) keeps some out of both."
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
        calibration_fraction: of the good pictures, to be kept out of the memory and only judged (`split`); 0 learns from
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
        calibration_fraction: float = 0.0,
        finetune: FineTuneConfig | None = None,
        preset: str | None = None,
        **options: Any,
    ) -> None:
        self.method = make_method(method, preset, **options) if isinstance(method, str) else method
        if size is None:
            size = get_preset(method, preset).size if preset and isinstance(method, str) else DEFAULT_SIZE
        self.name = name or (method if isinstance(method, str) else type(method).__name__)
        height, width = (size, size) if isinstance(size, int) else size
        self.preprocessing = Preprocessing(height, width)
        self.budget = Budget(false_rejects, confidence)
        if not 0 <= calibration_fraction < 1:
            raise OptionError(f"a calibration share of {calibration_fraction} is not a share; use 0 or more, less than 1")
        self.calibration_fraction = calibration_fraction
        self.finetune = finetune
        self.finetune_record: FineTuneRecord | None = None
        self.unreadable: list[UnreadableImage] = []
        self._runtime: Runtime | None = None
        self._golden: ImageArray | None = None
        self._saved_graph: _Graph | None = None

    def fit(
        self,
        source: str | Path | Sequence[ImageInput],
        groups: Sequence[str] = (),
        *,
        finetune_classes: Mapping[str, Sequence[ImageInput]] | None = None,
        checkpoint_dir: Path | None = None,
    ) -> Inspector:
        """Learn from good pictures.

        Args:
            good: a folder of them, a data set with `train/good`, a CSV manifest, or the pictures themselves. Where a
                manifest names pictures for calibration, they stay out of the memory, whatever `calibration_fraction` is.
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
        image_inputs: Sequence[ImageInput] = []
        aside: list[int] = []
        if isinstance(source, str | Path):
            samples = good_training_samples(Path(source))
            check_unchanged(samples)
            image_inputs, groups = [sample.path for sample in samples], [sample.group for sample in samples]
            aside = [place for place, sample in enumerate(samples) if sample.split == "calibration"]
        else:
            image_inputs = source
        if len(image_inputs) < MIN_GOOD_IMAGES:
            raise DatasetError(
                f"{len(image_inputs)} good picture; {MIN_GOOD_IMAGES} are the fewest to learn from, 100 or more are better"
            )
        # One group for all is as good as none.
        groups = groups if len(set(groups)) > 1 else []
        aside = aside or self._set_aside(len(image_inputs), groups)
        if self.finetune:
            unseen = {_identity(image_inputs[place]) for place in aside}
            told = finetune_classes or {GOOD: image_inputs}
            taught = {
                name: [one for one in of_class if _identity(one) not in unseen] for name, of_class in told.items()
            }
            self.finetune_record = fine_tune(self.method, taught, self.finetune, checkpoint_dir)
            if not aside:
                self.method.notes.append(FINETUNED_ON_ALL)
            checkpoint_dir = checkpoint_dir / "method" if checkpoint_dir else None
        self._learn(image_inputs, groups, aside, checkpoint_dir)
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

    def inspect(self, image_input: ImageInput) -> Verdict:
        """Judge one picture.

        Args:
            photo: a path, the bytes of a file, or an array (height, width[, 1 | 3 | 4]) in RGB order.

        Raises:
            ImageError: the picture cannot be used.
            NotFitted: nothing was learned yet.
        """
        return self.runtime.inspect(image_input)

    def inspect_many(self, image_inputs: Iterable[ImageInput]) -> Iterator[Inspection]:
        """Judge many pictures, in order; those that cannot be used are among the results with their error."""
        return self.runtime.inspect_many(image_inputs)

    def save(self, file: str | Path) -> None:
        """Write all of it into one file; an old file stands until the new one is complete.

        Raises:
            WriteError: it cannot be written.
            NotFitted: nothing was learned yet.
        """
        calibrated, scores = self.calibration.to_arrays()
        graph, no_graph = self._graph()
        arrays = {_METHOD + name: tensor.numpy() for name, tensor in self.method.state_dict().items()}
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
            inspector.preprocessing = Preprocessing.from_dict(manifest["preprocessing"])
            state = {name: torch.from_numpy(arrays[name]) for name in arrays if name.startswith(_METHOD)}
            inspector.method.load_state_dict({name.removeprefix(_METHOD): tensor for name, tensor in state.items()})
            if manifest["finetuning"]:
                inspector.finetune_record = FineTuneRecord.from_dict(manifest["finetuning"])
                inspector.finetune = inspector.finetune_record.config
            inspector._judge_with(Calibration.from_arrays(manifest, arrays))
            inspector.budget = inspector.calibration.budget
            inspector._saved_graph = (
                {name: arrays[name] for name in arrays if name.startswith(GRAPH_PREFIXES)},
                {name: manifest[name] for name in (NO_GRAPH_KEY,) if name in manifest},
            )
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, FlawmapError):
                raise
            raise BundleError(f"{file}: holds no complete inspector ({error!r}); fit again") from error
        return inspector

    def _set_aside(self, count: int, groups: Sequence[str]) -> list[int]:
        """Choose the pictures that stay out of the memory, whole groups where there are some."""
        group_ids = np.unique(groups or range(count), return_inverse=True)[1]
        shuffled = np.random.default_rng(self.method.seed).permutation(group_ids.max() + 1)
        chosen = shuffled[: math.ceil((self.calibration_fraction or self.method.holdout_fraction) * len(shuffled))]
        return np.flatnonzero(np.isin(group_ids, chosen)).tolist()

    def _learn(self, image_inputs: Sequence[ImageInput], groups: Sequence[str], aside: Sequence[int], checkpoint_dir: Path | None) -> None:
        self.preprocessing = replace(self.preprocessing, mean=self.method.feature_extractor.mean, std=self.method.feature_extractor.std)

        def batches(places: Iterable[int]) -> Batches:
            chosen = list(places)
            named = [groups[place] for place in chosen] if groups else []
            return Batches([image_inputs[place] for place in chosen], self.preprocessing, groups=named)

        learned = batches(sorted(set(range(len(image_inputs))) - set(aside)))
        judged = batches(aside) if aside else learned
        held_out = self.method.fit(learned, checkpoint_dir).score_batches(judged) if aside else self.method.cross_fit_scores(learned)
        self.unreadable = learned.unreadable + (judged.unreadable if aside else [])
        if (usable := len(learned.readable_indices)) < MIN_GOOD_IMAGES:
            raise DatasetError(f"{usable} of {len(image_inputs)} pictures can be used; {MIN_GOOD_IMAGES} are the fewest to learn from")
        if not judged.readable_indices:
            raise DatasetError(f"none of the {len(aside)} pictures kept for calibration can be used")
        scores, peaks, named = held_out.image.numpy(), held_out.peak.numpy(), tuple(judged.readable_groups)
        self._golden, self._saved_graph = decode(image_inputs[learned.readable_indices[0]]), None
        self._judge_with(Calibration(scores, peaks, self.budget, exact=bool(aside), groups=named))

    def _judge_with(self, calibration: Calibration) -> None:
        self._runtime = Runtime(self._manifest(), calibration, self._score)

    def _score(self, images: Iterable[Preprocessed], *, many: bool = False) -> Iterator[ScoredImage]:
        del many
        for image in images:
            started = time.perf_counter()
            scores = self.method.score(torch.from_numpy(image[None]))
            taken = 1000 * (time.perf_counter() - started)
            yield ScoredImage(float(scores.image[0]), scores.pixel[0].numpy(), taken)

    def _manifest(self) -> dict[str, Any]:
        return {
            "version": __version__,
            "name": self.name,
            "method": type(self.method).__name__,
            "options": self.method.options(),
            "preprocessing": self.preprocessing.to_dict(),
            "weights": self.method.feature_extractor.fingerprint(),
            "finetuning": self.finetune_record.to_dict() if self.finetune_record else None,
        }

    def _graph(self) -> _Graph:
        """Give the scorer as a graph with its certificate, or say why there is none; made once."""
        if self._saved_graph is None:
            try:
                size = self.preprocessing.height, self.preprocessing.width
                head = self.method.exportable_head()
                graph = append_head(self.method.encoder_runner.graph(*size), head, *size)
                self._saved_graph = graph.to_arrays() | self._certify(graph).to_arrays(), {}
            except (NotExportable, ParityError) as error:
                # What was learned is not lost for it.
                self._saved_graph = {}, {NO_GRAPH_KEY: str(error)}
                self.method.notes.append(f"{error}. The file needs flawmap[fit] wherever it is used.")
        return self._saved_graph

    def _certify(self, graph: Graph) -> Certificate:
        scorer = self.method.scoring_module()

        def in_torch(image: Preprocessed) -> tuple[float, np.ndarray]:
            with torch.inference_mode():
                scores = scorer(torch.from_numpy(image[None]).to(best_device()))
            return float(scores.image[0]), scores.pixel[0].cpu().numpy()

        if self._golden is None:
            raise NotFitted("the inspector has learned nothing yet; call fit, or Inspector.load a saved one")
        if self.method.precision == "int8":
            # There is no torch that computes so; what was just made is the measure for other machines.
            return Certificate.issue(self._golden, self.preprocessing, GraphBackend(graph, "int8").score)
        certificate = Certificate.issue(self._golden, self.preprocessing, in_torch)
        certificate.check(self.preprocessing, GraphBackend(graph, "f32").score, TORCH_TOLERANCE, "the graph just made")
        return certificate


_METHOD = "method."

_Graph = tuple[dict[str, np.ndarray], dict[str, str]]
"""What a saved file keeps of the graph: arrays, and an entry of the manifest where there is none."""


def _identity(image_input: ImageInput) -> object:
    return id(image_input) if isinstance(image_input, np.ndarray) else image_input
