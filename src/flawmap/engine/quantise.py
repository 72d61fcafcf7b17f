"""Eight-bit networks by NNCF."""

from __future__ import annotations

import os
from itertools import islice
from typing import Any

import numpy as np
import openvino

from flawmap.engine.convert import _quiet
from flawmap.support.optional_deps import explain_import_error

QUANTISATION_IMAGES = 300
"""Good images by which a network is quantised; NNCF's own default."""


FLOAT_OPS = (
    *("AvgPool", "Interpolate", "MatMul", "Concat"),
    *("AveragePool", "Resize", "Gemm"),
)
"""Operations, of OpenVINO and of ONNX, that come behind the convolutions: they take little time."""


FLOAT_CONVS = 2
"""Convolutions at the front that are not quantised."""


def quantise(model: Any, images: list[np.ndarray], name: str | None = None) -> Any:
    """The model in eight bits, with ranges measured on these images (NNCF, post-training).

    Args:
        model: of OpenVINO or ONNX.
        images: good ones, prepared.
        name: of the input, for ONNX.

    Raises:
        MissingExtra: NNCF is not installed.
    """
    # Else it reports each use to its makers over the network.
    os.environ["NNCF_CI"] = "1"
    try:
        import nncf
    except ImportError as error:
        raise explain_import_error(error) from error
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    sample = [image[None] for image in images]
    # Weights of seven bits: a CPU without VNNI adds products in 16 bits, and with eight they
    # overflow there. Ranges up to the largest number ever seen: NNCF's default, a mean of largest
    # numbers, cuts off what is unlike good parts.
    with _quiet():
        return nncf.quantize(
            model,
            nncf.Dataset([{name: one} for one in sample] if name else sample),
            preset=nncf.QuantizationPreset.MIXED,
            fast_bias_correction=False,
            ignored_scope=nncf.IgnoredScope(
                list(_first_convolutions(model)), types=list(FLOAT_OPS), validate=False
            ),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                overflow_fix=nncf.OverflowFix.ENABLE,
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
            ),
        )


def _first_convolutions(model: Any) -> list[str]:
    """Name those that keep their floats.

    Few channels carry all there is, and most of the error comes from them.
    """
    operations = (
        ((one.get_friendly_name(), one.get_type_name()) for one in model.get_ordered_ops())
        if isinstance(model, openvino.Model)
        else ((one.name, one.op_type) for one in model.graph.node)
    )
    found = (
        name for name, kind in operations if kind in ("Convolution", "GroupConvolution", "Conv")
    )
    return list(islice(found, FLOAT_CONVS))
