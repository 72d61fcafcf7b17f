from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from flawmap.errors import ImageError
from flawmap.runtime import rounds as module
from flawmap.runtime.images.decode import DecodedImage, UnreadableImage
from flawmap.runtime.rounds import Rounds

SMALL = np.zeros((3, 32, 32), np.float32)


def images(sizes: list[int]) -> Iterator[DecodedImage | UnreadableImage]:
    """Images of so many rows of a kilobyte, named by their number; 0 for one that is unreadable."""
    for number, rows in enumerate(sizes):
        if rows:
            pixels = np.zeros((rows, 341, 3), np.uint8)
            yield DecodedImage(str(number), pixels, SMALL, "")
        else:
            yield UnreadableImage(str(number), ImageError("no image"), "")


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([1, 1, 1, 1], [4]),
        ([9, 9, 9], [1, 1, 1, 0]),
        ([3, 3, 3, 3], [2, 2, 0]),
        ([0, 9, 0, 0, 9, 1], [1, 1, 1]),
        ([0, 0], [0]),
        ([], [0]),
    ],
)
def test_a_round_ends_when_enough_is_held(
    sizes: list[int], expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BYTES_OF_A_ROUND", 4 * 1023)
    rounds = Rounds(images(sizes))
    names: list[object] = []
    counts = []
    while not rounds.is_over:
        count = 0
        for _ in list(rounds.network_inputs()):
            names += [image.image_input for image in rounds.take_unreadable()]
            names.append(rounds.take().image_input)
            count += 1
        names += [image.image_input for image in rounds.take_unreadable()]
        counts.append(count)
    assert counts == expected
    assert names == [str(number) for number in range(len(sizes))]
