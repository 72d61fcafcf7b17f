"""PatchCore's two modules: images to patch vectors, and patch vectors to scores by a bank."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from flawmap.engine.run import best_device
from flawmap.errors import OptionError
from flawmap.features.context_base import Context
from flawmap.features.patches import PatchEmbedder
from flawmap.features.place_scaling import PlaceScaling
from flawmap.features.registration import NoRegistration, Registration
from flawmap.features.spatial_transformer import FeatureAligner
from flawmap.memory.bank import Bank, ImageScore
from flawmap.memory.neighbours import Nearest
from flawmap.methods.head import Head
from flawmap.runtime.preprocess import PADDING
from flawmap.support.tensors import (
    Compared,
    Distances,
    Embedded,
    Images,
    Inside,
    Maps,
    Patches,
    PatchGrid,
    PerImage,
    Scores,
)


class PatchCoreEncoder(nn.Module):
    """Images to patch vectors, with the transforms where images were registered.

    Args:
        embedding: images to a patch grid.
        reduction: makes vectors shorter; the identity where that happens in the head or nowhere.
        masks_padding: whether images may be letterboxed; the network then sees 0, the mean colour,
            where there is padding, as its convolutions do beyond the border.
    """

    def __init__(
        self, embedding: PatchEmbedder, reduction: nn.Module, *, masks_padding: bool = False
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.reduction = reduction
        self.masks_padding = masks_padding

    def forward(self, images: Images) -> Embedded:
        """One patch grid (batch, row, column, channel), the transforms, and which patches count.

        Args:
            images: (batch, 3, height, width), preprocessed.
        """
        if not self.masks_padding:
            (grid,), transforms, _ = self.embedding(images)
            return Embedded((self.reduction(grid),), transforms)
        is_image = images[:, :1] > PADDING / 2
        (grid,), transforms, _ = self.embedding(torch.where(is_image, images, 0.0))
        return Embedded((self.reduction(grid),), transforms, _patches_inside(is_image, grid))


def _patches_inside(is_image: Tensor, grid: PatchGrid) -> Inside:
    """1 for the patches of the image: the corner says it, for none is partly padding."""
    row_stride = is_image.shape[2] // grid.shape[1]
    column_stride = is_image.shape[3] // grid.shape[2]
    return is_image[:, 0, ::row_stride, ::column_stride].flatten(1).float()


class PatchCoreHead(Head):
    """Patch vectors to scores: reduce them, find their nearest vectors in a bank, draw the map.

    Args:
        reduction: makes vectors shorter, as those of the bank are; or the identity.
        bank: what patches are compared with.
        image_rule: how the patches of an image make its score.
        pixel_map: distances per patch to the anomaly map, as `AnomalyMap`.
        places: scales distances by place; None leaves them as they are.

    Example:
        >>> from flawmap.features.anomaly_map import AnomalyMap
        >>> from flawmap.memory.bank import Maximum
        >>> bank = Bank(torch.zeros(1, 2), torch.tensor([0]))
        >>> head = PatchCoreHead(nn.Identity(), bank, Maximum(), AnomalyMap(sigma=1.0))
        >>> head(Embedded((torch.ones(1, 4, 4, 2),)), height=16, width=16).image
        tensor([1.4142])
    """

    def __init__(
        self,
        reduction: nn.Module,
        bank: Bank,
        image_rule: ImageScore,
        pixel_map: nn.Module,
        places: PlaceScaling | None = None,
    ) -> None:
        super().__init__()
        self.reduction = reduction
        self.bank = bank
        self.image_rule = image_rule
        self.pixel_map = pixel_map
        self.places = places

    def compare(self, embedded: Embedded) -> Compared:
        """The distance of each patch to the bank, 0 for padding, and the bank's nearest row.

        Args:
            embedded: one patch grid (batch, row, column, channel).
        """
        nearest = self.bank(self._vectors(embedded))
        return Compared((self._scaled(nearest.distances, embedded),), nearest.rows)

    def anomaly_map(self, embedded: Embedded, compared: Compared, height: int, width: int) -> Maps:
        """The distances in the image's own pose and size, smoothed.

        Args:
            embedded: the encoder's output; its transforms say how images were registered.
            compared: the distance of each patch.
            height: height of the images in pixels.
            width: width of the images in pixels.
        """
        (distances,) = compared.distances
        if embedded.transforms:
            distances = FeatureAligner.to_image_frame(distances, embedded.transforms)
        maps: Maps = self.pixel_map(distances, height, width, embedded.inside)
        return maps

    def image_score(self, embedded: Embedded, compared: Compared, maps: Maps) -> PerImage:
        """The score of each image, from its patches before smoothing.

        Args:
            embedded: one patch grid (batch, row, column, channel).
            compared: distances and nearest rows.
            maps: unused.
        """
        del maps
        rows = compared.nearest_rows
        assert rows is not None, "compare sets the rows of every patch"
        nearest = Nearest(compared.distances[0], rows, embedded.inside)
        return self.image_rule(self._vectors(embedded), nearest, self.bank)

    def score_compared(
        self, embedded: Embedded, nearest: Nearest, height: int, width: int
    ) -> tuple[Tensor, Tensor]:
        """Image score and map peak of one image, by distances that are known already.

        Args:
            embedded: the encoder's output for the image, a batch of one.
            nearest: distance to the bank and nearest row of each patch, (row · column,).
            height: height of the image in pixels.
            width: width of the image in pixels.

        Returns:
            Two numbers, the image score and the largest value of the anomaly map.
        """
        # What was kept in half precision is computed with in single.
        tensors = (tensor.float() for tensor in embedded.to(best_device()).flatten())
        embedded = Embedded.unflatten(tensors)
        shape = embedded.maps[0].shape[:3]
        distances = self._scaled(nearest.distances.reshape(shape), embedded)
        compared = Compared((distances,), nearest.rows.reshape(shape))
        maps = self.anomaly_map(embedded, compared, height, width)
        return self.image_score(embedded, compared, maps)[0], maps.max()

    @property
    def bank_is_replaceable(self) -> bool:
        """Whether distances to the bank are all that a score needs of it."""
        return not self.image_rule.uses_bank

    def queries(self, embedded: Embedded) -> Patches:
        """What is compared with the bank, (patch, channel), image by image and row by row.

        Args:
            embedded: one patch grid (batch, row, column, channel).
        """
        return rearrange(self._vectors(embedded), "b h w c -> (b h w) c")

    def scores_by_distance(
        self, embedded: Embedded, distances: Tensor, height: int, width: int
    ) -> Scores:
        """Image scores and anomaly maps by distances to the bank that are known already.

        Args:
            embedded: one patch grid (batch, row, column, channel).
            distances: of `queries`, (patch,).
            height: height of the images in pixels.
            width: width of the images in pixels.
        """
        grid = self._scaled(distances.reshape(embedded.maps[0].shape[:3]), embedded)
        compared = Compared((grid,), torch.zeros_like(grid, dtype=torch.long))
        maps = self.anomaly_map(embedded, compared, height, width)
        return Scores(self.image_score(embedded, compared, maps), maps)

    def _vectors(self, embedded: Embedded) -> PatchGrid:
        """The patch grid as the bank's vectors are; graphs reduce it once for both steps."""
        vectors: PatchGrid = self.reduction(embedded.maps[0])
        return vectors

    def _scaled(self, distances: Distances, embedded: Embedded) -> Distances:
        """The distances, scaled by place where that is wanted, and 0 for padding."""
        if self.places is not None:
            distances = self.places(distances)
        if embedded.inside is None:
            return distances
        return distances * embedded.inside.reshape(distances.shape)


def check_letterbox(context: Context, registration: Registration) -> None:
    """Nothing, where images may be letterboxed with these components.

    Args:
        context: how a position of the deepest layer sees its surroundings.
        registration: whether images are brought into one pose first.

    Raises:
        OptionError: one of them would mix padding into the image.
    """
    if not context.is_local:
        raise OptionError(
            f"letterbox=true: the context {type(context).__name__} sees the full map, "
            "padding included; use context=Neighbourhood, or letterbox=false"
        )
    if not isinstance(registration, NoRegistration):
        raise OptionError(
            "letterbox=true: a registration would move padding into the image; use "
            "registration=NoRegistration, or letterbox=false"
        )
