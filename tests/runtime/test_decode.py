from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import numpy as np

from flawmap.runtime.decode import (
    MAX_DECODED_AHEAD,
    DecodedImage,
    UnreadableImage,
    decode_ahead,
    map_ahead,
)
from flawmap.runtime.preprocess import ImageInput, Preprocessing
from helpers import save, texture

SMALL = Preprocessing(32, 32)


def test_what_is_bad_comes_in_its_place() -> None:
    good, bad = texture(0), np.zeros((1, 1, 3), np.uint8)
    types = [type(loaded) for loaded in decode_ahead([good, bad, good], SMALL)]
    assert types == [DecodedImage, UnreadableImage, DecodedImage]


def test_decoding_runs_ahead_but_not_far() -> None:
    started: list[int] = []
    enough = threading.Event()

    def load(number: int) -> int:
        started.append(number)
        if len(started) > MAX_DECODED_AHEAD:
            enough.set()
        return number

    results = map_ahead(load, iter(range(100)))
    assert next(results) == 0
    assert enough.wait(timeout=60)
    del results  # which waits for the threads
    assert sorted(started) == list(range(MAX_DECODED_AHEAD + 1))


def test_each_file_is_hashed_as_it_is_read(tmp_path: Path) -> None:
    file = save(tmp_path / "a.png", texture(0))
    (tmp_path / "bad.png").write_bytes(b"no image")
    inputs: list[ImageInput] = [
        file,
        file.read_bytes(),
        texture(0),
        tmp_path / "bad.png",
        tmp_path / "missing.png",
    ]
    of_file = hashlib.sha256(file.read_bytes()).hexdigest()
    of_bad = hashlib.sha256(b"no image").hexdigest()
    hashes = [loaded.sha256 for loaded in decode_ahead(inputs, SMALL)]
    assert hashes == [of_file, of_file, "", of_bad, ""]
