"""Images that a data set calls good in one place and marks as defective in another."""

from __future__ import annotations

from dataclasses import replace

from flawmap.data.read_mask import is_marked
from flawmap.data.sample import FoundSamples, Sample
from flawmap.data.wording import count


def without_contradictions(found: FoundSamples) -> FoundSamples:
    """What was found, without images that would be learned as good and have a mask with a mark.

    A line names the first of them. Of such a test image, its row in the results says so.

    Args:
        found: of a data set.
    """
    doubtful = [sample for sample in found.samples if _is_contradicted(sample)]
    if not doubtful:
        return found
    first = doubtful[0]
    verb = count(len(doubtful), "image is", "images are")
    note = (
        f"{verb} called good, but a mask marks a defect, and so left out: first {first.path}, "
        f"marked in {first.mask}"
    )
    left_out = {sample.path for sample in doubtful}
    samples = [
        sample for sample in found.samples if sample.split == "test" or sample.path not in left_out
    ]
    return replace(found, samples=samples, notes=[*found.notes, note])


def _is_contradicted(sample: Sample) -> bool:
    is_to_learn = not sample.label and sample.split != "test"
    return is_to_learn and sample.mask is not None and is_marked(sample.mask, if_unreadable=False)
