"""What other programs must know to use an exported graph: before it, and after it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from flawmap.runtime.calibration import Budget, Calibration
from flawmap.runtime.images.image_formats import SUFFIXES
from flawmap.runtime.patch_scoring import PatchScoring
from flawmap.runtime.preprocess import PADDING, Preprocessing
from flawmap.runtime.tiles import LEAST_WEIGHT
from flawmap.runtime.zone_calibration import ZoneCalibration

_JOIN_RULE = (
    "the graph's anomaly_map has a distance for each patch of a tile; tile pixel / "
    "patch is its place. The distance of a patch of the image is the weighted mean of those "
    "in its tiles. A weight is the product of one by rows and one by columns: with n patches "
    "in the tile, i from 0 and s = (tile side − step) / patch, 1 where s is 0, else 2 · "
    f"(min(i, n − 1 − i) + 0.5) / s − 0.5, but at least {LEAST_WEIGHT:g} and at most 1. "
    "Patches of padding do not count, nor do those in which nothing of a mask counts: their "
    "distance is 0, and tiles of nothing else can be left out"
)
"""How the distances of tiles become those of an image."""

_ASPECT_RULE = (
    "Images of another aspect are refused: beyond 1 %, or one by the shortest side of both, where "
    "that is more"
)

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
        "tiles": _describe_tiles(preprocessing),
        "mask": _describe_mask(preprocessing),
    }


def _steps(preprocessing: Preprocessing) -> list[str]:
    height, width = preprocessing.height, preprocessing.width
    target = f"{width} × {height} pixels (width × height)"
    layout = "channels first, float32"
    fit = (
        f"resize to {target}, the whole image: an axis that shrinks by area averages (OpenCV "
        "INTER_AREA), then one that grows linearly (INTER_LINEAR)"
    )
    if preprocessing.tile_overlap is not None:
        fit = f"cut into tiles of {target}, unscaled (see tiles); the next steps are for each"
        layout += f"; where a tile has no image, all three channels are {PADDING:g}"
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
        fit,
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


def _describe_tiles(preprocessing: Preprocessing) -> dict[str, Any] | None:
    """How images are cut; None where they are resized."""
    if preprocessing.tile_overlap is None:
        return None
    return {
        "row_step": preprocessing.tile_step(preprocessing.height),
        "column_step": preprocessing.tile_step(preprocessing.width),
        "patch": preprocessing.multiple,
        "padding": PADDING,
        "rule": "the image's height and width are rounded up to multiples of patch; its last row "
        "and column are repeated there. Tiles begin at row 0, row_step, 2 · row_step, … as long "
        "as that is less than the rounded height − height, and the last begins at the rounded "
        "height − height, or at 0 where that is negative; columns likewise. Tiles go row by row. "
        "What of a tile lies beyond the rounded image is padding",
    }


def _describe_join(preprocessing: Preprocessing, scoring: PatchScoring) -> dict[str, Any]:
    """How the distances of patches become a score and a map."""
    rows, columns = preprocessing.patch_grid
    of_zones = "" if preprocessing.zones is None else " of each zone (see zones)"
    where = "the image" if preprocessing.tile_overlap is not None else "the image in the input"
    rule = _JOIN_RULE
    if preprocessing.tile_overlap is None:
        rule = (
            "the graph's anomaly_map has a distance for each patch of the input; input pixel / "
            "patch is its place. Cut it to the image's size in the input (see letterbox). Patches "
            "in which nothing of a mask counts do not count: their distance is 0"
        )
    return {
        "rule": rule,
        "score_rule": f"the mean{of_zones} of the k = max(1, round(share · P)) largest distances, "
        "where P is the number of the patches that count, of the zone where there are zones, at "
        "most patches_of_a_tile; half-way, to the even k",
        "share": scoring.share,
        "patches_of_a_tile": rows * columns,
        "map_rule": "resize the distances linearly (OpenCV INTER_LINEAR) by the factor patch, cut "
        f"to {where}, and smooth by a Gaussian of sigma, whose kernel ends at 4 sigma and which "
        "mirrors the border, edge pixels included (OpenCV BORDER_REFLECT). With a mask, divide by "
        "what that makes of 1 for each patch that counts and 0 for each other",
        "sigma": scoring.sigma,
    }


def _place_rule(what: str, axis: Literal["row", "column"]) -> str:
    """The row or column of an image of labels that a pixel takes its own from."""
    letter, side = ("r", "height") if axis == "row" else ("c", "width")
    return f"floor((2 {letter} + 1) {what} {side} / (2 image {side}))"


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
        f"image in row r and column c counts where the mask does in row "
        f"{_place_rule('mask', 'row')} and column {_place_rule('mask', 'column')}. {_ASPECT_RULE}",
        "colour_rule": "before the image is resized, a pixel that does not count is white times "
        "mean in each channel, rounded to the nearest level (half-way, to the even one)",
        "cell_rule": "after all else, the image in the input, height h and width w, is cut into "
        "squares of cell × cell pixels from the top left. One from row t to b and column l to r, "
        "their ends not in it, has padding in all channels where no pixel of the image counts in "
        "rows floor(t image height / h) to ceil(b image height / h) and columns floor(l image "
        "width / w) to ceil(r image width / w), their ends not in it",
    }


def describe_decision(
    calibration: Calibration, preprocessing: Preprocessing, scoring: PatchScoring | None = None
) -> dict[str, Any]:
    """How scores and anomaly maps become verdicts and heat maps, ready for JSON.

    Args:
        calibration: scores of good images, budget and map limit.
        preprocessing: of the graph's input.
        scoring: how distances of patches become a score and a map; None without tiles and zones.
    """
    zones = isinstance(calibration, ZoneCalibration)
    return {
        "join": _describe_join(preprocessing, scoring) if scoring else None,
        "zones": _describe_zones(calibration, preprocessing),
        "threshold": None if zones else calibration.threshold,
        "rule": "a part is rejected where its score exceeds the threshold"
        if not zones
        else "a part is rejected where the score of any zone exceeds its threshold; the zone that "
        "decides has the largest score / threshold, of those that reject where some do",
        "false_rejects": calibration.budget.false_rejects,
        "confidence": calibration.budget.confidence,
        "thresholds": {} if zones else _thresholds(calibration),
        "map_limit": None if zones else calibration.map_limit,
        "map_rule": _map_rule(preprocessing),
        "good_scores": [] if zones else sorted(calibration.scores.tolist()),
        "p_value_rule": "(1 + how many good_scores are at least as large) / (1 + how many "
        "good_scores there are)",
    }


def _thresholds(calibration: Calibration) -> dict[str, float]:
    """Those of some budgets, by their fraction."""
    moved = {
        f"{fraction:g}": replace(calibration, budget=Budget(fraction))
        for fraction in _EXPORTED_BUDGETS
    }
    return {fraction: one.threshold for fraction, one in moved.items()}


def _map_rule(preprocessing: Preprocessing) -> str:
    cut = "cut it to the image's size in the input (see letterbox), and "
    resized = "" if preprocessing.letterbox_beyond is None else cut
    rule = "anomaly_map / map_limit is 1 at the largest value that good parts reach; "
    rule += f"{resized}resize it to the image as above"
    if preprocessing.joins_patches:
        rule = "the joined map / map_limit is 1 at the largest value that good parts reach"
    if preprocessing.zones:
        rule += "; resize it to the image as above, and divide each pixel by the map_limit of its "
        rule += "zone; in none it is 0"
    if preprocessing.mask:
        rule += "; where a pixel of the image does not count (see mask), it is 0"
    return rule


def _describe_zones(
    calibration: Calibration, preprocessing: Preprocessing
) -> dict[str, Any] | None:
    """Which zones an image has, their scores and thresholds; None without zones."""
    zones = preprocessing.zones
    if zones is None or not isinstance(calibration, ZoneCalibration):
        return None
    height, width = zones.labels.shape
    return {
        "png": zones.png,
        "height": height,
        "width": width,
        "patch": preprocessing.multiple,
        "pixel_rule": "png is a grey PNG in base64: the number of a zone of by_zone, from 1; 0 is "
        "none. A pixel of the image in row r and column c is in that of row "
        f"{_place_rule('png', 'row')} and column {_place_rule('png', 'column')}, and in none where "
        f"it does not count (see mask). {_ASPECT_RULE}",
        "patch_rule": "the image in the input, height h and width w (its own with tiles), is cut "
        "into squares of patch × patch pixels from the top left. Of the image, one from row t to b "
        "and column l to r, their ends not in it, has rows floor(t image height / h) to "
        "ceil(b image height / h) and columns floor(l image width / w) to ceil(r image width / w), "
        "their ends not in it. It is of the zone that has most of these pixels, of equals the "
        "first. A zone that no square is of so has all squares with a pixel of it",
        "by_zone": [
            {
                "name": name,
                "threshold": part.threshold,
                "map_limit": part.map_limit,
                "false_rejects": part.budget.false_rejects,
                "confidence": part.budget.confidence,
                "thresholds": _thresholds(part),
                "good_scores": sorted(part.scores.tolist()),
            }
            for name, part in calibration.by_zone.items()
        ],
    }
