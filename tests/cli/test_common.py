from __future__ import annotations

import pytest

from flawmap.cli.common import parse_size
from flawmap.errors import OptionError


@pytest.mark.parametrize("text", ["", "large", "224x", "1x2x3"])
def test_sizes_that_cannot_be(text: str) -> None:
    with pytest.raises(OptionError, match="neither a number of pixels nor HEIGHTxWIDTH"):
        parse_size(text)
