"""What a saved inspector holds, as JSON: for `info`, `fit` and dry runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flawmap.runtime.bundle import Bundle
    from flawmap.runtime.calibration import Calibration
    from flawmap.runtime.graph import Precision
    from flawmap.runtime.mask import PartMask
    from flawmap.runtime.zones import Zones

Facts = dict[str, Any]
"""What is known of an inspector, by key."""


def facts_of(file: Path, loaded: Bundle | None = None) -> Facts:
    """What a saved inspector holds, by the keys of docs/commands.md.

    Args:
        file: that `flawmap fit` wrote.
        loaded: what it holds, where that is known; None to read it.

    Raises:
        BundleError: the file is missing, damaged or no saved inspector.
    """
    from flawmap.runtime import bundle
    from flawmap.runtime.zone_calibration import calibration_from_arrays

    loaded = loaded or bundle.load(file)
    manifest = loaded.manifest
    calibration = calibration_from_arrays(manifest.calibration, loaded.arrays)
    return {
        "file": str(file),
        "bytes": file.stat().st_size,
        "method_name": manifest.method_name,
        "method_class": manifest.method_class,
        "method_source": manifest.method_source,
        "method_options": manifest.method_options,
        "changed_options": manifest.changed_options,
        "height": manifest.preprocessing.height,
        "width": manifest.preprocessing.width,
        "letterbox_beyond": manifest.preprocessing.letterbox_beyond,
        "tile_overlap": manifest.preprocessing.tile_overlap,
        "white_of_16_bits": manifest.preprocessing.white,
        "mask": mask_facts(manifest.preprocessing.mask),
        "zones": zone_facts(manifest.preprocessing.zones, calibration),
        "precision": manifest.precision,
        "has_graph": not manifest.no_graph_reason,
        "no_graph_reason": manifest.no_graph_reason,
        "fitted_images": manifest.fitted_images,
        "fitted_sha256": list(manifest.fitted_sha256),
        "finetuning": _finetuning(manifest.finetuning),
        "tuning": manifest.tuning,
        "calibration": calibration_facts(calibration),
        "warnings": calibration.warnings(),
        "versions": {"flawmap": manifest.version, **manifest.libraries},
        "model_sha256": loaded.sha256,
        "scorer_sha256": manifest.scorer_sha256,
        "weights_sha256": manifest.weights_sha256,
    }


def inspector_settings(file: Path, precision: Precision | None) -> Facts:
    """What a saved inspector would inspect with; its network is not loaded.

    Args:
        file: that `flawmap fit` wrote.
        precision: that was typed; None for that of the fit.

    Raises:
        BundleError: the file is missing, damaged or no saved inspector.
        OptionError: it cannot be run in that precision.
    """
    from flawmap.runtime import bundle
    from flawmap.runtime.inference import choose_precision
    from flawmap.runtime.zone_calibration import calibration_from_arrays

    manifest, arrays, _ = bundle.load(file)
    with bundle.refusals_named(file):
        chosen = choose_precision(precision, manifest)
        calibration = calibration_from_arrays(manifest.calibration, arrays)
    return {
        "inspector": str(file),
        "method": manifest.method_name,
        "size": [manifest.preprocessing.height, manifest.preprocessing.width],
        "precision": chosen,
        "threshold": calibration.threshold,
        "false_rejects": calibration.budget.false_rejects,
    }


def excluded_images(file: Path) -> list[str]:
    """SHA-256 of the images that the backbone of a saved inspector was fine-tuned with.

    Args:
        file: that `flawmap fit` wrote.
    """
    from flawmap.runtime import bundle

    record = bundle.load(file).manifest.finetuning
    return list(record["excluded_sha256"]) if record else []


def calibration_facts(calibration: Calibration) -> Facts:
    """The threshold of a calibration, and what it guarantees.

    Args:
        calibration: of an inspector.
    """
    return {
        "kind": "split" if calibration.exact else "leave-out",
        "images": len(calibration.scores),
        "groups": sorted(set(calibration.groups)),
        "false_rejects": calibration.budget.false_rejects,
        "confidence": calibration.budget.confidence,
        "threshold": calibration.threshold,
        "map_limit": calibration.map_limit,
        "expected_false_rejects": calibration.expected_false_rejects,
        "false_reject_bound": calibration.false_reject_bound,
        "guarantees": calibration.guarantees(),
    }


def zone_facts(zones: Zones | None, calibration: Calibration) -> list[Facts]:
    """Of each zone its share of the image, its budget and what it guarantees; empty without zones.

    Args:
        zones: of an inspector; None for none.
        calibration: of the same.
    """
    from flawmap.runtime.zone_calibration import ZoneCalibration

    if zones is None or not isinstance(calibration, ZoneCalibration):
        return []
    keys = ("threshold", "map_limit", "expected_false_rejects", "false_reject_bound")
    return [
        {
            "name": name,
            "share": zones.share(name),
            "false_rejects": part.budget.false_rejects,
            "confidence": part.budget.confidence,
            **{key: getattr(part, key) for key in keys},
            "images_needed": part.budget.images_needed,
            "images_missing": part.images_missing,
        }
        for name, part in calibration.by_zone.items()
    ]


def mask_facts(mask: PartMask | None) -> Facts | None:
    """Height and width of a mask in pixels, and the fraction of them that counts.

    Args:
        mask: of an inspector; None for none.
    """
    if mask is None:
        return None
    height, width = mask.pixels.shape
    return {"height": height, "width": width, "counts": mask.share}


def _finetuning(saved: dict[str, Any] | None) -> Facts | None:
    from flawmap.finetune.config import FineTuneConfig
    from flawmap.finetune.record import FineTuneRecord
    from flawmap.support.flat import changes
    from flawmap.support.options import to_dict

    if saved is None:
        return None
    record = FineTuneRecord.from_dict(saved)
    return {
        "mode": record.config.mode,
        "epochs": len(record.history),
        "classes": record.classes,
        "excluded_images": len(record.excluded_sha256),
        "changed_options": changes(to_dict(record.config), to_dict(FineTuneConfig())),
    }
