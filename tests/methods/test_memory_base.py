from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from flawmap.engine.batches import Batch
from flawmap.methods.base import State
from flawmap.methods.head import Head
from flawmap.methods.memory_base import MemoryMethod

BATCHES = [Batch(torch.zeros(2, 3, 8, 8), ["a", "b"]), Batch(torch.ones(1, 3, 8, 8), ["c"])]


@dataclass(eq=False)
class Counting(MemoryMethod):
    def fit_features(self, batches: Iterable[Batch], folder: Path | None = None) -> None:
        self.seen_before = len(list(batches))

    def extract(self, batches: Iterable[Batch]) -> State:
        assert self.seen_before == 2
        return {"count": torch.tensor(sum(len(batch.names) for batch in batches))}

    def fit_shards(self, shards: list[State]) -> Counting:
        self.count_ = [int(shard["count"]) for shard in shards]
        return self

    def encoder(self) -> nn.Module:
        raise NotImplementedError

    def head(self) -> Head:
        raise NotImplementedError

    def fitted_state(self) -> State:
        raise NotImplementedError

    def load_fitted_state(self, state: State) -> None:
        raise NotImplementedError


def test_fit_takes_features_first_and_then_one_shard_of_all_images(tmp_path: Path) -> None:
    method = Counting()
    assert method.fit(BATCHES, tmp_path) is method
    assert method.count_ == [3]
    assert list(tmp_path.iterdir()) == []
