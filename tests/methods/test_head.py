from __future__ import annotations

import torch
from torch import nn

from flawmap.methods.head import Head, ScoringModule
from flawmap.support.tensors import Compared, Embedded, Images, Maps, PerImage


class Blue(nn.Module):
    def forward(self, images: Images) -> Embedded:
        return Embedded((images[:, 2:],))


class BlueHead(Head):
    """Notes the order of the steps."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[str] = []

    def compare(self, embedded: Embedded) -> Compared:
        self.steps.append("compare")
        return Compared((embedded.maps[0][:, 0],))

    def anomaly_map(self, embedded: Embedded, compared: Compared, height: int, width: int) -> Maps:
        self.steps.append(f"map of {height}x{width}")
        return 2 * compared.distances[0]

    def image_score(self, embedded: Embedded, compared: Compared, maps: Maps) -> PerImage:
        self.steps.append("score")
        return maps.amax(dim=(1, 2))


def test_the_score_is_made_after_the_map_and_may_read_it() -> None:
    head = BlueHead()
    images = torch.rand(2, 3, 4, 6)
    scores = ScoringModule(Blue(), head)(images)
    assert head.steps == ["compare", "map of 4x6", "score"]
    assert torch.equal(scores.pixel, 2 * images[:, 2])
    assert torch.equal(scores.image, 2 * images[:, 2].amax(dim=(1, 2)))
