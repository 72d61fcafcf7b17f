"""Which blocks of a transformer a method may use."""

from __future__ import annotations

from collections.abc import Sequence

from flawmap.errors import OptionError
from flawmap.features.backbone import Backbone
from flawmap.features.timm_network import middle_blocks


def refuse_default_blocks(backbone: Backbone, default: Sequence[int]) -> None:
    """Nothing, unless the default stages of a CNN would be taken for blocks of a transformer.

    Args:
        backbone: the backbone.
        default: the layers that a method takes where nobody names others.

    Raises:
        OptionError: they are this transformer's layers; names better ones.

    Example:
        >>> refuse_default_blocks(Backbone("test_vit", (2, 3), "random"), (2, 3))
        Traceback (most recent call last):
        flawmap.errors.OptionError: test_vit is a transformer of 6 blocks, 0 to 5, and layers ...
    """
    if not backbone.patch_size or tuple(backbone.layers) != tuple(default):
        return
    count = backbone.num_blocks
    middle = middle_blocks(backbone.network, len(default))
    raise OptionError(
        f"{backbone.name} is a transformer of {count} blocks, 0 to {count - 1}, and layers "
        f"{', '.join(map(str, default))} are a default for CNNs; name blocks in the middle, as "
        f"--layers {','.join(map(str, middle))}"
    )
