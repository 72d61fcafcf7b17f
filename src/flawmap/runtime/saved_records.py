"""What a saved file must say of its fine-tuning and its tuning: what reads them relies on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flawmap.errors import OptionError

_FINETUNING: dict[str, type] = {
    "config": dict,
    "classes": dict,
    "excluded_sha256": list,
    "history": list,
}
_CONFIG: dict[str, type] = {"mode": str}
_EPOCH: dict[str, type] = {"number": int, "losses": dict, "seconds": float}
_TUNING: dict[str, type] = {"reason": str, "trials": list, "chosen": int}


def check_records(finetuning: Mapping[str, Any] | None, tuning: Mapping[str, Any] | None) -> None:
    """Refuse records that lack what flawmap prints and draws of them.

    Args:
        finetuning: as `FineTuneRecord.to_dict` gives it; None without one.
        tuning: as `TuningRecord.to_dict` gives it; None without one.

    Raises:
        OptionError: a value is missing, or of another type.

    Example:
        >>> check_records(None, None)
    """
    if finetuning is not None:
        _check(finetuning, _FINETUNING, "finetuning")
        _check(finetuning["config"], _CONFIG, "finetuning.config")
        for epoch in finetuning["history"]:
            _check(epoch, _EPOCH, "finetuning.history")
        if not all(isinstance(digest, str) for digest in finetuning["excluded_sha256"]):
            raise OptionError("finetuning.excluded_sha256 holds something else than texts")
    if tuning is not None:
        _check(tuning, _TUNING, "tuning")
        if not 0 <= tuning["chosen"] < len(tuning["trials"]):
            raise OptionError(f"tuning.chosen is {tuning['chosen']}, of no trial")


def _check(values: Any, types: Mapping[str, type], where: str) -> None:
    for name, kind in types.items():
        if not isinstance(values, Mapping) or not isinstance(values.get(name), kind):
            raise OptionError(f"{where} has no {name}")
