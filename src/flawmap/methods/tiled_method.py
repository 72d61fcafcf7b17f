"""Methods on tiles or zones: what they score in torch, and the heads that their graphs hold."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from flawmap.engine.batches import Batches
from flawmap.engine.run import best_device
from flawmap.errors import OptionError
from flawmap.memory.bank import Maximum
from flawmap.methods.base import HeldOutScores, Method
from flawmap.methods.head import Head
from flawmap.methods.patchcore import PatchCore
from flawmap.methods.patchcore_head import PatchCoreHead
from flawmap.methods.patchcore_tiles import JoinedScores, PatchMap, held_out_scores
from flawmap.runtime.patch_scoring import PatchScoring, PeakScores
from flawmap.runtime.preprocess import Preprocessing
from flawmap.support.tensors import Images, Scores


def patch_scoring_of(method: Method, *, is_tiled: bool) -> PatchScoring:
    """How the distances of all patches make an image's score and map, with tiles or zones.

    Args:
        method: fitted or not.
        is_tiled: whether images are cut into tiles.

    Raises:
        OptionError: the method cannot score by patches.

    Example:
        >>> from flawmap.methods import make_method
        >>> patch_scoring_of(make_method("flawmap"), is_tiled=True)
        PatchScoring(share=0.001, sigma=4.0)
    """
    return _bank_method(method).patch_scoring(is_tiled=is_tiled)


def _bank_method(method: Method) -> PatchCore:
    if isinstance(method, PatchCore):
        return method
    raise OptionError(
        f"{type(method).__name__} scores images as a whole; tiles and regions are for methods with "
        "a bank of patches, as flawmap"
    )


def _patch_head(method: PatchCore) -> PatchCoreHead:
    """The method's head, but with a map that has the distance of each patch."""
    head = method.head()
    return PatchCoreHead(head.reduction, head.bank, Maximum(), PatchMap())


def head_for(method: Method, preprocessing: Preprocessing) -> Head:
    """The head that a graph for this input holds: of the whole image, or of its patches.

    Args:
        method: fitted.
        preprocessing: of the network's input.

    Raises:
        NotExportable: no graph can hold it.
        NotFitted: the method is not fitted yet.
    """
    head = method.exportable_head()
    if not preprocessing.joins_patches:
        return head
    return _patch_head(_bank_method(method))


def score_function(method: Method, preprocessing: Preprocessing) -> Callable[[Images], Scores]:
    """What scores a batch of network inputs in torch: whole images, or their patches.

    Args:
        method: fitted.
        preprocessing: of the network's input.
    """
    if not preprocessing.joins_patches:
        return method.score
    head = _patch_head(_bank_method(method)).eval().to(best_device())
    return partial(method.score_by, head)


def score_held_out(method: Method, batches: Batches) -> HeldOutScores:
    """Image scores and map peaks of images that the method was not fitted to.

    Args:
        method: fitted.
        batches: the images, whole or cut into tiles.
    """
    if not batches.joins_patches:
        return method.score_batches(batches)
    is_tiled = batches.preprocessing.tile_overlap is not None
    joined = JoinedScores(patch_scoring_of(method, is_tiled=is_tiled), batches.preprocessing)
    score = score_function(method, batches.preprocessing)
    scores: list[PeakScores] = []
    for batch in batches:
        for tile in score(batch.images).pixel:
            scored = joined.add(tile, batches.layouts[len(scores)])
            if scored:
                scores.append(scored)
    return held_out_scores(scores)
