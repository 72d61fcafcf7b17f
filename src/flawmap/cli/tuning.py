"""What `flawmap fit --tune` does before it fits."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flawmap.errors import OptionError

if TYPE_CHECKING:
    from flawmap.data.auto_size import InputSize
    from flawmap.data.training_set import TrainingSet
    from flawmap.inspector import Inspector
    from flawmap.tuning.search import TuningResult


@dataclass(frozen=True)
class Tuning:
    """What was typed about a tuning.

    Args:
        minutes: that it may take, for each product.
        size: of the network's input to begin with; None for that of the inspector.
        fixed: options that were typed and stay as they are; `size` may be among them.

    Example:
        >>> Tuning(minutes=5).fixed
        ()
    """

    minutes: float
    size: InputSize | None = None
    fixed: Collection[str] = ()

    def check(self, untuned: Inspector) -> None:
        """Nothing, where an inspector can be tuned.

        Args:
            untuned: the inspector as it was typed, not fitted.

        Raises:
            OptionError: no time, a method that is trained, a backbone that is to be fine-tuned,
                regions or a mask.
        """
        from flawmap.tuning.search import check_tuning

        check_tuning(self.minutes, untuned.method)
        if untuned.finetune:
            raise OptionError(
                "--tune beside --finetune: each trial would fine-tune a backbone; tune without, "
                "then fit with --finetune and the settings that were chosen"
            )
        if untuned.zones is not None:
            raise OptionError(
                "--tune beside --regions: a tuning compares scores of whole images; tune without, "
                "then fit with --regions and the settings that were chosen"
            )
        if untuned.mask is not None:
            raise OptionError(
                "--tune beside --mask: defects are painted wherever the part is; tune without, "
                "then fit with --mask and the settings that were chosen"
            )

    def run(self, untuned: Inspector, training_set: TrainingSet) -> TuningResult:
        """The settings chosen for a product.

        Args:
            untuned: the inspector as it was typed, not fitted.
            training_set: the good images; what is held out for calibration is not used.

        Raises:
            DatasetError: too few good images.
        """
        from flawmap.tuning.candidates import candidates_for
        from flawmap.tuning.search import tune

        method = untuned.method
        training_set = training_set.hold_out(untuned.calibration_fraction, seed=method.seed)
        candidates = candidates_for(method, self.size, self.fixed)
        return tune(
            training_set.training,
            self.minutes,
            method,
            size=self.size,
            candidates=candidates,
            white=untuned.white,
        )
