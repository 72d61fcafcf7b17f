from __future__ import annotations

import pytest

from flawmap.errors import OptionError
from flawmap.features.backbone import Backbone
from flawmap.features.blocks import refuse_default_blocks


@pytest.mark.parametrize(
    ("default", "better"), [((2, 3), "6,8"), ((1, 2, 3), "4,6,8"), ((1, 2, 3, 4), "2,4,6,8")]
)
def test_the_stages_of_a_cnn_are_no_blocks(default: tuple[int, ...], better: str) -> None:
    with pytest.raises(OptionError, match=rf"9 blocks, 0 to 8.*--layers {better}$"):
        refuse_default_blocks(Backbone("test_vit3", default, "random"), default)


def test_blocks_that_somebody_named_and_stages_of_a_cnn_pass() -> None:
    refuse_default_blocks(Backbone("test_vit3", (2, 5), "random"), (2, 3))
    refuse_default_blocks(Backbone("test_resnet", (2, 3), "random"), (2, 3))
