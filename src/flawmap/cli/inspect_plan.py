"""`flawmap inspect --dry-run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flawmap.cli.common import ExitCode
from flawmap.cli.dry_run import (
    images_by_folder,
    print_reads,
    print_settings,
    print_writes,
    why_not_opened,
)
from flawmap.cli.facts import inspector_settings
from flawmap.cli.images_to_inspect import images_to_inspect
from flawmap.cli.notes import print_left_out
from flawmap.cli.result_folder import OVERLAYS, REPORT, old_results, result_tables

if TYPE_CHECKING:
    from flawmap.runtime.graph import Precision


def plan_inspection(
    inspector: Path,
    arguments: list[Path],
    output: Path,
    *,
    min_area: int,
    report: bool,
    precision: Precision | None,
) -> int:
    """Print what would be inspected, with what, and which files would be written.

    Args:
        inspector: that would inspect.
        arguments: images and folders.
        output: folder of the results.
        min_area: regions of fewer pixels would be omitted.
        report: whether a page would be written.
        precision: to compute in; None for that of the fit.

    Returns:
        The exit code.

    Raises:
        FlawmapError: the same that the inspection would end with.
    """
    images, passed_over, unusable = images_to_inspect(arguments)
    settings = inspector_settings(inspector, precision)
    reasons = {image.path: why_not_opened(image.path) for image in images}
    usable = [path for path, reason in reasons.items() if not reason]
    left_out = [*unusable, *filter(None, reasons.values())]
    print_left_out(passed_over, left_out)
    print_reads(", ".join(map(str, arguments)), images_by_folder(usable))
    print_settings({**settings, "min_area": min_area})
    pages = [output / REPORT] if report else []
    folder = [output / OVERLAYS] if usable else []
    print_writes([*result_tables(output), *pages, *folder], old_results(output))
    if not usable:
        return ExitCode.NOTHING_DONE
    return ExitCode.SOME_UNREADABLE if left_out else ExitCode.ALL_GOOD
