"""The operations that a saved graph may consist of: standard ones that compute, and no others.

OpenVINO knows more: operations of extension libraries, random ones, ones that keep a state between
images, loops whose length is data, and texts. No method needs them, and a file that holds one was
not made by flawmap.
"""

from __future__ import annotations

import re

_LAST_OPSET = 16
"""The newest set of operations that is known here."""

_OPSET = re.compile(r"opset([1-9]\d?)")

_TYPES = (
    # What a graph begins and ends with.
    "Parameter Const Result "
    # Of each element.
    "Abs Acos Acosh Asin Asinh Atan Atanh Ceiling Clamp Convert ConvertLike Cos Cosh Elu Erf Exp "
    "Floor Gelu HardSigmoid HSigmoid HSwish Identity IsFinite IsInf IsNaN Log LogicalNot Mish "
    "Negative PRelu ReLU Round Selu Sigmoid Sign Sin Sinh SoftPlus SoftSign Sqrt Swish Tan Tanh "
    "BitwiseNot FakeConvert FakeQuantize "
    # Of two or three.
    "Add ConvertPromoteTypes Divide Equal FloorMod Greater GreaterEqual Less LessEqual LogicalAnd "
    "LogicalOr LogicalXor Maximum Minimum Mod Multiply NotEqual Power Select SquaredDifference "
    "Subtract BitwiseAnd BitwiseLeftShift BitwiseOr BitwiseRightShift BitwiseXor "
    # Of a neighbourhood.
    "AdaptiveAvgPool AdaptiveMaxPool AvgPool Convolution ConvolutionBackpropData "
    "DeformableConvolution GroupConvolution GroupConvolutionBackpropData MaxPool "
    # Along an axis, or of everything.
    "BatchNormInference CumSum DFT Einsum GroupNormalization IDFT Inverse IRDFT LogSoftmax LRN "
    "MatMul MVN NormalizeL2 RDFT ReduceL1 ReduceL2 ReduceLogicalAnd ReduceLogicalOr ReduceMax "
    "ReduceMean ReduceMin ReduceProd ReduceSum ScaledDotProductAttention SearchSorted SoftMax "
    "Softmax TopK "
    # Where elements lie.
    "BatchToSpace Broadcast Bucketize Col2Im Concat DepthToSpace ExtractImagePatches Eye Gather "
    "GatherElements GatherND GridSample Interpolate NonZero OneHot Pad Range Reshape Reverse Roll "
    "ROIAlign ScatterElementsUpdate ScatterNDUpdate ScatterUpdate ShapeOf ShuffleChannels Slice "
    "SliceScatter SpaceToBatch SpaceToDepth Split Squeeze StridedSlice Tile Transpose Unsqueeze "
    "VariadicSplit "
    # Which of two graphs is computed.
    "If"
)
_OPERATIONS = frozenset(_TYPES.split())


def is_known(operation: str, opset: str) -> bool:
    """Whether an operation is one that a saved graph may consist of.

    Args:
        operation: its type, such as `Convolution`.
        opset: the set of operations that it is from, such as `opset1`.

    Example:
        >>> is_known("Convolution", "opset1"), is_known("Convolution", "extension")
        (True, False)
    """
    found = _OPSET.fullmatch(opset)
    return found is not None and int(found[1]) <= _LAST_OPSET and operation in _OPERATIONS
