"""What a fine-tuning did, as it stands in the saved file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flawmap.finetune.config import FineTuneConfig
from flawmap.support.options import from_dict, to_dict
from flawmap.training.metrics import EpochMetrics


@dataclass(frozen=True)
class FineTuneRecord:
    """The record of a fine-tuning, as the saved inspector keeps it.

    Args:
        config: settings of the fine-tuning.
        classes: number of images, for training and validation together, by the name of their class.
        history: metrics of each epoch that was trained.
        excluded_sha256: SHA-256 in hex of the files of a test set that were trained on; they can
            test nothing any more.

    Example:
        >>> record = FineTuneRecord(FineTuneConfig(), {"good": 120})
        >>> FineTuneRecord.from_dict(record.to_dict()) == record
        True
    """

    config: FineTuneConfig
    classes: dict[str, int]
    history: list[EpochMetrics] = field(default_factory=list)
    excluded_sha256: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON can hold it; `from_dict` reads it."""
        return {
            "config": to_dict(self.config),
            "classes": self.classes,
            "excluded_sha256": self.excluded_sha256,
            "history": [epoch.to_dict() for epoch in self.history],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FineTuneRecord:
        """The record of `to_dict`.

        Args:
            values: what `to_dict` gave.

        Raises:
            OptionError: settings that this version does not know.
        """
        config = from_dict(values["config"], FineTuneConfig)
        history = [EpochMetrics.from_dict(epoch) for epoch in values["history"]]
        return cls(config, values["classes"], history, values["excluded_sha256"])
