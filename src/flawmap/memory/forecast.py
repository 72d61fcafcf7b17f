"""What a fit with a bank of patches takes: memory, room on the disk, and time.

The figures were fitted to what fits took on two cores of an AMD EPYC beside other programs, with
Lite0, ResNet-18 and WideResNet-50-2 and 60 to 400 images; docs/speed.md has them side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

_BYTES_PER_PATCH = 60
"""Distances, rows and groups of a patch that the coreset and leave-out keep."""

_CORESET_BYTES = 45_000_000
"""Blocks of the coreset."""

_SEARCH_BYTES = 50_000_000
"""What coreset and leave-out take beside all that is counted."""

_AGAIN_BYTES = 45_000_000
"""What remains of the compiled encoder, where thinned images are embedded again."""

_BLOCK_ELEMENTS = 2**21
"""Products of a block of leave-out, in single precision."""

_REDUCED_ROWS = 2**13
"""Vectors that are reduced together."""

_DECODING = 2.0
"""Of the large images that are held: what a PNG of 24 megapixels takes to decode beside them."""

_COPIES_OF_BANK = 3
"""The bank, the same in the order of groups, and with room behind it."""

_GRAPH_BYTES = 105_000_000
"""What torch and OpenVINO take to make the saved graph, beside weights and bank."""

_COPIES_OF_WEIGHTS = 2.5
"""Copies of the network's weights that come while the graph is made and saved."""

_COPIES_OF_PRODUCTS = 5
"""Tables of an image's distances to the bank while the graph is checked against torch."""

_SAVED_COPIES_OF_BANK = 4.7
"""Copies of the bank in the file: for the method, and for the graph's search in eight bits."""

_GRAPH_SECONDS = 2.0
"""To make and check the graph of a small network, on the machine named above when it is idle."""

_GRAPH_SECONDS_PER_BYTE = 2e-8
"""The same for each byte of weights."""

_SCORE_SECONDS = 0.0025
"""To score an image by its distances; likewise."""

_PAIR_SECONDS = 1.3e-9
"""To compare a patch with a row, whatever their length; likewise."""

_CHANNEL_SECONDS = 1.64e-11
"""The same for each number of theirs."""

_CORESET_PAIRS_PER_ROW = 100_000
"""What a row of the bank takes to choose, as so many comparisons of a patch and a row."""

_CORESET_SHARE = 0.26
"""What patches × rows take in the coreset, of what they take in leave-out."""


class FitForecast(NamedTuple):
    """What a fit will take, estimated after its first images.

    Args:
        images: number of good images.
        seconds: from then to the end, the saved file included.
        memory: most resident memory of this process, with its libraries, in bytes.
        disk: for vectors of good images meanwhile, and for the file, in bytes.
    """

    images: int
    seconds: float
    memory: int
    disk: int


@dataclass(frozen=True)
class FitSizes:
    """What the cost of a fit depends on.

    Args:
        images: number of good images.
        patches: of an image.
        kept: patches of an image that the coreset can choose from.
        channels: numbers of a vector.
        reduced: numbers of the copy that the coreset is chosen by; 0 where there is no copy.
        rows: of the bank.
        bank_channels: numbers of a row of the bank.
        item_bytes: of a number while vectors are kept.
        weights: bytes of the network's weights.
        threads: that compare at the same time.
        can_thin: whether images may keep fewer patches than they have.
        held: bytes of decoded images that are in memory while vectors are made.

    Example:
        >>> sizes = FitSizes(100, 784, 784, 152, 0, 784, 152, 2, 10_000_000, 2)
        >>> sizes.vector_bytes, sizes.search_bytes // 10**6, sizes.graph_bytes // 10**6
        (23833600, 112, 144)
    """

    images: int
    patches: int
    kept: int
    channels: int
    reduced: int
    rows: int
    bank_channels: int
    item_bytes: int
    weights: int
    threads: int
    can_thin: bool = True
    held: int = 0

    @property
    def pairs(self) -> int:
        """Comparisons of a patch with a row of the bank."""
        return self.images * self.kept * self.rows

    @property
    def seconds_per_pair(self) -> float:
        """What such a comparison takes on the machine named above when it is idle."""
        return _PAIR_SECONDS + _CHANNEL_SECONDS * self.bank_channels

    @property
    def vector_bytes(self) -> int:
        """The vectors of all images, and the copy of them."""
        return self.images * self.kept * (self.channels + self.reduced) * self.item_bytes

    @property
    def saved_bytes(self) -> int:
        """The file that is written."""
        bank = int(_SAVED_COPIES_OF_BANK * self._bank_bytes)
        return 2 * self.weights + bank

    @property
    def decoding_bytes(self) -> int:
        """What decoding the next large image takes beside the one that is held."""
        return int(_DECODING * self.held)

    @property
    def search_bytes(self) -> int:
        """Memory that choosing the coreset and leave-out take beside the vectors."""
        block_rows = max(1, _BLOCK_ELEMENTS // self.rows)
        products = 3 * _BLOCK_ELEMENTS * 4
        blocks = self.threads * (products + 2 * block_rows * self.bank_channels * 4)
        reducing = 3 * _REDUCED_ROWS * self.channels * 4 if self.reduced else 0
        per_patch = _BYTES_PER_PATCH * self.images * self.kept
        bank = _COPIES_OF_BANK * self._bank_bytes + self._again_bytes
        gone = self.held if self.kept == self.patches else 0
        return _SEARCH_BYTES + per_patch + max(_CORESET_BYTES, reducing, blocks) + bank - gone

    @property
    def graph_bytes(self) -> int:
        """Memory that the saved graph takes to be made and checked."""
        bank = int(_SAVED_COPIES_OF_BANK * self._bank_bytes)
        products = _COPIES_OF_PRODUCTS * self.patches * self.rows * 4
        weights = int(_COPIES_OF_WEIGHTS * self.weights)
        return _GRAPH_BYTES + weights + bank + products + self._again_bytes - self.held

    def seconds(self, per_image: float, left: int, per_pair: float) -> float:
        """How long it takes until the file is saved.

        Args:
            per_image: seconds to read and embed an image.
            left: images that are still to be.
            per_pair: seconds to compare a patch with a row of the bank, here and now; tells how
                slow this machine is with all the rest.
        """
        compared = self.pairs
        choosing = _CORESET_PAIRS_PER_ROW * self.rows + _CORESET_SHARE * compared
        reducing = self.images * self.kept * self.reduced
        again = self.images if self.kept < self.patches else 0
        compared += again * self.patches * self.rows
        slowness = per_pair / self.seconds_per_pair
        graph = _GRAPH_SECONDS + _GRAPH_SECONDS_PER_BYTE * self.weights
        rest = slowness * (graph + _SCORE_SECONDS * self.images)
        return per_image * (left + again) + per_pair * (reducing + choosing + compared) + rest

    @property
    def _again_bytes(self) -> int:
        return _AGAIN_BYTES + self.weights if self.kept < self.patches else 0

    @property
    def _bank_bytes(self) -> int:
        return self.rows * self.bank_channels * 4
