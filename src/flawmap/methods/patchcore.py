"""PatchCore and its relatives: one class, assembled from components (Roth et al. 2022).

A bank of patch vectors of good images, thinned to a coreset; a patch is as anomalous as its
nearest vector in the bank is far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from operator import length_hint
from pathlib import Path

import torch
from torch import Tensor, nn

from flawmap.engine.batches import Batch, Batches
from flawmap.engine.run import best_device
from flawmap.errors import DatasetError, OptionError
from flawmap.features.anomaly_map import AnomalyMap
from flawmap.features.context import Neighbourhood
from flawmap.features.context_base import Context
from flawmap.features.patches import Alignment, PatchEmbedder
from flawmap.features.place_scaling import PlaceScaling
from flawmap.features.reducers import SparseRandomProjection
from flawmap.features.reduction import Reducer
from flawmap.features.registration import NoRegistration, Registration
from flawmap.features.spatial_transformer import FeatureAligner, load_aligner
from flawmap.memory.bank import Bank, ImageScore, Maximum, TopShare
from flawmap.memory.choose_coreset import bank_rows, choose_coreset
from flawmap.memory.concat import concat_batches
from flawmap.memory.forecast import FitSizes
from flawmap.memory.leave_out import LeaveOut
from flawmap.memory.scratch import Scratch
from flawmap.methods.base import HeldOutScores, State, not_fitted
from flawmap.methods.fit_memory import thinning_note
from flawmap.methods.memory_base import MemoryMethod
from flawmap.methods.patchcore_head import PatchCoreEncoder, PatchCoreHead, check_letterbox
from flawmap.methods.patchcore_leave_out import (
    Reduced,
    compare_images,
    fit_places,
    leave_one_out_scores,
)
from flawmap.methods.patchcore_plan import FitPlan, Limits
from flawmap.methods.patchcore_reduction import ReducerScope, VectorReduction, reduce_rows
from flawmap.methods.patchcore_scratch import patches_in_scratch
from flawmap.methods.patchcore_shard import (
    GoodPatches,
    VectorPrecision,
    in_precision,
    make_shard,
)
from flawmap.methods.patchcore_tiles import JoinedScores, leave_out_tiled, make_patch_scoring
from flawmap.runtime.patch_scoring import PatchScoring
from flawmap.support.options import check_range
from flawmap.support.system import release_free_memory
from flawmap.support.tensors import Embedded, Indices
from flawmap.training.checkpoint import with_prefix

_FEW_PATCHES = TopShare(0.001)
"""Four patches of a tile of 512 pixels: about those that see a dot of six."""


@dataclass(eq=False)
class PatchCore(MemoryMethod):
    """PatchCore, and with other components the methods that vary it.

    Roth et al. 2022, "Towards Total Recall in Industrial Anomaly Detection".

    Args:
        context: how a position of the deepest layer sees its surroundings.
        alignment: how coarser layers are brought to the finest one's grid.
        reducer: makes vectors shorter.
        reducer_scope: `coreset` reduces only to choose the coreset, as PatchCore does; `bank` keeps
            and compares reduced vectors, as the improved PatchCore does.
        coreset: fraction of all patches kept in the bank, more than 0 and at most 1.
        max_rows: most patches kept in the bank, 1 or more, however many images there are; None for
            no limit but `coreset`.
        vector_precision: what the vectors of good images are kept in during the fit; `f16` takes
            half the memory, and moves scores by about a thousandth.
        image_score: how the patches of an image make its score.
        tile_score: the same where images are cut into tiles; shares are then of one tile. A defect
            is small in a large image, and the mean of many patches would hide it.
        sigma: standard deviation of the Gaussian over the anomaly map, in pixels, more than 0.
        registration: whether images are brought into one pose first, inside the backbone.
        place_scaling: whether distances are scaled by those of held-out good images at the same
            place; for parts that lie alike.
        letterbox: whether images whose aspect is more than 10 % off the input's are padded instead
            of stretched; padded patches are neither fitted nor scored.

    Raises:
        OptionError: a value out of its range, or `letterbox` with a context or a registration that
            would mix padding into the image.

    Example:
        >>> images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        >>> method = PatchCore(backbone="test_resnet", weights="random", coreset=1.0)
        >>> method = method.fit([Batch(images, ["a.png", "b.png", "c.png", "d.png"])])
        >>> method.score(images[:1]).image
        tensor([0.])
    """

    context: Context = Neighbourhood()
    alignment: Alignment = "bilinear"
    reducer: Reducer = SparseRandomProjection()
    reducer_scope: ReducerScope = "coreset"
    coreset: float = field(default=0.01, metadata={"symbol": "p"})
    max_rows: int | None = None
    vector_precision: VectorPrecision = "f32"
    image_score: ImageScore = Maximum()
    tile_score: ImageScore = _FEW_PATCHES
    sigma: float = field(default=4.0, metadata={"symbol": "σ"})
    registration: Registration = NoRegistration()
    place_scaling: bool = False
    letterbox: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.letterbox:
            check_letterbox(self.context, self.registration)
        check_range(self, "sigma", 0)
        if not 0 < self.coreset <= 1:
            raise OptionError(
                f"a coreset of {self.coreset} is no fraction; use more than 0 and at most 1"
            )
        check_range(self, "max_rows", 1)
        self.bank_: Bank | None = None
        self.reduction_: nn.Module = nn.Identity()
        self.aligner_: FeatureAligner | None = None
        self.places_: PlaceScaling | None = None
        self._scratch: Scratch | None = None
        self._memory_limit = 0

    @property
    def is_trained(self) -> bool:
        """Whether there is a registration, which is trained."""
        return not isinstance(self.registration, NoRegistration)

    @property
    def masks_padding(self) -> bool:
        """Whether padded patches are neither fitted nor scored, so that images may be padded."""
        return self.letterbox

    def patch_scoring(self, *, is_tiled: bool) -> PatchScoring:
        """How the distances of patches make an image's score and map, with tiles or zones.

        Args:
            is_tiled: whether images are cut into tiles.

        Raises:
            OptionError: an option that cannot be with tiles or zones.
        """
        return make_patch_scoring(
            self.tile_score if is_tiled else self.image_score,
            self.sigma,
            masks_padding=self.masks_padding,
            place_scaling=self.place_scaling,
        )

    def limit_memory(self, limit: int, folder: Path) -> None:
        """Keep the fit within so much memory: vectors in half precision, in a file.

        Args:
            limit: most resident memory of this process, in bytes.
            folder: for the vectors; a stopped fit resumes from there.
        """
        self.vector_precision = "f16"
        self._scratch = Scratch(folder / "vectors")
        self._memory_limit = limit

    def forget_scratch(self) -> None:
        """Delete the vectors of good images on the disk, when the bank is saved."""
        if self._scratch is not None:
            self._scratch.remove()

    def fit_features(self, batches: Iterable[Batch], folder: Path | None = None) -> None:
        """Fit the registration, where there is one.

        Args:
            batches: all good images.
            folder: for checkpoints of the registration; None keeps nothing.
        """
        self._runner = None
        images = (batch.images for batch in batches)
        self.aligner_ = self.registration.fit(self.feature_extractor, images, self.seed, folder)

    def extract(self, batches: Iterable[Batch]) -> State:
        """The patch vectors of a shard, reduced where the reducer needs no fit.

        Args:
            batches: the shard's images, all of one size.

        Returns:
            `grid` (image, row, column, channel), `size` of the images as height and width in
            pixels, `transform0`, ... where images were registered, and `inside`, (image, patch),
            where they may be padded.

        Raises:
            DatasetError: no image could be used.
        """
        return self._extract(batches, self._embed)

    def fit_shards(self, shards: list[State]) -> PatchCore:
        """Choose the coreset of all extracted vectors, and keep it as the bank.

        Args:
            shards: what `extract` returned for each.

        Returns:
            The method itself.
        """
        return self._fit_patches(GoodPatches.of_shards(shards))

    def cross_fit_scores(self, batches: Batches, folder: Path | None = None) -> HeldOutScores:
        """Fit to good images, and score each by the bank as it would be without its group.

        Args:
            batches: the images, with their groups; the encoder runs once for each.
            folder: for checkpoints of the registration; None keeps nothing.

        Returns:
            Scores in the order of the images that can be read.
        """
        self.fit_features(batches, folder)
        patches = self._good_patches(batches)
        self._fit_patches(patches)
        preprocessing = batches.preprocessing
        if not batches.joins_patches:
            return self._left_out_scores(patches, batches.group_ids)
        left_out, reduced = self._leave_out(patches, batches.input_group_ids)
        scoring = self.patch_scoring(is_tiled=preprocessing.tile_overlap is not None)
        joined = JoinedScores(scoring, preprocessing)
        compared = compare_images(left_out, patches, reduced)
        return leave_out_tiled(compared, batches.layouts, joined)

    def leave_one_out_scores(self, shard: State, group_ids: Indices) -> HeldOutScores:
        """Score extracted images by the bank as it would be without their group; fit first.

        Args:
            shard: what `extract` returned, the only shard that was fitted.
            group_ids: the group of each image, (image,), numbered from 0.

        Returns:
            Scores in the order of the shard's images.

        Raises:
            NotFitted: there is no bank yet.
        """
        return self._left_out_scores(GoodPatches.of_shards([shard]), group_ids)

    def encoder(self) -> PatchCoreEncoder:
        """Images to patch vectors, reduced where the reducer needs no fit."""
        reduction = self.reduction
        # The fitted one, where there is one: it was loaded with the file.
        is_loaded = reduction.is_early and not isinstance(self.reduction_, nn.Identity)
        module = self.reduction_ if is_loaded else reduction.early_module()
        return PatchCoreEncoder(self._embedder(), module, masks_padding=self.masks_padding)

    def head(self) -> PatchCoreHead:
        """The fitted reduction, the search in the bank, and the anomaly map.

        Raises:
            NotFitted: there is no bank yet.
        """
        reduction = nn.Identity() if self.reduction.is_early else self.reduction_
        return PatchCoreHead(
            reduction, self._bank(), self.image_score, AnomalyMap(self.sigma), self.places_
        )

    def fitted_state(self) -> State:
        """The bank, with the reduction and the registration where there are some."""
        bank = self._bank()
        saved = {"bank.vectors": bank.vectors.cpu(), "bank.image_ids": bank.image_ids.cpu()}
        modules = {
            "reduction": self.reduction_,
            "aligner": self.aligner_ or nn.Identity(),
            "places": self.places_ or nn.Identity(),
        }
        for name, module in modules.items():
            state = module.state_dict()
            saved.update({f"{name}.{key}": tensor.cpu() for key, tensor in state.items()})
        return saved

    def load_fitted_state(self, state: State) -> None:
        """Restore bank, reduction and registration.

        Args:
            state: what `fitted_state` returned.
        """
        bank = Bank(state["bank.vectors"], state["bank.image_ids"])
        self.bank_ = bank.to(best_device())
        self.reduction_ = self.reducer.load(with_prefix("reduction.", state)).to(best_device())
        aligner = load_aligner(with_prefix("aligner.", state))
        self.aligner_ = aligner.to(best_device()) if aligner else None
        places = with_prefix("places.", state)
        self.places_ = PlaceScaling(**places).to(best_device()) if places else None
        self._runner = None

    @property
    def reduction(self) -> VectorReduction:
        """The reducer, and where its result is used."""
        blocks = self._embedder().blocks
        return VectorReduction(self.reducer, self.reducer_scope, blocks, self.seed)

    def _fit_batches(self, batches: Iterable[Batch]) -> None:
        self._fit_patches(self._good_patches(batches))

    def _good_patches(self, batches: Iterable[Batch]) -> GoodPatches:
        """The patches of all good images, in the scratch folder where there is one."""
        if not isinstance(batches, Batches):
            return GoodPatches.of_shards([self.extract(batches)])
        if self._scratch is None:
            embed = FitPlan(batches, partial(self._sizes, batches)).watch(self._embed)
            return GoodPatches.of_shards([self._extract(batches, embed)])
        self.encoder_runner.warm_up(batches)
        release_free_memory()
        key = {"encoder": self.encoder_runner.key, "vectors": self.vector_precision}
        limits = Limits(self._memory_limit, self._scratch.folder)
        plan = FitPlan(batches, partial(self._sizes, batches), limits)
        embed = plan.watch(self._embed)
        patches = patches_in_scratch(self._scratch, key, batches, embed, plan)
        self.encoder_runner.release()  # What comes next takes its place.
        if patches.thinned:
            unit = "tile" if batches.is_tiled else "image"
            kept = patches.grid[1]
            self.notes.append(thinning_note(kept, patches.thinned.of_each, unit))
        return patches

    def _sizes(
        self, batches: Batches, patches: int, kept: int, channels: int, images: int
    ) -> FitSizes:
        """What the cost of the fit depends on."""
        rows = bank_rows(images * patches, self.coreset, self.max_rows)
        reduced = self.reduction.reduced_channels(images * kept)
        is_short = reduced and self.reducer_scope == "bank"
        return FitSizes(
            images=images,
            patches=patches,
            kept=kept,
            channels=channels,
            reduced=reduced,
            rows=min(rows, images * kept),
            bank_channels=reduced if is_short else channels,
            item_bytes=2 if self.vector_precision == "f16" else 4,
            weights=sum(tensor.nbytes for tensor in self.feature_extractor.state_dict().values()),
            threads=torch.get_num_threads(),
            can_thin=not self.place_scaling,
            held=batches.held_bytes,
        )

    def _extract(self, batches: Iterable[Batch], embed: Callable[[Batch], list[Tensor]]) -> State:
        sizes = []

        def embed_sized(batch: Batch) -> list[Tensor]:
            sizes.append(batch.images.shape[-2:])
            return embed(batch)

        self.encoder_runner.warm_up(batches)
        tensors = concat_batches(map(embed_sized, batches), length_hint(batches))
        if not tensors:
            raise DatasetError("no image could be used, so there is nothing to fit to")
        return make_shard(Embedded.unflatten(tensors), sizes[0])

    def _embed(self, batch: Batch) -> list[Tensor]:
        """What the encoder makes of a batch, the vectors in the precision that they are kept in."""
        tensors = self.encoder_runner.encode(batch.images).flatten()
        return [in_precision(tensors[0], self.vector_precision), *tensors[1:]]

    def _fit_patches(self, patches: GoodPatches) -> PatchCore:
        inside = patches.is_inside
        kept, searched, self.reduction_ = self.reduction.fit(patches.vectors, inside)
        rows = choose_coreset(
            searched.to(best_device()) if isinstance(searched, Tensor) else searched,
            self.coreset,
            max_rows=self.max_rows,
            seed=self.seed,
            inside=inside,
            patches=patches.counted,
        )
        images, height, width = patches.grid
        self.bank_ = Bank(kept[rows].float(), rows // (height * width)).to(best_device())
        self.places_ = None
        if self.place_scaling:
            self.places_ = fit_places(self.bank_, kept, (images, height, width), inside)
        return self

    def _left_out_scores(self, patches: GoodPatches, group_ids: Indices) -> HeldOutScores:
        left_out, reduced = self._leave_out(patches, group_ids)
        pixel_map = AnomalyMap(self.sigma).to(best_device())

        def make_head(bank: Bank) -> PatchCoreHead:
            return PatchCoreHead(nn.Identity(), bank, self.image_score, pixel_map, self.places_)

        return leave_one_out_scores(left_out, patches, reduced, make_head)

    def _leave_out(self, patches: GoodPatches, group_ids: Indices) -> tuple[LeaveOut, Reduced]:
        """The bank without each group, and the patches' vectors as it compares them."""
        module = nn.Identity() if self.reduction.is_early else self.reduction_
        reduced = Reduced(reduce_rows(module, patches.vectors), module)
        return LeaveOut(self._bank(), reduced.vectors, group_ids, patches.is_inside), reduced

    def _embedder(self) -> PatchEmbedder:
        return PatchEmbedder(self.feature_extractor, self.context, self.alignment, self.aligner_)

    def _bank(self) -> Bank:
        if self.bank_ is None:
            raise not_fitted(self)
        return self.bank_
