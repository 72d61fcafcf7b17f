"""The inspector: is fitted to good images, inspects new ones, and is saved as one file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any

from flawmap.data.auto_mask import ChosenMask
from flawmap.data.auto_size import AutoSize, ChosenSize, InputSize
from flawmap.data.part_mask import MaskInput, choose_mask, read_part_mask
from flawmap.data.tile_size import TileSize
from flawmap.data.training_set import TrainingSet
from flawmap.data.zone_file import (
    ZoneInput,
    check_budgets,
    choose_zones,
    read_zones,
    zone_names,
)
from flawmap.engine.backend import TorchBackend
from flawmap.errors import NotFitted, OptionError
from flawmap.finetune.config import FineTuneConfig
from flawmap.finetune.record import FineTuneRecord
from flawmap.finetune.trainer import fine_tune
from flawmap.methods import saved_method
from flawmap.methods.base import Method
from flawmap.methods.calibrated_fit import fit_and_calibrate
from flawmap.methods.chosen_method import choose_method
from flawmap.methods.input_size import (
    check_masked,
    check_one_stride,
    choose_size,
    make_preprocessing,
    sides_of,
)
from flawmap.methods.tiled_method import patch_scoring_of, score_function
from flawmap.runtime import bundle
from flawmap.runtime.bundle import Bundle, Manifest
from flawmap.runtime.calibration import Budget, Calibration, CalibrationSettings, ZoneBudget
from flawmap.runtime.image_types import ImageInput
from flawmap.runtime.images.decode import UnreadableImage, file_sha256
from flawmap.runtime.inference import Inspection, Runtime
from flawmap.runtime.preprocess import Preprocessing
from flawmap.runtime.saved_bytes import as_path
from flawmap.runtime.verdict import Verdict
from flawmap.runtime.zone_calibration import calibration_from_arrays
from flawmap.runtime.zones import Zones
from flawmap.support.options import is_number

_DEFAULT_SIZE = 224
"""Side of the network's input in pixels, where neither `size` nor `preset` names one."""

_FINETUNED_ON_ALL = (
    "The backbone was fine-tuned on the same good images that set the threshold, so more good "
    "parts than guaranteed may be rejected; a calibration fraction of 0.2 keeps some out of both."
)

_NOT_FITTED = "the inspector is not fitted yet; call fit, or Inspector.load a saved one"


class Inspector:
    """Is fitted to images of good parts, and shows where a new image differs.

    Args:
        method: a name among `flawmap.METHODS`, or a method.
        size: size of the network's input in pixels: one number for a square, or (height, width);
            or `AutoSize(pixels)`, for the aspect of the good images, or `TileSize(pixels)`, which
            cuts images into tiles. None for the preset's size, and 224 where there is none.
        false_rejects: budget: fraction of the good parts that may be rejected, 0…1 exclusive.
        confidence: probability that the threshold keeps to that budget, 0…1 exclusive, such as
            0.95; None for a budget that is kept on average.
        calibration_fraction: fraction of the good images, 0…1, 1 exclusive, that the method is not
            fitted to and that only set the threshold (split). 0 fits to all images and scores each
            as if it had not been among them (leave-out); a trained method, which cannot, then
            holds out a fifth.
        finetune: how the backbone is fine-tuned before the method is fitted; None: not at all.
        preset: settings of a method given by name that belong together; None for its default.
        white: the level of white in images of 16 bits, such as 4095 for a camera of 12 bits; None
            for 65535. It is saved with the inspector.
        mask: which parts of an image count, with a method that masks padding: the path of an image
            file, in which black does not count; an array (height, width), in which 0 does not; or
            `auto`, to find the part against its background in the good images. It is for images
            of its own aspect, in any size, and saved with the inspector. None for all.
        zones: named parts of an image, each with a threshold by a budget of its own, with a method
            that has a bank of patches and masks padding: the path of a JSON file of LabelMe or
            COCO, whose polygons of one name are one zone; or of an image file in which each colour
            but black is a zone. What counts and is in none is the zone `elsewhere`. They are for
            images of their own aspect, and saved with the inspector. None for one score an image.
        zone_budgets: fraction of the good parts that each zone may reject, by its name; without
            one, `false_rejects`.
        options: options of a method given by name: `backbone`, `coreset`, `seed`, …

    Raises:
        OptionError: no such method, preset or option, a value out of its range, a mask that the
            method or the fine-tuning cannot heed, or zones that overlap or that it cannot score.
        ImageError: the mask or the zones cannot be read.

    Attributes:
        method: the method, with all its options.
        name: name of the method, for messages and records.
        budget: which fraction of good parts may be rejected.
        size: of the network's input, as it was given.
        chosen_size: the size that `fit` chose and why, where `size` is an `AutoSize`, a `TileSize`
            or not one of whole patches of a transformer; else None.
        unreadable: images that `fit` skipped, and why.
        white: the level of white in images of 16 bits; None for 65535.
        mask: as it was given, or `auto`; None for none.
        chosen_mask: the mask that `fit` used and how it came about; None without one.
        zones: as they were given, without what is in none; None for none.
        zone_budgets: of those that were given one, by name.
        chosen_zones: those that `fit` used, `elsewhere` among them where it is; None without.
        depth_hint: what to do about images of `fit` whose values use fewer bits than they have;
            empty where none does.
        finetune_record: what the fine-tuning did; None without one.
        tuning: how the settings were chosen for the part, as `TuningRecord.to_dict` gives it; None
            where they were given. It is saved with the inspector.

    Example:
        >>> good = [np.full((64, 64, 3), level, np.uint8) for level in (100, 110, 120, 130)]
        >>> inspector = Inspector("patchcore", size=64, coreset=1.0).fit(good)
        >>> inspector.inspect(np.zeros((64, 64, 3), np.uint8)).reject
        True
    """

    def __init__(
        self,
        method: str | Method = "flawmap",
        *,
        size: InputSize | None = None,
        false_rejects: float = 0.01,
        confidence: float | None = None,
        calibration_fraction: float = 0.0,
        finetune: FineTuneConfig | None = None,
        preset: str | None = None,
        white: int | None = None,
        mask: MaskInput | None = None,
        zones: ZoneInput | None = None,
        zone_budgets: Mapping[str, float] | None = None,
        **options: Any,
    ) -> None:
        self.method, self.name, preset_size = choose_method(method, preset, options)
        size = preset_size if size is None else size
        self.size = _DEFAULT_SIZE if size is None else size
        self.chosen_size: ChosenSize | None = None
        if isinstance(self.size, TileSize):
            # A method that cannot score tiles is refused at once.
            patch_scoring_of(self.method, is_tiled=True)
        elif not isinstance(self.size, AutoSize):
            Preprocessing(*sides_of(self.size))  # A size that cannot be is refused at once.
        Preprocessing(white=white)
        self.white = white
        self.mask = None if mask is None else read_part_mask(mask)
        self.chosen_mask: ChosenMask | None = None
        if self.mask is not None:
            check_masked(self.method, is_fine_tuned=finetune is not None)
        self.budget = Budget(false_rejects, confidence)
        self._set_zones(zones, zone_budgets or {})
        if not (is_number(calibration_fraction) and 0 <= calibration_fraction < 1):
            message = (
                f"calibration_fraction is {calibration_fraction!r}; use 0 or more, less than 1"
            )
            raise OptionError(message)
        self.calibration_fraction = calibration_fraction
        self.finetune = finetune
        self.finetune_record: FineTuneRecord | None = None
        self.tuning: dict[str, Any] | None = None
        self.unreadable: list[UnreadableImage] = []
        self.depth_hint = ""
        self._runtime: Runtime | None = None
        self._graph: Callable[[], saved_method.SavedGraph]
        self._fitted_images = 0
        self._file_hashes: frozenset[str] = frozenset()
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """How images are made ready for the network; the first use builds the backbone.

        Raises:
            NotFitted: the good images choose the size or the mask, and `fit` was not called yet.
            OptionError: timm has no such backbone, the size cannot be letterboxed, or tiles or
                zones with layers of several strides.
            WeightsUnavailable: the backbone's weights cannot be had.
        """
        sides = sides_of(self.chosen_size or self.size)
        overlap = self.chosen_size.tile_overlap if self.chosen_size else None
        mask = self.mask if self.chosen_mask is None else self.chosen_mask.mask
        if isinstance(mask, str):
            raise NotFitted("the good images choose the mask (auto); call fit first")
        if self.zones is not None and self.chosen_zones is None:
            raise NotFitted("the good images choose what is in no region; call fit first")
        preprocessing = make_preprocessing(self.method, *sides, overlap)
        if preprocessing.tile_overlap is not None or self.zones is not None:
            check_one_stride(self.method)
        return replace(preprocessing, white=self.white, mask=mask, zones=self.chosen_zones)

    def fit(
        self,
        source: str | Path | TrainingSet | Sequence[ImageInput],
        groups: Sequence[str] = (),
        *,
        finetune_classes: Mapping[str, Sequence[ImageInput]] | None = None,
        checkpoint_dir: Path | None = None,
        memory: int | None = None,
    ) -> Inspector:
        """Fit to good images, and set the threshold.

        Args:
            source: a folder of good images, a data set with `train/good`, a CSV manifest, a
                `TrainingSet` of them, or the images themselves. Images that a manifest names for
                calibration are held out, whatever `calibration_fraction` is.
            groups: the lot, day or camera of each image, where `source` are the images; a manifest
                names its own. Images of one group are held out together.
            finetune_classes: images by the name of their class, which the fine-tuning tells apart;
                None for the good images against the same with painted defects.
            checkpoint_dir: folder for checkpoints and curves of the fine-tuning, or of a method
                that is trained; a stopped training resumes from there. Where both are trained, the
                method's are in its subfolder `method`. None keeps nothing.
            memory: most resident memory of this process in bytes; vectors of good images are then
                kept in half precision, in a file in `checkpoint_dir`, until the inspector is saved.
                None for no limit.

        Returns:
            The inspector itself.

        Raises:
            DatasetError: too few images can be read, or one has changed since its manifest.
            OptionError: the method cannot keep to `memory`, or it is less than the least possible;
                or the mask or the zones have another aspect than the images.
            WeightsUnavailable: the backbone's weights cannot be had.
            WriteError: with `memory`, the disk has no room for vectors of good images.
        """
        if isinstance(source, TrainingSet):
            training_set = source
        elif isinstance(source, str | Path):
            training_set = TrainingSet.of(Path(source))
        else:
            training_set = TrainingSet.of_images(source, groups)
        fraction = self.calibration_fraction or self.method.holdout_fraction
        training_set = training_set.hold_out(fraction, seed=self.method.seed)
        if isinstance(self.size, AutoSize | TileSize) or self.mask or self.zones:
            self.__dict__.pop("preprocessing", None)  # of an earlier fit
        if self.mask is not None:
            images = training_set.training.images
            self.chosen_mask = choose_mask(self.mask, images, self.white)
        self._choose_zones(training_set.training.images)
        self.chosen_size = choose_size(self.method, self.size, training_set.training.images)
        if self.finetune:
            classes = training_set.images_by_class(finetune_classes)
            self._fine_tune(self.finetune, classes, checkpoint_dir)
            if not training_set.held_out:
                self.method.notes.append(_FINETUNED_ON_ALL)
            checkpoint_dir = checkpoint_dir / "method" if checkpoint_dir else None
        if memory is not None:
            self.method.limit_memory(memory, checkpoint_dir or self._temporary_folder())
        fitted = fit_and_calibrate(
            self.method, training_set, self.preprocessing, self._budgets, checkpoint_dir
        )
        self.unreadable = fitted.unreadable
        self.depth_hint = fitted.depth_hint
        self._fitted_images = fitted.fitted_images
        self._file_hashes = fitted.file_hashes | self._class_hashes(finetune_classes or {})
        self._graph = cache(
            partial(saved_method.make_graph, self.method, fitted.golden, self.preprocessing)
        )
        backend = TorchBackend(score_function(self.method, self.preprocessing))
        self._runtime = Runtime(self._manifest(fitted.calibration), fitted.calibration, backend)
        return self

    @property
    def calibration(self) -> Calibration:
        """The scores of held-out good images, and the threshold that follows.

        Raises:
            NotFitted: `fit` was not called yet.
        """
        return self.runtime.calibration

    @property
    def runtime(self) -> Runtime:
        """The runtime that inspects, like that of `flawmap.load` but in torch.

        Raises:
            NotFitted: `fit` was not called yet.
        """
        if self._runtime is None:
            raise NotFitted(_NOT_FITTED)
        return self._runtime

    def inspect(self, image_input: ImageInput) -> Verdict:
        """Inspect one image.

        Args:
            image_input: a path, the bytes of a file, an open file, an array (height, width
                [, 1 | 3 | 4]) in RGB order, a Pillow image or a torch tensor; see `decode`.

        Returns:
            Score, p-value, verdict and heat map, in the image's own size.

        Raises:
            ImageError: the image cannot be used.
            NotFitted: `fit` was not called yet.
        """
        return self.runtime.inspect(image_input)

    def inspect_many(self, image_inputs: Iterable[ImageInput]) -> Iterator[Inspection]:
        """Inspect many images, in order.

        Args:
            image_inputs: images as `inspect` takes them, decoded ahead.

        Returns:
            One inspection for each; that of an image that cannot be used holds its error.

        Raises:
            NotFitted: `fit` was not called yet.
        """
        return self.runtime.inspect_many(image_inputs)

    def save(self, file: str | Path) -> None:
        """Save the inspector as one file; an old file stays until the new one is complete.

        Args:
            file: its path, by custom with the suffix `.flawmap`.

        Raises:
            WriteError: the file cannot be written.
            NotFitted: `fit` was not called yet.
        """
        self.write(file)

    def write(self, file: str | Path) -> Bundle:
        """Save the inspector as `save` does, for who needs to know what is in the file.

        Args:
            file: its path.

        Returns:
            What the file holds; to read it again would take twice its size of memory.

        Raises:
            WriteError: the file cannot be written.
            NotFitted: `fit` was not called yet.
        """
        calibration = self.calibration
        graph = self._graph()
        arrays = saved_method.method_to_arrays(self.method) | calibration.to_arrays() | graph.arrays
        manifest = self._manifest(calibration, graph.missing_reason)
        saved = bundle.save(Path(file), manifest, arrays)
        self.method.forget_scratch()
        return saved

    @classmethod
    def load(cls, file: str | Path) -> Inspector:
        """Load a saved inspector, which runs in torch.

        Args:
            file: what `save` or `flawmap fit` wrote.

        Raises:
            BundleError: the file is damaged, no saved inspector, or of another format.
            WeightsMismatch: what was fitted belongs to other weights than those in the file.
        """
        manifest, arrays, sha256 = bundle.load(as_path(file))
        with bundle.refusals_named(file):
            inspector = cls(saved_method.method_from_arrays(manifest, arrays))
            calibration = calibration_from_arrays(manifest.calibration, arrays)
        inspector.name = manifest.method_name
        inspector.budget = calibration.budget
        inspector.preprocessing = manifest.preprocessing
        inspector.white = manifest.preprocessing.white
        inspector.mask = manifest.preprocessing.mask
        inspector.zones = inspector.chosen_zones = manifest.preprocessing.zones
        inspector.zone_budgets = {
            zone.name: zone.budget.false_rejects for zone in manifest.calibration.zones
        }
        if manifest.finetuning:
            inspector.finetune_record = FineTuneRecord.from_dict(manifest.finetuning)
            inspector.finetune = inspector.finetune_record.config
        inspector.tuning = manifest.tuning
        inspector._fitted_images = manifest.fitted_images
        inspector._file_hashes = frozenset(manifest.fitted_sha256)
        inspector._graph = partial(saved_method.saved_graph, manifest, arrays)
        inspector._runtime = Runtime(
            manifest,
            calibration,
            TorchBackend(score_function(inspector.method, manifest.preprocessing)),
            model_sha256=sha256,
            scorer_sha256=manifest.scorer_sha256,
        )
        return inspector

    def _set_zones(self, zones: ZoneInput | None, budgets: Mapping[str, float]) -> None:
        self.zones = None if zones is None else read_zones(zones)
        self.zone_budgets = dict(budgets)
        self.chosen_zones: Zones | None = None
        if self.zones is None:
            if budgets:
                raise OptionError(f"budgets for regions {', '.join(budgets)} without regions")
            return
        check_budgets(budgets, zone_names(self.zones))
        for fraction in budgets.values():
            Budget(fraction)  # One that cannot be is refused at once.
        patch_scoring_of(self.method, is_tiled=isinstance(self.size, TileSize))

    def _choose_zones(self, images: Sequence[ImageInput]) -> None:
        if self.zones is None:
            return
        mask = self.chosen_mask.mask if self.chosen_mask else None
        self.chosen_zones = choose_zones(self.zones, mask, images, self.white)
        check_budgets(self.zone_budgets, self.chosen_zones.names)

    @property
    def _budgets(self) -> CalibrationSettings:
        """The budget of an image, and those of its zones."""
        names = self.chosen_zones.names if self.chosen_zones else ()
        zones = tuple(
            ZoneBudget(
                name,
                Budget(
                    self.zone_budgets.get(name, self.budget.false_rejects), self.budget.confidence
                ),
            )
            for name in names
        )
        return CalibrationSettings(self.budget, zones=zones)

    def _fine_tune(
        self, config: FineTuneConfig, classes: dict[str, list[ImageInput]], folder: Path | None
    ) -> None:
        method = self.method
        method.feature_extractor, self.finetune_record = fine_tune(
            method.backbone_spec,
            classes,
            config,
            seed=method.seed,
            white=self.white,
            checkpoint_dir=folder,
        )

    def _class_hashes(self, classes: Mapping[str, Sequence[ImageInput]]) -> set[str]:
        """SHA-256 of the image files of classes that the backbone was fine-tuned on."""
        if not self.finetune:
            return set()
        return set(map(file_sha256, chain(*classes.values()))) - {""}

    def _temporary_folder(self) -> Path:
        """A folder that goes with this inspector."""
        folder = tempfile.TemporaryDirectory(prefix="flawmap-", ignore_cleanup_errors=True)
        self._temporary = folder
        return Path(folder.name)

    def _manifest(self, calibration: Calibration, no_graph_reason: str = "") -> Manifest:
        manifest = saved_method.make_manifest(
            self.method,
            self.name,
            preprocessing=self.preprocessing,
            fitted_images=self._fitted_images,
            calibration=calibration.settings,
            finetuning=self.finetune_record.to_dict() if self.finetune_record else None,
            no_graph_reason=no_graph_reason,
            file_hashes=self._file_hashes,
        )
        return replace(manifest, tuning=self.tuning)
