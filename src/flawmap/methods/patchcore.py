"""PatchCore and its relatives: one class, assembled from parts (Roth et al. 2022).

A memory of patch vectors from good pictures, thinned to a coreset; a patch is as odd as it is far from the nearest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from operator import length_hint
from typing import ClassVar, Literal

import torch
from einops import rearrange
from torch import Tensor, nn

from flawmap.engine.batches import Batch, Batches
from flawmap.engine.run import best_device
from flawmap.errors import DatasetError, OptionError
from flawmap.features.anomaly_map import AnomalyMap
from flawmap.features.context import Context, Neighbourhood
from flawmap.features.patches import Alignment, Embedded, PatchEmbedder
from flawmap.features.reducers import Reducer, SparseRandomProjection, load_reducer
from flawmap.features.registration import FeatureAligner, NoRegistration, Registration
from flawmap.features.registration import load_aligner as restore_aligner
from flawmap.memory.bank import Bank, ImageScore, Maximum
from flawmap.memory.concat import concat_batches
from flawmap.memory.coreset import k_center_greedy
from flawmap.memory.leave_out import LeaveOut
from flawmap.memory.neighbours import Nearest
from flawmap.memory.threads import single_threaded
from flawmap.methods.base import HeldOutScores, MemoryMethod, State, not_fitted
from flawmap.support.progress import track
from flawmap.support.tensors import Images, Indices, Patches, Scores

Scope = Literal["coreset", "bank"]


@dataclass(eq=False)
class PatchCore(MemoryMethod):
    """PatchCore, and by other parts the methods that vary it.

    Args:
        context: what a position of the deepest layer sees of its surroundings.
        alignment: how coarser layers are brought to the finest one's grid.
        reducer: makes vectors shorter.
        scope: `coreset` reduces only to choose the coreset, as PatchCore does; `bank` keeps and compares reduced
            vectors, as the improved PatchCore does.
        coreset: the share of all patches that is remembered, more than 0 and at most 1.
        image_score: how a picture's patches make its score.
        sigma: of the Gaussian over the map, in pixels.
        registration: whether pictures are brought into one pose first, inside the backbone.
    """

    component_types: ClassVar[tuple[type, ...]] = (Context, Reducer, ImageScore, Registration)

    context: Context = Neighbourhood()
    alignment: Alignment = "bilinear"
    reducer: Reducer = SparseRandomProjection()
    reducer_scope: Scope = "coreset"
    coreset: float = 0.01
    image_score: ImageScore = Maximum()
    sigma: float = 4.0
    registration: Registration = NoRegistration()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.coreset <= 1:
            raise OptionError(f"a coreset of {self.coreset} is not a share; use more than 0 and at most 1")
        self.bank_: Bank | None = None
        self.reduction_: nn.Module = nn.Identity()
        self.aligner_: FeatureAligner | None = None

    def fit_features(self, batches: Iterable[Batch]) -> None:
        """Learn the registration, where there is one."""
        self._engine = None
        self.aligner_ = self.registration.fit(self.feature_extractor, (batch.images for batch in batches), self.seed)

    def extract(self, batches: Iterable[Batch]) -> State:
        """Embed pictures; vectors are reduced as they come where that need not be learned from them."""
        sizes = []

        def embed(batch: Batch) -> list[Tensor]:
            sizes.append(batch.images.shape[-2:])
            return self.encode(batch.images)

        self.warm_up(batches)
        grids = concat_batches(map(embed, batches), length_hint(batches))
        if not grids:
            raise DatasetError("no picture could be used, so there is nothing to learn from")
        transforms = {f"transform{stage}": each for stage, each in enumerate(grids[1:])}
        return {"grid": grids[0], "size": torch.tensor(sizes[0]), **transforms}

    def fit_shards(self, shards: list[State]) -> PatchCore:
        """Choose the coreset of all gathered vectors."""
        grid = shards[0]["grid"] if len(shards) == 1 else torch.cat([part["grid"] for part in shards])
        vectors = rearrange(grid, "p h w c -> (p h w) c")
        kept, searched = self.reduce(vectors)
        count = max(1, int(len(vectors) * self.coreset))
        start = int(torch.randint(len(vectors), (), generator=torch.Generator().manual_seed(self.seed)))
        chosen = k_center_greedy(searched.to(best_device()), count, start=start).cpu().sort().values
        self.bank_ = Bank(kept[chosen], chosen // (grid.shape[1] * grid.shape[2])).to(best_device())
        return self

    def cross_fit_scores(self, batches: Batches) -> HeldOutScores:
        """Gather, settle, and score every picture as if its group had not been there."""
        self.fit_features(batches)
        part = self.extract(batches)
        return self.fit_shards([part]).leave_one_out_scores(part, batches.group_ids)

    @torch.inference_mode()
    def leave_one_out_scores(self, part: State, group_ids: Indices) -> HeldOutScores:
        """Score gathered pictures against the bank as it would be without what their owner brought; after `settle`.

        Args:
            part: what `gather` gave.
            owners: of each picture, numbered from 0.
        """
        vectors = rearrange(part["grid"], "p h w c -> (p h w) c")
        vectors = vectors if self._reduces_early else _in_blocks(self.reduction_, vectors)
        grid = vectors.reshape(*part["grid"].shape[:3], -1)
        head, left_out = self.head().to(best_device()), LeaveOut(self._bank(), vectors, group_ids)
        image, peak = torch.zeros(len(grid)), torch.zeros(len(grid))
        transforms = [part[name].to(best_device()) for name in sorted(part) if name.startswith("transform")]
        with single_threaded():
            for group_id in track(group_ids.unique().tolist(), "judging good pictures", len(group_ids.unique())):
                others = left_out.bank_without(group_id)
                for picture in (group_ids == group_id).nonzero()[:, 0].tolist():
                    found = Nearest(*(one.reshape(1, *grid.shape[1:3]) for one in left_out.nearest_in(picture, others)))
                    embedded = Embedded(
                        grid[picture, None].to(best_device()), [one[picture, None] for one in transforms]
                    )
                    scores = head.score(embedded, found, others, *part["size"].tolist())
                    image[picture], peak[picture] = scores.image[0], scores.pixel.max()
        return HeldOutScores(image, peak)

    def encoder(self) -> PatchCoreEncoder:
        """Give embedding and, where it need not be learned, reduction as one module."""
        return PatchCoreEncoder(self._embedding(), self._early_reduction())

    def head(self) -> PatchCoreHead:
        """Give what was learned of the reduction, search and map as one module."""
        late = nn.Identity() if self._reduces_early else self.reduction_
        return PatchCoreHead(late, self._bank(), self.image_score, AnomalyMap(self.sigma))

    def fitted_state(self) -> State:
        """Give the bank and, where vectors are compared reduced, the reduction."""
        bank = self._bank()
        parts = {"reduction": self.reduction_, "aligner": self.aligner_ or nn.Identity()}
        states = {name: part.state_dict() for name, part in parts.items()}
        saved = {f"{name}.{key}": tensor.cpu() for name, state in states.items() for key, tensor in state.items()}
        return {"bank.vectors": bank.vectors.cpu(), "bank.image_ids": bank.image_ids.cpu(), **saved}

    def load_fitted_state(self, learned: State) -> None:
        """Take the bank and the reduction back."""

        def of(part: str) -> State:
            return {name.removeprefix(part): learned[name] for name in learned if name.startswith(part)}

        self.bank_ = Bank(learned["bank.vectors"], learned["bank.image_ids"]).to(best_device())
        self.reduction_ = load_reducer(of("reduction.")).to(best_device())
        aligner = restore_aligner(of("aligner."))
        self.aligner_ = aligner.to(best_device()) if aligner else None

    @property
    def _reduces_early(self) -> bool:
        return self.reducer_scope == "bank" and not self.reducer.needs_fit

    def _early_reduction(self) -> nn.Module:
        if not self._reduces_early:
            return nn.Identity()
        if not isinstance(self.reduction_, nn.Identity):
            return self.reduction_
        blocks = self._embedding().blocks
        return self.reducer.fit(torch.empty(1, sum(blocks)), blocks, self.seed).to(best_device())

    def reduce(self, vectors: Patches) -> tuple[Tensor, Tensor]:
        """Give the vectors to keep in the bank and those to search for the coreset; learns the reduction."""
        if self._reduces_early:
            self.reduction_ = self._early_reduction()
            return vectors, vectors
        reduction = self.reducer.fit(vectors, self._embedding().blocks, self.seed)
        searched = _in_blocks(reduction, vectors)
        if self.reducer_scope == "coreset":
            return vectors, searched
        self.reduction_ = reduction.to(best_device())
        return searched, searched

    def _embedding(self) -> PatchEmbedder:
        return PatchEmbedder(self.feature_extractor, self.context, self.alignment, self.aligner_)

    def _bank(self) -> Bank:
        if self.bank_ is None:
            raise not_fitted(self)
        return self.bank_


class PatchCoreEncoder(nn.Module):
    """Pictures to vectors, and to how their grids lie in them where they were registered."""

    def __init__(self, embedding: PatchEmbedder, reduction: nn.Module) -> None:
        super().__init__()
        self.embedding, self.reduction = embedding, reduction

    def forward(self, images: Images) -> list[Tensor]:
        """Give the grid, then the transforms."""
        grid, transforms = self.embedding(images)
        return [self.reduction(grid), *transforms]


class PatchCoreHead(nn.Module):
    """Vectors to scores: reduce, compare with the bank, draw the map."""

    def __init__(self, reduction: nn.Module, bank: Bank, image_score: ImageScore, pixel_map: AnomalyMap) -> None:
        super().__init__()
        self.reduction, self.bank, self.image_score, self.pixel_map = reduction, bank, image_score, pixel_map

    def forward(self, encoded: list[Tensor], height: int, width: int) -> Scores:
        """Score what the encoder gave of a batch."""
        grid, *transforms = encoded
        embedded = Embedded(self.reduction(grid), transforms)
        return self.score(embedded, self.bank(embedded.grid), self.bank, height, width)

    def score(self, embedded: Embedded, found: Nearest, bank: Bank, height: int, width: int) -> Scores:
        """Score patches by what a bank said of them; the map comes in the given size, the image score is of patches."""
        distances = found.distances
        if embedded.transforms:
            distances = FeatureAligner.to_image_frame(distances, embedded.transforms)
        return Scores(self.image_score(embedded.grid, found, bank), self.pixel_map(distances, height, width))


def _in_blocks(reduction: nn.Module, vectors: Tensor, rows: int = 2**16) -> Tensor:
    """Reduce block by block, so that only the result takes memory."""
    if isinstance(reduction, nn.Identity):
        return vectors
    blocks = vectors.split(rows)
    first: Tensor = reduction(blocks[0])
    reduced = first.new_empty(len(vectors), first.shape[1])
    for place, block in zip(reduced.split(rows), blocks, strict=True):
        place.copy_(reduction(block))
    return reduced
