"""What a fine-tuning did, as it stands in the saved file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flawmap.finetune.config import FineTuneConfig
from flawmap.support.options import from_dict, to_dict
from flawmap.training.metrics import FineTuneEpoch


@dataclass(frozen=True)
class FineTuneRecord:
    """The record of a fine-tuning, as the saved inspector keeps it.

    Args:
        transfer: its settings.
        classes: how many images were trained on and checked with, by the name of their class.
        history: what came of each epoch.
        held_out: SHA-256 of the files of a test set that it was taught with; they can test nothing
            any more.
    """

    config: FineTuneConfig
    classes: dict[str, int]
    history: list[FineTuneEpoch] = field(default_factory=list)
    excluded_sha256: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Say it in JSON; `Tuning.from_json` reads it back."""
        own = {
            "config": to_dict(self.config),
            "classes": self.classes,
            "excluded_sha256": self.excluded_sha256,
        }
        return own | {"history": [epoch._asdict() for epoch in self.history]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FineTuneRecord:
        """Read what `to_json` said."""
        history = [FineTuneEpoch(**epoch) for epoch in values["history"]]
        return cls(
            from_dict(values["config"], FineTuneConfig),
            values["classes"],
            history,
            values["excluded_sha256"],
        )
