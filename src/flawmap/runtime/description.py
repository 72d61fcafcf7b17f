"""What other programs must know to use an exported graph: before it, and after it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flawmap.runtime.calibration import Budget, Calibration
from flawmap.runtime.images.image_formats import SUFFIXES
from flawmap.runtime.preprocess import PADDING, Preprocessing

_EXPORTED_BUDGETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
"""Fractions of good parts whose thresholds are in the JSON."""


def describe_preprocessing(preprocessing: Preprocessing) -> dict[str, Any]:
    """How an image is made ready for the graph, step by step, ready for JSON.

    Args:
        preprocessing: of the graph's input.

    Example:
        >>> describe_preprocessing(Preprocessing(64, 96))["steps"][-1]
        'channels first, float32'
    """
    height, width = preprocessing.height, preprocessing.width
    return {
        "images": {
            "formats": sorted(SUFFIXES),
            "channels": "grey, RGB, RGBA (alpha is dropped)",
            "bits": [8, 16],
            "white_of_16_bits": preprocessing.white or 65535,
        },
        "steps": _steps(preprocessing),
        "height": height,
        "width": width,
        "mean": preprocessing.mean,
        "std": preprocessing.std,
        "letterbox": _describe_letterbox(preprocessing),
        "mask": _describe_mask(preprocessing),
    }


def _steps(preprocessing: Preprocessing) -> list[str]:
    height, width = preprocessing.height, preprocessing.width
    target = f"{width} × {height} pixels (width × height)"
    layout = "channels first, float32"
    if preprocessing.letterbox_beyond is not None:
        target = "the image's size in the input (see letterbox)"
        layout += (
            f"; an image smaller than {width} × {height} lies at the top left, and the rest of "
            f"all three channels is {PADDING:g}"
        )
    decoding = (
        "decode; turn upright by the EXIF orientation; grey to three equal channels; "
        "channels in RGB order"
    )
    masking = "give the pixels that do not count their colour (see mask)"
    blanking = f"give the cells that do not count {PADDING:g} in all channels (see mask)"
    return [
        *([decoding] if preprocessing.mask is None else [decoding, masking]),
        f"resize to {target}, the whole image: an axis that shrinks by area averages (OpenCV "
        "INTER_AREA), then one that grows linearly (INTER_LINEAR)",
        f"divide by white: 255, or {preprocessing.white or 65535} for 16 bits",
        "subtract mean, divide by std, channel by channel",
        layout,
        *([] if preprocessing.mask is None else [blanking]),
    ]


def _describe_letterbox(preprocessing: Preprocessing) -> dict[str, Any] | None:
    """How images of another aspect are padded; None where all are stretched."""
    if preprocessing.letterbox_beyond is None:
        return None
    return {
        "beyond": preprocessing.letterbox_beyond,
        "multiple": preprocessing.multiple,
        "padding": PADDING,
        "rule": "ratio is (image width × height) / (image height × width). Where neither ratio nor "
        "1 / ratio exceeds 1 + beyond, the image's size in the input is the input's. Else scale is "
        "the smaller of height / image height and width / image width, and each side of the image "
        "times scale is rounded to the nearest multiple (half-way, to the even number of them), at "
        "least one and at most the input's side",
    }


def _describe_mask(preprocessing: Preprocessing) -> dict[str, Any] | None:
    """Which parts of an image are left out, and how; None where all of it counts."""
    mask = preprocessing.mask
    if mask is None:
        return None
    height, width = mask.pixels.shape
    return {
        "png": mask.png,
        "height": height,
        "width": width,
        "cell": preprocessing.multiple,
        "padding": PADDING,
        "pixel_rule": "png is a grey PNG in base64, in which 0 does not count. A pixel of the "
        "image in row r and column c counts where the mask does in row "
        "floor((2 r + 1) mask height / (2 image height)) and column "
        "floor((2 c + 1) mask width / (2 image width)). Images of another aspect are refused: "
        "beyond 1 %, or one by the shortest side of both, where that is more",
        "colour_rule": "before the image is resized, a pixel that does not count is white times "
        "mean in each channel, rounded to the nearest level (half-way, to the even one)",
        "cell_rule": "after all else, the image in the input, height h and width w, is cut into "
        "squares of cell × cell pixels from the top left. One from row t to b and column l to r, "
        "their ends not in it, has padding in all channels where no pixel of the image counts in "
        "rows floor(t image height / h) to ceil(b image height / h) and columns floor(l image "
        "width / w) to ceil(r image width / w), their ends not in it",
    }


def describe_decision(calibration: Calibration, preprocessing: Preprocessing) -> dict[str, Any]:
    """How scores and anomaly maps become verdicts and heat maps, ready for JSON.

    Args:
        calibration: scores of good images, budget and map limit.
        preprocessing: of the graph's input.
    """
    cut = "cut it to the image's size in the input (see letterbox), and "
    uncounted = "; where a pixel of the image does not count (see mask), it is 0"
    thresholds = {}
    for fraction in _EXPORTED_BUDGETS:
        thresholds[f"{fraction:g}"] = replace(calibration, budget=Budget(fraction)).threshold
    return {
        "threshold": calibration.threshold,
        "rule": "a part is rejected where its score exceeds the threshold",
        "false_rejects": calibration.budget.false_rejects,
        "confidence": calibration.budget.confidence,
        "thresholds": thresholds,
        "map_limit": calibration.map_limit,
        "map_rule": "anomaly_map / map_limit is 1 at the largest value that good parts reach; "
        f"{'' if preprocessing.letterbox_beyond is None else cut}resize it to the image as above"
        f"{'' if preprocessing.mask is None else uncounted}",
        "good_scores": sorted(calibration.scores.tolist()),
        "p_value_rule": "(1 + how many good_scores are at least as large) / (1 + how many "
        "good_scores there are)",
    }
