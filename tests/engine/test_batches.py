from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from flawmap.engine.batches import Batches
from flawmap.runtime.image_types import ImageInput
from flawmap.runtime.images.decode import decode
from flawmap.runtime.preprocess import Preprocessing
from flawmap.support.progress import listen
from helpers import texture

SMALL = Preprocessing(32, 32)


def test_batches_hold_all_images_in_order(good_folder: Path) -> None:
    paths = sorted(good_folder.iterdir())
    batches = list(Batches(paths, SMALL, size=5))
    assert [len(batch.images) for batch in batches] == [5, 5, 2]
    assert len(Batches(paths, SMALL, size=5)) == 3
    assert [name for batch in batches for name in batch.names] == [str(path) for path in paths]
    expected = np.stack([SMALL(decode(path)) for path in paths])
    assert torch.equal(torch.cat([batch.images for batch in batches]), torch.from_numpy(expected))


def test_batches_go_round_twice(good_folder: Path) -> None:
    batches = Batches(sorted(good_folder.iterdir()), SMALL)
    first, second = (torch.cat([batch.images for batch in batches]) for _ in range(2))
    assert torch.equal(first, second)


def test_one_truncated_jpeg_among_fifty_stops_nothing(tmp_path: Path) -> None:
    images: list[ImageInput] = [texture(seed) for seed in range(49)]
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 cut")
    images.insert(20, broken)
    batches = Batches(images, SMALL)
    assert sum(len(batch.images) for batch in batches) == 49
    (left_out,) = batches.unreadable
    assert left_out.image_input == broken
    assert "broken.jpg" in str(left_out.error)


def test_progress_is_heard(good_folder: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    with listen(lambda *step: heard.append(step)):
        list(Batches(sorted(good_folder.iterdir()), SMALL))
    assert heard[0] == ("reading images", 0, 12)
    assert heard[-1] == ("reading images", 12, 12)
