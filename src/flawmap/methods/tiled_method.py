"""Methods on tiles: what they score in torch, and the heads that their graphs hold."""

from __future__ import annotations

from collections.abc import Callable

import torch

from flawmap.engine.batches import Batches
from flawmap.engine.run import best_device
from flawmap.errors import OptionError
from flawmap.memory.bank import Maximum
from flawmap.methods.base import HeldOutScores, Method
from flawmap.methods.head import Head
from flawmap.methods.patchcore import PatchCore
from flawmap.methods.patchcore_head import PatchCoreHead
from flawmap.methods.patchcore_tiles import JoinedScores, PatchMap, held_out_scores
from flawmap.runtime.patch_scoring import PatchScoring
from flawmap.runtime.preprocess import Preprocessing
from flawmap.support.tensors import Images, Scores


def patch_scoring_of(method: Method) -> PatchScoring:
    """How the distances of all patches make an image's score and map, where tiles are joined.

    Args:
        method: fitted or not.

    Raises:
        OptionError: the method cannot score tiles.

    Example:
        >>> from flawmap.methods import make_method
        >>> patch_scoring_of(make_method("flawmap"))
        PatchScoring(share=0.001, sigma=4.0)
    """
    return _bank_method(method).patch_scoring


def _bank_method(method: Method) -> PatchCore:
    if isinstance(method, PatchCore):
        return method
    raise OptionError(
        f"{type(method).__name__} scores images as a whole; tiles are for methods with a bank of "
        "patches, as flawmap"
    )


def _patch_head(method: PatchCore) -> PatchCoreHead:
    """The method's head, but with a map that has the distance of each patch."""
    head = method.head()
    return PatchCoreHead(head.reduction, head.bank, Maximum(), PatchMap())


def head_for(method: Method, preprocessing: Preprocessing) -> Head:
    """The head that a graph for this input holds: of the whole image, or of a tile's patches.

    Args:
        method: fitted.
        preprocessing: of the network's input.

    Raises:
        NotExportable: no graph can hold it.
        NotFitted: the method is not fitted yet.
    """
    head = method.exportable_head()
    if preprocessing.tile_overlap is None:
        return head
    return _patch_head(_bank_method(method))


def score_function(method: Method, preprocessing: Preprocessing) -> Callable[[Images], Scores]:
    """What scores a batch of network inputs in torch: whole images, or tiles.

    Args:
        method: fitted.
        preprocessing: of the network's input.
    """
    if preprocessing.tile_overlap is None:
        return method.score
    head = _patch_head(_bank_method(method)).eval().to(best_device())

    def score(images: Images) -> Scores:
        embedded = method.encoder_runner.encode(images).to(best_device())
        with torch.inference_mode():
            scores = head(embedded, images.shape[-2], images.shape[-1])
        return Scores(scores.image.cpu(), scores.pixel.cpu())

    return score


def score_held_out(method: Method, batches: Batches) -> HeldOutScores:
    """Image scores and map peaks of images that the method was not fitted to.

    Args:
        method: fitted.
        batches: the images, whole or cut into tiles.
    """
    if not batches.is_tiled:
        return method.score_batches(batches)
    joined = JoinedScores(patch_scoring_of(method), batches.preprocessing)
    score = score_function(method, batches.preprocessing)
    scores = []
    for batch in batches:
        for tile in score(batch.images).pixel:
            scored = joined.add(tile, batches.layouts[-1])
            if scored:
                scores.append(scored)
    return held_out_scores(scores)
