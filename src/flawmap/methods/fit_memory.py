"""How much memory a fit takes whose vectors are in a file."""

from __future__ import annotations

import psutil
from torch import nn

from flawmap.errors import OptionError

_BYTES_PER_PATCH = 60
"""Distances, rows and groups of a patch that the coreset and leave-out keep."""

_BLOCK_BYTES = 120_000_000
"""Blocks of vectors and of their products that are in memory together."""

_GRAPH_BYTES = 170_000_000
"""What torch and OpenVINO take when they make the saved graph, beside the weights."""

_COPIES_OF_WEIGHTS = 4
"""Copies of the network's weights that exist at once while the graph is made."""


def check_memory(limit: int, network: nn.Module, patches: int) -> None:
    """Nothing, where a fit can keep to so much memory; to be called when its encoder is warm.

    Args:
        limit: most resident memory of this process, in bytes.
        network: whose weights the saved graph will hold.
        patches: of all good images.

    Raises:
        OptionError: it cannot.
    """
    weights = sum(tensor.nbytes for tensor in network.state_dict().values())
    fit = _BYTES_PER_PATCH * patches + _BLOCK_BYTES
    graph = _GRAPH_BYTES + _COPIES_OF_WEIGHTS * weights
    least = psutil.Process().memory_info().rss + max(fit, graph)
    if least > limit:
        raise OptionError(
            f"a memory limit of {limit / 1e9:.2f} GB; this fit takes {least / 1e9:.2f} GB at "
            "least, with its vectors on the disk; allow that, or use fewer images or a larger "
            "stride"
        )
