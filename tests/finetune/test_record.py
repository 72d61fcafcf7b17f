from __future__ import annotations

import json

import pytest

from flawmap.errors import OptionError
from flawmap.finetune.config import FineTuneConfig
from flawmap.finetune.record import FineTuneRecord
from flawmap.training.metrics import EpochMetrics

RECORD = FineTuneRecord(
    FineTuneConfig("real-defects", epochs=3, defect_types=("stain",)),
    {"good": 12, "defective": 4},
    [EpochMetrics(1, {"cross-entropy": 0.7}, 2.0, 0.5, 0.6, 0.75)],
    ["ab" * 32],
)


def test_it_survives_json() -> None:
    assert FineTuneRecord.from_dict(json.loads(json.dumps(RECORD.to_dict()))) == RECORD


def test_a_setting_that_is_not_known_is_named() -> None:
    values = RECORD.to_dict()
    values["config"]["colour"] = 2
    with pytest.raises(OptionError, match="colour"):
        FineTuneRecord.from_dict(values)
