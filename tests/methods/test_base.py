"""What methods get without doing anything for it.

Held-out scores by folds, refusals of graphs and memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from flawmap.engine.batches import Batch, Batches
from flawmap.errors import NotExportable, OptionError
from flawmap.methods import make_method
from flawmap.methods.base import State, not_fitted
from flawmap.methods.head import Head
from flawmap.methods.memory_base import MemoryMethod
from flawmap.runtime.preprocess import Preprocessing
from flawmap.support.tensors import Compared, Embedded, Images, Maps, PerImage

SIZE = Preprocessing(32, 32, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


class FromGrey(Head):
    def __init__(self, known: torch.Tensor) -> None:
        super().__init__()
        self.known = known

    def compare(self, embedded: Embedded) -> Compared:
        return Compared(((embedded.maps[0] - self.known.flatten()).abs().amin(dim=3),))

    def anomaly_map(self, embedded: Embedded, compared: Compared, height: int, width: int) -> Maps:
        return compared.distances[0].expand(-1, height, width)

    def image_score(self, embedded: Embedded, compared: Compared, maps: Maps) -> PerImage:
        return maps.amax(dim=(1, 2))


class Grey(nn.Module):
    def forward(self, images: Images) -> Embedded:
        return Embedded((images.mean(dim=(1, 2, 3), keepdim=True),))


@dataclass(eq=False)
class Greys(MemoryMethod):
    """Remembers how bright each image was.

    A new one is as anomalous as its grey is far from the nearest.
    """

    not_exportable: ClassVar[str] = "it is a toy"

    backbone: str = "test_resnet"
    weights: str | None = "random"
    known_: ClassVar[None] = None

    def extract(self, batches: Iterable[Batch]) -> State:
        return {
            "known": torch.cat(
                [self.encoder_runner.encode(batch.images).maps[0] for batch in batches]
            )
        }

    def fit_shards(self, parts: list[State]) -> Greys:
        self.head_ = FromGrey(torch.cat([part["known"] for part in parts]))
        return self

    def encoder(self) -> nn.Module:
        return Grey()

    def head(self) -> Head:
        if not hasattr(self, "head_"):
            raise not_fitted(self)
        return self.head_

    def fitted_state(self) -> State:
        return {"known": self.head_.known}

    def load_fitted_state(self, state: State) -> None:
        self.fit_shards([state])


def greys(*values: int) -> list[np.ndarray]:
    return [np.full((32, 32, 3), value, np.uint8) for value in values]


def test_by_folds_each_image_is_scored_by_a_fit_to_the_others() -> None:
    held_out = Greys().cross_fit_scores(Batches(greys(10, 20, 40, 80, 160), SIZE))
    # Fewer images than folds: each is alone in its own, and its nearest is the nearest of all
    # others.
    assert torch.allclose(held_out.image * 255, torch.tensor([10.0, 10, 20, 40, 80]), atol=1e-3)
    assert torch.equal(held_out.peak, held_out.image)


def test_what_was_fitted_has_seen_all() -> None:
    method = Greys()
    method.cross_fit_scores(Batches(greys(*range(0, 250, 10)), SIZE))
    assert len(method.head_.known) == 25


def test_images_of_a_group_are_never_in_two_folds() -> None:
    twins = [value for value in range(0, 240, 12) for _ in range(2)]
    alone = Greys().cross_fit_scores(Batches(greys(*twins), SIZE))
    together = Greys().cross_fit_scores(
        Batches(greys(*twins), SIZE, groups=[str(value) for value in twins])
    )
    assert (alone.image < 1e-4).any()
    assert (together.image > 1e-2).all()
    assert len(twins) > 2 * Greys.folds


def test_a_bad_image_among_them_is_passed_over() -> None:
    images = greys(10, 20, 40)
    batches = Batches([images[0], b"no image", *images[1:]], SIZE)
    assert len(Greys().cross_fit_scores(batches).image) == 3


def test_what_no_graph_can_hold_says_why() -> None:
    method = Greys().fit(Batches(greys(10, 20), SIZE))
    with pytest.raises(NotExportable, match="Greys cannot be a graph: it is a toy"):
        method.exportable_head()


def test_two_strides_of_one_network_are_two_encoders() -> None:
    # Compiled graphs are kept by weights and options; the weights are the same.
    images = torch.zeros(1, 3, 64, 64)
    shapes = []
    for stride in (None, 8):
        method = make_method(
            "patchcore", backbone="test_resnet", weights="random", layers=(3,), stride=stride
        )
        shapes.append(method.encoder_runner.graph(64, 64).model.outputs[0].shape[1])
        assert method.encoder_runner.encode(images).maps[0].shape[1] == shapes[-1]
    assert shapes == [4, 8]


@pytest.mark.parametrize("stride", [0, -8, 12])
def test_a_stride_is_a_power_of_two(stride: int) -> None:
    with pytest.raises(OptionError, match=f"stride={stride}; use a power of two"):
        Greys(stride=stride)
