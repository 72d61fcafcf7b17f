from __future__ import annotations

import numpy as np

from flawmap.render.curves import plot_finetuning, plot_losses
from flawmap.runtime.images.decode import decode

TRAIN, VALIDATION = (0, 114, 178), (213, 94, 0)
"""Colours of the two curves, RGB."""


def pixels(png: bytes) -> np.ndarray:
    return decode(png)


def low_in_plot(image: np.ndarray, colour: tuple[int, int, int]) -> int:
    """How many pixels of a colour are in the lower half of the plot; of a legend under 100."""
    same = np.all(np.abs(image.astype(int) - colour) < 8, axis=2)
    return int(same[160:265].sum())


def finetuning(losses: list[float], validation: list[float], accuracy: float) -> np.ndarray:
    history = []
    for number, (loss, of_validation) in enumerate(zip(losses, validation, strict=True), 1):
        epoch = {"number": number, "loss": loss, "validation_loss": of_validation}
        history.append(epoch | {"accuracy": accuracy, "validation_accuracy": accuracy / 2})
    return pixels(plot_finetuning(history))


def test_a_finetuning_shows_loss_at_the_left_and_accuracy_at_the_right() -> None:
    image = finetuning([1.0, 0.5, 0.2], [1.0, 0.8, 0.9], 0.8)
    assert image.shape == (320, 900, 3)
    other_loss = finetuning([1.0, 0.5, 0.2], [1.0, 0.8, 0.1], 0.8)
    other_accuracy = finetuning([1.0, 0.5, 0.2], [1.0, 0.8, 0.9], 0.4)
    assert not np.array_equal(other_loss[:, :450], image[:, :450])
    assert np.array_equal(other_loss[:, 450:], image[:, 450:])
    assert np.array_equal(other_accuracy[:, :450], image[:, :450])
    assert not np.array_equal(other_accuracy[:, 450:], image[:, 450:])


def test_training_and_validation_have_a_colour_each() -> None:
    low, high = [1.0, 0.1, 0.1], [1.0, 0.9, 0.9]
    loss = finetuning(low, high, 0.8)[:, :450]
    assert low_in_plot(loss, TRAIN) > 200
    assert low_in_plot(loss, VALIDATION) < 100
    loss = finetuning(high, low, 0.8)[:, :450]
    assert low_in_plot(loss, TRAIN) < 100
    assert low_in_plot(loss, VALIDATION) > 200


def test_losses_have_a_curve_each() -> None:
    both = pixels(plot_losses([{"a": 1.0, "b": 0.5}, {"a": 0.5, "b": 0.4}]))
    single = pixels(plot_losses([{"a": 1.0}, {"a": 0.5}]))
    assert both.shape == single.shape == (320, 600, 3)
    second = (np.abs(both.astype(int) - (255, 127, 14)) < 8).all(axis=2).sum()
    assert second > 100
    assert not (np.abs(single.astype(int) - (255, 127, 14)) < 8).all(axis=2).any()


def test_one_epoch_is_a_point() -> None:
    assert pixels(plot_losses([{"a": 1.0}])).shape == (320, 600, 3)
    assert finetuning([1.0], [1.0], 1.0).shape == (320, 900, 3)
