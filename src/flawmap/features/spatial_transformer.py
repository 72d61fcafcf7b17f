"""Spatial transformers between the stages of a backbone: they bring feature maps into one pose.

Jaderberg et al. (2015), in the layout of RegAD (Huang et al. 2022). Their training is in
`features/registration.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import reduce
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from flawmap.errors import OptionError
from flawmap.features.feature_extractor import FeatureExtractor
from flawmap.features.tensor_shapes import Transforms
from flawmap.features.timm_network import DEFAULT_BACKBONE
from flawmap.support.tensors import Distances, Features, Images

TransformModel = Literal["rotation_scale", "affine"]
"""What a transformer may do: an angle and a scale along each axis, or all six numbers."""

_IDENTITY: dict[TransformModel, tuple[float, ...]] = {
    "rotation_scale": (0, 1, 1),
    "affine": (1, 0, 0, 0, 1, 0),
}
"""The parameters that leave a map as it is: angle, horizontal and vertical scale; or a 2×3 matrix,
row by row.
"""


class AlignedFeatures(NamedTuple):
    """The output of a `FeatureAligner` for a batch.

    Args:
        maps: the registered maps of the backbone's layers, (batch, channel, row, column) each.
        transforms: (batch, 2, 3) per stage, from a position of its output to the position that it
            was taken from, in units of half the map's width and height.
    """

    maps: list[Features]
    transforms: list[Transforms]


class SpatialTransformer(nn.Module):
    """Computes from a map how to turn and scale it; begins with the identity.

    Args:
        channels: of the map.
        positions: number of map positions after two 2×2 poolings (14² of 56²).
        transform: the parameters that it computes.

    Example:
        >>> transformer = SpatialTransformer(8, 4 * 4, "rotation_scale").eval()
        >>> transformer(torch.zeros(1, 8, 16, 16)).tolist()
        [[[1.0, -0.0, 0.0], [0.0, 1.0, 0.0]]]
    """

    def __init__(self, channels: int, positions: int, transform: TransformModel) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(channels, 64, 3, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
            nn.Conv2d(64, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        )
        last = nn.Linear(1024, len(_IDENTITY[transform]))
        with torch.no_grad():
            last.weight.zero_()
            last.bias.copy_(torch.tensor(_IDENTITY[transform]))
        self.regression = nn.Sequential(
            nn.Flatten(),
            nn.Linear(16 * positions, 1024),
            nn.ReLU(),
            last,
        )

    def forward(self, features: Features) -> Transforms:
        """The transform of each map, (batch, 2, 3), in units of half the map's width and height.

        Args:
            features: (batch, channel, row, column), of the size that it was made for.
        """
        parameters: Tensor = self.regression(self.convolutions(features))
        if parameters.shape[1] == 3:
            parameters = _rotation_scale_matrix(parameters, *features.shape[-2:])
        return torch.unflatten(parameters, 1, (2, 3))


class FeatureAligner(nn.Module):
    """One transformer after each of the backbone's stages, from layer 1 to the deepest wanted one.

    Args:
        transformers: one for each stage, in order.
    """

    def __init__(self, transformers: Sequence[SpatialTransformer]) -> None:
        super().__init__()
        self.transformers = nn.ModuleList(transformers)

    def forward(self, backbone: FeatureExtractor, images: Images) -> AlignedFeatures:
        """Run the backbone with the transformers in it.

        Args:
            backbone: is as before afterwards, even after an error.
            images: (batch, 3, height, width), preprocessed.
        """
        transforms: list[Tensor] = []

        def align_with(transformer: nn.Module) -> Callable[..., Tensor]:
            def align(_stage: nn.Module, _inputs: object, features: Tensor) -> Tensor:
                transforms.append(transformer(features))
                return resample(features, transforms[-1], "reflection")

            return align

        with ExitStack() as hooks:
            for stage, transformer in zip(backbone.stages(), self.transformers, strict=True):
                hooks.enter_context(stage.register_forward_hook(align_with(transformer)))
            return AlignedFeatures(backbone(images), transforms)

    @staticmethod
    def to_image_frame(distances: Distances, transforms: Sequence[Transforms]) -> Distances:
        """Distances at their positions in the image: the transforms are undone, the last one first.

        All are undone at once, so that the map is interpolated once. A position of the image that
        the registered one does not show was never looked at: it takes the value of the nearest
        position that was. Zeros would call it good, and a reflection would show one defect twice.

        Args:
            distances: (batch, row, column), in the registered frame.
            transforms: (batch, 2, 3) per stage, in the order in which they were applied.
        """
        combined = reduce(_compose, transforms)
        return resample(distances[:, None], _invert(combined), "border")[:, 0]


def make_aligner(
    backbone: FeatureExtractor, image: Tensor, transform: TransformModel
) -> FeatureAligner:
    """An untrained aligner for images of one size; what is random comes from torch's generator.

    Args:
        backbone: its stages up to the deepest layer get a transformer each.
        image: (3, height, width), on the backbone's device; only its size counts.
        transform: what a transformer may do.

    Raises:
        OptionError: no transformer can stand between the stages of this backbone.
    """
    outputs: list[Tensor] = []

    def keep(_stage: nn.Module, _inputs: object, features: Tensor) -> None:
        outputs.append(features)

    with torch.no_grad(), ExitStack() as hooks:
        for stage in backbone.stages():
            hooks.enter_context(stage.register_forward_hook(keep))
        maps = backbone(image[None])
    complete = len(outputs) == max(backbone.layers)
    layer_outputs = [outputs[layer - 1] for layer in backbone.layers] if complete else []
    if [id(output) for output in layer_outputs] != [id(layer_map) for layer_map in maps]:
        raise OptionError(
            f"no transformer can stand between the stages of {backbone.name}; use "
            f"{DEFAULT_BACKBONE} or a ResNet"
        )
    transformers = []
    for output in outputs:
        positions = math.prod(math.ceil(side / 4) for side in output.shape[-2:])
        transformers.append(SpatialTransformer(output.shape[1], positions, transform))
    return FeatureAligner(transformers)


def load_aligner(state: dict[str, Tensor]) -> FeatureAligner | None:
    """A trained aligner from its tensors; None where there are none.

    Args:
        state: the `state_dict` of what `Registration.fit` gave; empty without registration.
    """
    if not state:
        return None
    transformers: list[SpatialTransformer] = []
    # Without memory, so without drawing random numbers, until the tensors come.
    with torch.device("meta"):
        while (prefix := f"transformers.{len(transformers)}.") + "convolutions.0.weight" in state:
            channels = state[prefix + "convolutions.0.weight"].shape[1]
            positions = state[prefix + "regression.1.weight"].shape[1] // 16
            affine = len(state[prefix + "regression.3.bias"]) == len(_IDENTITY["affine"])
            transform: TransformModel = "affine" if affine else "rotation_scale"
            transformers.append(SpatialTransformer(channels, positions, transform))
    aligner = FeatureAligner(transformers)
    aligner.load_state_dict(state, assign=True)
    return aligner.eval().requires_grad_(False)


def resample(
    maps: Features, transforms: Transforms, padding: Literal["reflection", "border"]
) -> Features:
    """Each map as its transform shows it, interpolated bilinearly.

    Args:
        maps: (batch, channel, row, column).
        transforms: (batch, 2, 3), from a position of the output to one of the input.
        padding: what stands beyond the map's border.
    """
    grid = functional.affine_grid(transforms, list(maps.shape), align_corners=False)
    return functional.grid_sample(maps, grid, padding_mode=padding, align_corners=False)


def _compose(first: Transforms, second: Transforms) -> Transforms:
    """One transform for two: from a position after both to the position before both.

    Args:
        first: (batch, 2, 3), applied first.
        second: (batch, 2, 3), applied to the first one's output.
    """
    linear = first[..., :2]
    shift = linear @ second[..., 2:] + first[..., 2:]
    return torch.cat([linear @ second[..., :2], shift], dim=-1)


def _invert(transforms: Transforms) -> Transforms:
    """The transforms that undo these.

    Written out, since exporters know no inverse. A map that was pressed flat cannot be spread
    again, but gives finite numbers.

    Args:
        transforms: (batch, 2, 3).

    Example:
        >>> half = torch.tensor([[[0.5, 0.0, 1.0], [0.0, 0.5, 0.0]]])
        >>> _compose(half, _invert(half)).abs().tolist()
        [[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]
    """
    first_row, second_row = transforms[..., :2].unbind(dim=-2)
    a, b = first_row.unbind(dim=-1)
    c, d = second_row.unbind(dim=-1)
    determinant = a * d - b * c
    determinant = torch.where(determinant.abs() < 1e-3, 1e-3, determinant)
    adjugate = torch.stack([d, -b, -c, a], dim=-1).unflatten(-1, (2, 2))
    linear = adjugate / determinant[..., None, None]
    return torch.cat([linear, -linear @ transforms[..., 2:]], dim=-1)


def _rotation_scale_matrix(parameters: Tensor, rows: int, columns: int) -> Tensor:
    """Matrices row by row, (batch, 6), of angle, horizontal scale and vertical scale.

    The angle is one of pixels: in units of width and height a turn would shear a map that is not
    square.
    """
    angle, horizontal, vertical = parameters.unbind(dim=1)
    aspect = columns / rows
    cos = angle.cos()
    sin = angle.sin()
    zero = torch.zeros_like(angle)
    matrix = [
        cos * horizontal,
        -sin * vertical / aspect,
        zero,
        sin * horizontal * aspect,
        cos * vertical,
        zero,
    ]
    return torch.stack(matrix, dim=1)
