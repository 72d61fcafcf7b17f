"""Position embeddings of transformers in another size, in operations that OpenVINO has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_Matrix = Float[np.ndarray, "_new _old"]

_CUBIC_A = -0.5
"""Keys' parameter of the cubic, as torch and Pillow have it where they avoid aliases."""


class ResampleByMatrices(TorchFunctionMode):
    """Inside the `with` block, bicubic interpolation without aliases is two matrix products.

    timm resamples the positions that a transformer was trained with by an operation that OpenVINO
    lacks.

    Example:
        >>> with ResampleByMatrices():
        ...     resized = functional.interpolate(
        ...         torch.ones(1, 1, 4, 4), size=(3, 5), mode="bicubic", antialias=True
        ...     )
        >>> resized.shape
        torch.Size([1, 1, 3, 5])
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """The function's result, or the two products.

        Args:
            func: a function of torch.
            types: unused.
            args: its arguments.
            kwargs: its named arguments.
        """
        named = dict(kwargs or {})
        is_resampling = named.get("mode") == "bicubic" and named.get("antialias")
        if func is functional.interpolate and is_resampling:
            return _resample(args[0], named["size"])
        return func(*args, **named)


def _resample(maps: Tensor, size: Sequence[int]) -> Tensor:
    rows, columns = (
        torch.from_numpy(cubic_matrix(old, new)).to(maps)
        for old, new in zip(maps.shape[-2:], size, strict=True)
    )
    return rows @ maps @ columns.T


def cubic_matrix(old: int, new: int) -> _Matrix:
    """The matrix that resamples a row of numbers by Keys' cubic, widened where the row shrinks.

    As `functional.interpolate` with `bicubic` and `antialias` (Keys 1981).

    Args:
        old: how many numbers there are.
        new: how many are wanted.

    Example:
        >>> cubic_matrix(3, 3)
        array([[1., 0., 0.],
               [0., 1., 0.],
               [0., 0., 1.]], dtype=float32)
    """
    scale = old / new
    centres = scale * (np.arange(new) + 0.5)
    offsets = np.arange(old) + 0.5 - centres[:, None]
    distance = np.abs(offsets) / max(scale, 1.0)
    near = (_CUBIC_A + 2) * distance**3 - (_CUBIC_A + 3) * distance**2 + 1
    far = _CUBIC_A * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    weights = np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
    # A sum of 1 at the border too, where the cubic reaches beyond the row.
    normalised = weights / weights.sum(axis=1, keepdims=True)
    return np.asarray(normalised, np.float32)
