"""The curves of a training as an image."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS = {"loss": "cross-entropy", "accuracy": "told right"}
"""What is drawn, and what its axis says."""


def plot_finetuning(history: Sequence[Mapping[str, float]]) -> bytes:
    """Plot loss and accuracy over the epochs, of training and of validation.

    Args:
        history: for each epoch `number`, `loss`, `accuracy`, `validation_loss` and
            `validation_accuracy`.

    Returns:
        A PNG of 900×320 pixels.
    """
    # Imported here: it takes longer than all else that a verdict needs.
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 3.2), dpi=100, layout="constrained")
    numbers = [epoch["number"] for epoch in history]
    for axes, (name, label) in zip(figure.subplots(1, 2), PANELS.items(), strict=True):
        for prefix, which, colour in (
            ("", "trained on", "#0072b2"),
            ("validation_", "checked with", "#d55e00"),
        ):
            values = [epoch[prefix + name] for epoch in history]
            axes.plot(numbers, values, color=colour, label=which, marker="o", markersize=4)
        top = (
            1.0
            if name == "accuracy"
            else max(epoch[prefix + name] for epoch in history for prefix in ("", "validation_"))
        )
        axes.set(xlabel="epoch", ylabel=label, ylim=(0, 1.05 * top))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    return _png(figure)


def plot_losses(history: Sequence[Mapping[str, float]]) -> bytes:
    """Draw losses over the epochs of a training that nothing checks.

    Args:
        history: of each epoch, its losses by name.

    Returns:
        A PNG of 600×320 pixels.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(6, 3.2), dpi=100, layout="constrained")
    axes = figure.subplots()
    for name in history[0] if history else ():
        axes.plot(
            range(1, len(history) + 1),
            [epoch[name] for epoch in history],
            label=name,
            marker="o",
            markersize=3,
        )
    axes.set(xlabel="epoch", ylabel="loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()
