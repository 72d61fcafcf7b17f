import json

import pytest

from flawmap.errors import OptionError
from flawmap.tuning.record import Trial, TuningRecord

TRIAL = Trial("as set", 224, 320, ["stride=8"], 0.9, 0.0, 0.0, 0.5, {"dot": 8.0, "stain": None}, 12)
RECORD = TuningRecord(5, 290.5, 140, 60, 400, 5.0, [TRIAL], 0, "as set: the best", ["448 px"])


def test_a_record_survives_json() -> None:
    values = json.loads(json.dumps(RECORD.to_dict()))
    assert TuningRecord.from_dict(values) == RECORD
    assert RECORD.choice is TRIAL


def test_an_unknown_value_is_refused() -> None:
    with pytest.raises(OptionError, match="colour"):
        TuningRecord.from_dict({**RECORD.to_dict(), "colour": "red"})
