from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from flawmap.runtime import decode as module
from flawmap.runtime.decode import DecodedImage, UnreadableImage, decode_ahead
from flawmap.runtime.preprocess import Preprocessing
from helpers import texture

SMALL = Preprocessing(32, 32)


def test_what_is_bad_comes_in_its_place() -> None:
    good, bad = texture(0), np.zeros((1, 1, 3), np.uint8)
    kinds = [type(loaded) for loaded in decode_ahead([good, bad, good], SMALL)]
    assert kinds == [DecodedImage, UnreadableImage, DecodedImage]


def test_reading_runs_ahead_but_not_far(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []
    lock = threading.Lock()

    def count(image: object) -> np.ndarray:
        with lock:
            begun.append(image)
        return texture(0)

    monkeypatch.setattr(module, "read", count)
    reading = decode_ahead([texture(0)] * 100, SMALL)
    next(reading)
    time.sleep(0.2)
    assert 1 < len(begun) <= module.MAX_DECODED_AHEAD + 1
    reading.close()
    assert len(begun) < 100
