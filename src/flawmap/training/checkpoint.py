"""TensorBoard's files of a training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flawmap.errors import WriteError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


@contextmanager
def _tensorboard(folder: Path, done: int) -> Iterator[SummaryWriter]:
    """Open TensorBoard's file.

    What an interrupted run wrote beyond its last checkpoint is not shown twice.
    """
    # Imported here, since it takes a second and few train.
    from torch.utils.tensorboard import SummaryWriter

    try:
        with SummaryWriter(str(folder), purge_step=done + 1) as writer:
            yield writer
    except OSError as error:
        raise WriteError(f"{folder}: the curves could not be written ({error.strerror})") from error
