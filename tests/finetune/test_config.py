from __future__ import annotations

from typing import Any

import pytest

from flawmap.errors import OptionError
from flawmap.finetune.config import FineTuneConfig


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"learning_rate": 0.0},
        {"batch_size": 0},
        {"frozen_stages": -1},
        {"max_rotation": -1.0},
        {"image_size": 8},
    ],
)
def test_settings_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=r"cannot be trained with|too small"):
        FineTuneConfig(**wrong)
