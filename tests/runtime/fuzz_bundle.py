"""Opens damaged saved files whose hash is right; run in a process of its own, since it may crash.

    python tests/runtime/fuzz_bundle.py FILE FIRST COUNT FOLDER

FILE is a whole one; the numbers of the changes are FIRST and the following. Each number is printed
before its file is opened, so that the last one says what ended the process.
"""

from __future__ import annotations

import random
import re
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from flawmap import load
from flawmap.errors import FlawmapError
from flawmap.runtime import bundle
from helpers import texture
from small_bundle import with_right_hash

_NUMBERS = [0, 1, 2, 3, 7, 64, 255, 65536, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64]
_TEXTS = ["", "-1", "1.5", "nan", "null", "?", "\U0001f41f", *map(str, _NUMBERS)]
_MOST_SECONDS = 20.0
_Change = Callable[[bytes, random.Random], bytes]


def flip(data: bytes, rng: random.Random) -> bytes:
    """One to three changed bytes."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        changed[rng.randrange(len(changed))] ^= rng.choice([1 << rng.randrange(8), 255])
    return bytes(changed)


def cut(data: bytes, rng: random.Random) -> bytes:
    """Without an end, or without a piece."""
    start = rng.randrange(len(data))
    return data[:start] + rng.choice([b"", data[start + rng.randint(1, 64) :]])


def repeat(data: bytes, rng: random.Random) -> bytes:
    """With a piece twice."""
    start = rng.randrange(len(data))
    stop = start + rng.randint(1, 300)
    return data[:stop] + data[start:]


def renumber(data: bytes, rng: random.Random) -> bytes:
    """With another number or text in the place of a number."""
    found = list(re.finditer(rb"\d+", data))
    if not found:
        return data
    number = rng.choice(found)
    return data[: number.start()] + rng.choice(_TEXTS).encode() + data[number.end() :]


def swap(data: bytes, rng: random.Random) -> bytes:
    """With one word in the place of another."""
    words = list(re.finditer(rb"[A-Za-z_]\w+", data))
    if not words:
        return data
    old, new = rng.choice(words), rng.choice(words)
    return data[: old.start()] + new[0] + data[old.end() :]


def renumber_line(data: bytes, rng: random.Random) -> bytes:
    """With another number where an operation's attributes or an edge's ends are."""
    lines = list(re.finditer(rb"<(data|edge) .*", data))
    if not lines:
        return data
    line = rng.choice(lines)
    return data[: line.start()] + renumber(line[0], rng) + data[line.end() :]


def replace_integer(xml: bytes, weights: bytes, rng: random.Random) -> bytes:
    """The weights with another number in a constant of integers: an axis, a shape, an index."""
    pattern = rb'<data element_type="i(32|64)" .*offset="(\d+)" size="(\d+)"'
    bits, offset, size = map(int, rng.choice(re.findall(pattern, xml)))
    place = offset + rng.randrange(size * 8 // bits) * bits // 8
    number = rng.choice([-1, -2, *_NUMBERS[:-2], rng.randrange(-100, 100)]) % 2**bits
    written: bytes = number.to_bytes(bits // 8, "little")
    return weights[:place] + written + weights[place + bits // 8 :]


_CHANGES: tuple[_Change, ...] = (flip, cut, repeat, renumber, swap)


def damaged(whole: Path, file: Path, rng: random.Random) -> str:
    """Write a damaged copy; gives what was changed."""
    where = rng.choice(["file", "header", "graph.xml", "line", "graph.weights", "integers"])
    change = rng.choice(_CHANGES)
    if where in ("file", "header"):
        data = whole.read_bytes()
        end = len(data) if where == "file" else 8 + int.from_bytes(data[:8], "little")
        start = rng.choice([0, 8]) if where == "header" else 0
        part = change(data[start:end], rng)
        if start == 8 and rng.random() < 0.7:
            data = len(part).to_bytes(8, "little") + part + data[end:]
        else:
            data = data[:start] + part + data[end:]
        file.write_bytes(with_right_hash(data))
    else:
        manifest, arrays, _ = bundle.load(whole)
        name = "graph.weights" if where == "integers" else "graph.xml" if where == "line" else where
        part = arrays[name].tobytes()
        if where == "integers":
            part = replace_integer(arrays["graph.xml"].tobytes(), part, rng)
        else:
            part = renumber_line(part, rng) if where == "line" else change(part, rng)
        bundle.save(file, manifest, arrays | {name: np.frombuffer(part, np.uint8)})
    return f"{change.__name__} {where}"


def outcome(file: Path, image: np.ndarray, right: float) -> str:
    """What opening a file and inspecting an image comes to."""
    try:
        score = load(file).inspect(image).score
    except FlawmapError as error:
        text = str(error)
        if "\n" in text or str(file) not in text:
            raise AssertionError(f"not one line with the file's name: {text!r}") from error
        return type(error).__name__
    if abs(score - right) > 0.05 * right:
        raise AssertionError(f"scores {score} instead of {right}")
    return "right"


def main(whole: Path, first: int, count: int, folder: Path) -> None:
    """Open so many damaged files."""
    warnings.simplefilter("error")
    image = texture(0)
    right = load(whole).inspect(image).score
    seen: Counter[str] = Counter()
    for number in range(first, first + count):
        rng = random.Random(number)
        file = folder / "damaged.flawmap"
        change = damaged(whole, file, rng)
        print(number, change, flush=True)
        started = time.monotonic()
        seen[outcome(file, image, right)] += 1
        if time.monotonic() - started > _MOST_SECONDS:
            raise AssertionError("takes too long")
    print(*(f"{name} {times}" for name, times in sorted(seen.items())), sep=", ")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
