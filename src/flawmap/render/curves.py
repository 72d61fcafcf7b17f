"""The curves of a training as an image."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from flawmap.support.own_images import mark_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CURVES = {"": ("train", "#0072b2"), "validation_": ("validation", "#d55e00")}
"""Prefix of a metric's name: words of the legend, and colour."""


def plot_finetuning(history: Sequence[Mapping[str, float]]) -> bytes:
    r"""Loss and accuracy over the epochs of a fine-tuning, of training and of validation.

    Args:
        history: of each epoch `number`, `loss`, `accuracy` (0…1), `validation_loss` and
            `validation_accuracy` (0…1).

    Returns:
        A PNG of 900×320 pixels.

    >>> epoch = {"number": 1, "loss": 0.7, "accuracy": 0.5}
    >>> epoch |= {"validation_loss": 0.6, "validation_accuracy": 0.75}
    >>> plot_finetuning([epoch])[:4]
    b'\x89PNG'
    """
    figure = _new_figure(width=9)
    loss_axes, accuracy_axes = figure.subplots(1, 2)
    _plot_metric(loss_axes, history, "loss", "cross-entropy")
    largest = max(epoch[f"{prefix}loss"] for epoch in history for prefix in _CURVES)
    loss_axes.set_ylim(0, 1.05 * largest)
    _plot_metric(accuracy_axes, history, "accuracy", "accuracy")
    accuracy_axes.set_ylim(0, 1.05)
    return _png(figure)


def plot_losses(history: Sequence[Mapping[str, float]]) -> bytes:
    r"""The losses over the epochs of a training without validation.

    Args:
        history: of each epoch, its losses by name.

    Returns:
        A PNG of 600×320 pixels.

    >>> plot_losses([{"flow": 0.7}, {"flow": 0.5}])[:4]
    b'\x89PNG'
    """
    figure = _new_figure(width=6)
    axes = figure.subplots()
    numbers = range(1, len(history) + 1)
    for name in history[0] if history else ():
        values = [epoch[name] for epoch in history]
        axes.plot(numbers, values, label=name, marker="o", markersize=3)
    _label(axes, "loss")
    return _png(figure)


def _plot_metric(axes: Axes, history: Sequence[Mapping[str, float]], name: str, label: str) -> None:
    numbers = [epoch["number"] for epoch in history]
    for prefix, (words, colour) in _CURVES.items():
        values = [epoch[prefix + name] for epoch in history]
        axes.plot(numbers, values, color=colour, label=words, marker="o", markersize=4)
    _label(axes, label)


def _new_figure(width: float) -> Figure:
    # Imported here: it takes longer than all else that a verdict needs.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, 3.2), dpi=100, layout="constrained")


def _label(axes: Axes, label: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set(xlabel="epoch", ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return mark_png(stream.getvalue())
