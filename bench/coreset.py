"""The coreset beside a plain greedy loop, in one process on the same vectors.

    python bench/coreset.py [VECTORS.npy] [--count N] [--plain-picks K]

The plain loop is the usual one: a float32 product of all vectors with the newest centre for every
pick. It rounds, so where two vectors are almost equally far it may take the other one and go its
own way from there. Who is right is checked for every pick against all vectors in float64."""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flawmap.memory.coreset import k_center_greedy

ROWS, CHANNELS, POSITIONS = 596_624, 128, 784


def plain(vectors: Tensor, count: int, start: int = 0) -> Tensor:
    """Run the greedy loop with one matrix-vector product a pick."""
    squares = torch.linalg.vector_norm(vectors, dim=1).square_()
    nearest = torch.full_like(squares, torch.inf)
    chosen = [start]
    while len(chosen) < count:
        newest = chosen[-1]
        distances = torch.addmv(squares, vectors, vectors[newest], alpha=-2).add_(squares[newest])
        torch.minimum(nearest, distances, out=nearest)
        nearest[newest] = -torch.inf
        chosen.append(int(nearest.argmax()))
    return torch.tensor(chosen)


def farthest(vectors: Tensor, chosen: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Each pick's squared distance to the picks before, and the largest of all, in float64."""
    centres = vectors[chosen].double()
    mean = centres.mean(0)
    centres -= mean
    own = np.array(
        [(centres[:k] - centres[k]).square().sum(1).amin().item() for k in range(1, len(chosen))]
    )
    largest = np.zeros(len(chosen) - 1)
    for block in vectors.split(1024):
        shifted = block.double() - mean
        squared = torch.addmm(centres.square().sum(1), shifted, centres.T, alpha=-2)
        squared += shifted.square().sum(1, keepdim=True)
        shrinking = np.minimum.accumulate(squared.numpy()[:, :-1], axis=1)
        np.maximum(largest, shrinking.max(0), out=largest)
    return own, largest


def synthetic(rows: int, channels: int) -> Tensor:
    """Draw vectors as images of one product give them.

    A mean per position, an offset per image, fading components.
    """
    generator = torch.Generator().manual_seed(0)

    def draw(count: int) -> Tensor:
        return torch.randn(count, channels, generator=generator)

    fading = (1 + torch.arange(channels)) ** -0.5
    places, images = draw(POSITIONS), draw(rows // POSITIONS + 1)
    mixing = torch.linalg.qr(draw(channels)).Q
    vectors = torch.empty(rows, channels)
    for image, block in enumerate(vectors.split(POSITIONS)):
        tails = torch.rand(len(block), 1, generator=generator).clamp(min=1e-4) ** -0.2
        block[:] = (
            (places[: len(block)] + 0.5 * images[image] + tails * draw(len(block)))
            * fading
            @ mixing
        )
    return vectors


def timed(job: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    began = time.perf_counter()
    result = job(*arguments)
    return result, time.perf_counter() - began


def peak() -> float:
    """The largest memory that this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "vectors", nargs="?", type=Path, help="a .npy file of rows × channels; drawn unless given"
    )
    parser.add_argument("--count", type=int, help="rows to choose; 1 %% unless given")
    parser.add_argument("--rows", type=int, default=ROWS, help="rows to draw")
    parser.add_argument("--dims", type=int, default=CHANNELS, help="channels to draw")
    parser.add_argument(
        "--plain-picks", type=int, help="time only so many picks of the plain loop, and extrapolate"
    )
    options = parser.parse_args()

    given = options.vectors
    vectors = torch.from_numpy(np.load(given)) if given else synthetic(options.rows, options.dims)
    count = options.count or len(vectors) // 100
    print(
        f"{len(vectors):,} × {vectors.shape[1]} vectors, {count:,} to choose, "
        f"{torch.get_num_threads()} threads"
    )

    k_center_greedy(vectors[:20_000], 50)  # libraries load on first use
    before = peak()
    lazy, seconds = timed(k_center_greedy, vectors, count)
    print(
        f"pick   {seconds:8.2f} s   {peak() - before:.0f} MB beside the vectors' "
        f"{vectors.nbytes / 2**20:.0f} MB"
    )

    looped = min(options.plain_picks or count, count)
    loop, loop_seconds = timed(plain, vectors, looped)
    plain_seconds = loop_seconds * count / looped
    note = (
        ""
        if looped == count
        else f"   extrapolated from {loop_seconds:.2f} s for the first {looped:,} picks"
    )
    print(f"plain  {plain_seconds:8.2f} s{note}")
    print(f"ratio  {plain_seconds / seconds:8.1f}")

    print(
        f"equal  {int((lazy[:looped] == loop).sum()):,} of {looped:,} picks, of a float32 loop "
        f"that rounds"
    )
    for name, chosen in (("pick", lazy), ("plain", loop)):
        own, largest = farthest(vectors, chosen)
        right = int((own >= largest * (1 - 1e-12)).sum())
        print(f"{name:6s} takes the farthest by float64 in {right:,} of {len(own):,} steps")


if __name__ == "__main__":
    main()
