"""Fine-tune a method's backbone before the method learns: the training, what is left on disk, and its record."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors

from flawmap.data.lessons import Lessons
from flawmap.data.splits import sha256_of
from flawmap.errors import DatasetError, OptionError, WriteError
from flawmap.features.backbone import Backbone
from flawmap.features.transfer import Progress, Transfer, begin, train
from flawmap.files import write_aside
from flawmap.methods.base import Method, best_device
from flawmap.options import from_json, to_json
from flawmap.output import write_json
from flawmap.prepare import Photo, Preparation
from flawmap.progress import Epoch, tell
from flawmap.render.curves import draw_curves

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

CHECKPOINT, HISTORY, CURVES = "checkpoint.safetensors", "history.json", "curves.png"
"""What a training leaves in its folder, beside TensorBoard's own files."""


@dataclass(frozen=True)
class Tuning:
    """The record of a fine-tuning, as the saved inspector keeps it.

    Args:
        transfer: its settings.
        classes: how many pictures were trained on and checked with, by the name of their class.
        history: what came of each epoch.
        held_out: SHA-256 of the files of a test set that it was taught with; they can test nothing any more.
    """

    transfer: Transfer
    classes: dict[str, int]
    history: list[Epoch] = field(default_factory=list)
    held_out: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Say it in JSON; `Tuning.from_json` reads it back."""
        own = {"transfer": to_json(self.transfer), "classes": self.classes, "held_out": self.held_out}
        return own | {"history": [epoch._asdict() for epoch in self.history]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Tuning:
        """Read what `to_json` said."""
        history = [Epoch(**epoch) for epoch in values["history"]]
        return cls(from_json(values["transfer"], Transfer), values["classes"], history, values["held_out"])


def tune(
    method: Method, classes: Mapping[str, Sequence[Photo]], transfer: Transfer, folder: Path | None = None
) -> Tuning:
    """Fine-tune the backbone of a method that has not learned yet; the method then has the tuned one.

    Args:
        method: its seed is the training's.
        classes: pictures by the name of their class. One class, of good pictures, is set against itself with painted
            defects.
        transfer: the settings.
        folder: for a checkpoint after each epoch, from which the same training goes on if it was stopped, and for the
            figures: `history.json`, `curves.png` and TensorBoard's files. None keeps nothing.

    Raises:
        DatasetError: nothing to tell apart, or too few pictures.
        OptionError: settings that this backbone cannot have.
        TrainingError: the loss became infinite or no number.
        WriteError: the folder cannot be written; what was there before still is.
    """
    if transfer.mode != "synthetic" and len(classes) < 2:
        raise DatasetError(
            f"fine-tuning by {transfer.mode} tells classes apart and got {', '.join(classes) or 'none'}; give two or "
            "more, or use synthetic, which needs only good pictures"
        )
    backbone = _with_head(method, transfer)
    preparation = Preparation(transfer.size, transfer.size, backbone.mean, backbone.std)
    batch, rotation, kinds = transfer.batch, transfer.rotation, transfer.kinds
    lessons = Lessons(classes, preparation, batch=batch, rotation=rotation, kinds=kinds, seed=method.seed)
    progress = begin(backbone, len(lessons.names), transfer, method.seed)
    counts = {name: len(photos) for name, photos in classes.items()}
    record = Tuning(transfer, counts, progress.history, _held_out(classes) if transfer.mode == "heldout" else [])
    if folder is None:
        deque(train(progress, lessons), maxlen=0)
    else:
        _train_in(folder, progress, lessons, record)
    method.network = Backbone(method.backbone, method.layers, backbone.weights()).to(best_device())
    return record


def _with_head(method: Method, transfer: Transfer) -> Backbone:
    """Build the backbone anew, with the layer that the classifier sits on."""
    head = transfer.head or max(method.layers)
    if head < max(method.layers):
        raise OptionError(f"a head on layer {head} would leave layer {max(method.layers)} untaught; use that or deeper")
    return Backbone(method.backbone, (*method.layers, head), method.weights).to(best_device())


def _held_out(classes: Mapping[str, Sequence[Photo]]) -> list[str]:
    paths = [Path(one) for photos in classes.values() for one in photos if isinstance(one, str | PathLike)]
    return sorted(map(sha256_of, paths))


def _train_in(folder: Path, progress: Progress, lessons: Lessons, record: Tuning) -> None:
    checkpoint, key = folder / CHECKPOINT, _key(progress, lessons)
    _go_on(progress, checkpoint, key)
    with _tensorboard(folder, len(progress.history)) as writer, _saying_where_it_stopped(progress):
        for epoch in train(progress, lessons):
            with write_aside(checkpoint) as stream:
                metadata = {"key": key, "history": json.dumps(record.to_json()["history"])}
                stream.write(to_safetensors(progress.state(), metadata))
            write_json(folder / HISTORY, record.to_json())
            with write_aside(folder / CURVES) as stream:
                stream.write(draw_curves(record.to_json()["history"]))
            for name in ("loss", "accuracy"):
                both = {"train": getattr(epoch, name), "validation": getattr(epoch, f"validation_{name}")}
                for which, value in both.items():
                    writer.add_scalar(f"{name}/{which}", value, epoch.number)
            writer.flush()


def _key(progress: Progress, lessons: Lessons) -> str:
    """Say in one hash what a training is about; how long it goes on is no part of it."""
    settings = replace(progress.transfer, epochs=1)
    about = (settings, lessons.fingerprint(), progress.classifier.backbone.fingerprint())
    return hashlib.sha256(repr(about).encode()).hexdigest()


def _go_on(progress: Progress, checkpoint: Path, key: str) -> None:
    """Take up a training where it was stopped; one of other settings, or one that went on for longer, is not it."""
    if not checkpoint.exists():
        return
    try:
        with safe_open(checkpoint, "pt") as saved:
            metadata = saved.metadata() or {}
            state = {name: saved.get_tensor(name) for name in saved.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        tell(f"{checkpoint} cannot be read ({error}); the fine-tuning begins anew")
        return
    history = [Epoch(**epoch) for epoch in json.loads(metadata.get("history", "[]"))]
    if metadata.get("key") != key or len(history) > progress.transfer.epochs:
        tell(f"{checkpoint} is of other pictures or settings; the fine-tuning begins anew")
        return
    tell(f"The fine-tuning goes on after epoch {len(history)} of {progress.transfer.epochs}")
    progress.restore(state, history)


@contextmanager
def _saying_where_it_stopped(progress: Progress) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        tell(f"Stopped; the same again goes on after epoch {len(progress.history)} of {progress.transfer.epochs}")
        raise


@contextmanager
def _tensorboard(folder: Path, done: int) -> Iterator[SummaryWriter]:
    """Open TensorBoard's file; what an interrupted run wrote beyond its last checkpoint is not shown twice."""
    # Imported here, since it takes a second and few fine-tune.
    from torch.utils.tensorboard import SummaryWriter

    try:
        with SummaryWriter(str(folder), purge_step=done + 1) as writer:
            yield writer
    except OSError as error:
        raise WriteError(f"{folder}: the curves could not be written ({error.strerror})") from error
