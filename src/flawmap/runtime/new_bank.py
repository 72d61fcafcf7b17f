"""Another bank in a saved inspector, without torch and without a new conversion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from flawmap.errors import OptionError
from flawmap.runtime.backend import GraphBackend
from flawmap.runtime.bundle import METHOD_PREFIX, Bundle
from flawmap.runtime.certificate import Certificate
from flawmap.runtime.graph import Graph, check_precision
from flawmap.runtime.replaceable_search import runnable_here, with_bank

BANK_VECTORS = f"{METHOD_PREFIX}bank.vectors"
"""Name of the array that holds the vectors of the bank."""

_IMAGE_IDS = f"{METHOD_PREFIX}bank.image_ids"

_Vectors = Float[np.ndarray, "vector channel"]
_ImageIds = Int[np.ndarray, " image_id"]


def replace_bank(saved: Bundle, vectors: _Vectors, image_ids: _ImageIds) -> dict[str, np.ndarray]:
    """The arrays of a saved file with another bank, its search and its golden scores.

    The calibration stays as it was: whoever replaces a bank calibrates again.

    Args:
        saved: the file's content.
        vectors: of the new bank, (vector, channel), as many channels as before.
        image_ids: number of the image that each vector came from, from 0.

    Returns:
        All arrays by name, for `flawmap.runtime.bundle.save`.

    Raises:
        OptionError: the file's bank cannot be replaced, or the new one does not fit it.
    """
    if saved.manifest.no_graph_reason or BANK_VECTORS not in saved.arrays:
        raise OptionError("the bank of this file cannot be replaced; fit again")
    if len(image_ids) != len(vectors):
        raise OptionError(f"{len(vectors)} vectors and {len(image_ids)} image ids; give as many")
    if not np.isfinite(vectors).all():
        raise OptionError("a vector of the new bank holds NaN or infinity; extract it again")
    before = saved.arrays[BANK_VECTORS]
    graph = with_bank(Graph.from_arrays(saved.arrays), vectors.astype(np.float32))
    # As where the file was made: golden scores are those of f32, but of int8 where that is fitted.
    precision = "int8" if saved.manifest.precision == "int8" else "f32"
    score = GraphBackend(runnable_here(graph, vectors), check_precision(precision)).score
    certificate = Certificate.from_arrays(saved.arrays)
    scored = [score(saved.manifest.preprocessing(image)) for image in certificate.images]
    certificate = replace(
        certificate,
        scores=np.array([image_score for image_score, _ in scored]),
        maps=np.stack([distances for _, distances in scored]),
    )
    bank = {BANK_VECTORS: vectors.astype(before.dtype), _IMAGE_IDS: image_ids.astype(np.int64)}
    return {**saved.arrays, **graph.to_arrays(), **certificate.to_arrays(), **bank}
