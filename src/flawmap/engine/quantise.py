"""Networks in eight bits, by NNCF."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import openvino

from flawmap.engine.convert import quiet
from flawmap.support.optional_deps import explain_import_error

QUANTISATION_IMAGES = 300
"""Good images by which a network is quantised; NNCF's own default."""

_FLOAT_OPS = ("AvgPool", "Interpolate", "MatMul", "Concat", "AveragePool", "Resize", "Gemm")
"""Operations, of OpenVINO and of ONNX, that come behind the convolutions: they take little time."""

_CONVOLUTIONS = ("Convolution", "GroupConvolution", "Conv")
"""What OpenVINO and ONNX call convolutions."""


def quantise(model: Any, images: list[np.ndarray], name: str | None = None) -> Any:
    """The model in eight bits, with ranges measured on some images (NNCF, post-training).

    Args:
        model: a model of OpenVINO or ONNX.
        images: good images, preprocessed, (3, height, width) each.
        name: name of the input, for ONNX; None for OpenVINO.

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

    batches: list[Any] = [image[None] for image in images]
    if name:
        batches = [{name: batch} for batch in batches]
    skipped = nncf.IgnoredScope(_first_convolutions(model), types=list(_FLOAT_OPS), validate=False)
    # Weights of seven bits: a CPU without VNNI adds products in 16 bits, and with eight they
    # overflow there. Ranges up to the largest number ever seen: NNCF's default, a mean of largest
    # numbers, cuts off what is unlike good parts.
    advanced = nncf.AdvancedQuantizationParameters(
        overflow_fix=nncf.OverflowFix.ENABLE,
        activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
    )
    with quiet():
        return nncf.quantize(
            model,
            nncf.Dataset(batches),
            preset=nncf.QuantizationPreset.MIXED,
            fast_bias_correction=False,
            ignored_scope=skipped,
            advanced_parameters=advanced,
        )


def _first_convolutions(model: Any, count: int = 2) -> list[str]:
    """Names of the first convolutions, which stay in floats.

    Few channels carry all there is, and most of the error comes from them.
    """
    if isinstance(model, openvino.Model):
        operations = [
            (operation.get_friendly_name(), operation.get_type_name())
            for operation in model.get_ordered_ops()
        ]
    else:
        operations = [(node.name, node.op_type) for node in model.graph.node]
    names = [name for name, operation_type in operations if operation_type in _CONVOLUTIONS]
    return names[:count]
