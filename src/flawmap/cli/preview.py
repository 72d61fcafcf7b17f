"""`flawmap preview`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flawmap.cli.common import EXIT_CODES, ExitCode, app
from flawmap.cli.console import on_one_line, out, progress_bars
from flawmap.cli.facts import mask_facts
from flawmap.cli.good_options import GoodImages, MaskOption, WhiteOption
from flawmap.cli.notes import print_dataset, print_mask
from flawmap.cli.output import JsonOption, QuietOption, add_result, choose_output
from flawmap.cli.products import run_per_product
from flawmap.errors import DatasetError, ImageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flawmap.data.auto_mask import ChosenMask
    from flawmap.data.part_mask import GivenMask
    from flawmap.runtime.preprocess import ImageArray, ImageInput


@app.command(epilog=EXIT_CODES)
def preview(
    good: GoodImages,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="The PNG to write, preview.png unless given; for products a folder.",
            metavar="PATH",
        ),
    ] = None,
    mask: MaskOption = None,
    white: WhiteOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Draw over a good image what a fit would heed, before anything is fitted.

    What a mask leaves out is pale and hatched.
    """
    choose_output(as_json=as_json, quiet=quiet)
    from flawmap.data.part_mask import read_part_mask

    given = None if mask is None else read_part_mask(mask)
    job = partial(_preview, given, mask, white)
    code = run_per_product(good, output, job, file="preview.png", folder="previews")
    raise typer.Exit(code)


def _preview(
    given: GivenMask | None, typed: str | None, white: int | None, good: Path, output: Path
) -> int:
    from flawmap.data.layouts import find_dataset
    from flawmap.data.part_mask import check_mask_apart, choose_mask
    from flawmap.data.training_set import TrainingSet
    from flawmap.render.encode import write_image
    from flawmap.render.preview import draw_preview

    with progress_bars():
        found = find_dataset(good)
        print_dataset(found)
        images = TrainingSet.of(found).images
        check_mask_apart(typed, images)
        chosen = None if given is None else choose_mask(given, images, white)
        path, image = _first_readable(images, white)
    height, width = image.shape[:2]
    mask = chosen.mask if chosen else None
    drawn = draw_preview(image, counting=mask.at(height, width) if mask else None)
    write_image(output, drawn)
    add_result(file=str(output), image=str(path), height=height, width=width)
    _print_plan(chosen)
    where = on_one_line(str(output))
    out.print(f"Look at {where}: {on_one_line(str(path))}, {width} × {height} pixels")
    return ExitCode.SOME_UNREADABLE if found.unusable else ExitCode.ALL_GOOD


def _print_plan(chosen: ChosenMask | None) -> None:
    """Print in words what is drawn."""
    add_result(mask=mask_facts(chosen.mask) if chosen else None)
    if chosen:
        print_mask(chosen)


def _first_readable(
    images: Sequence[ImageInput], white: int | None
) -> tuple[ImageInput, ImageArray]:
    from flawmap.data.wording import first_errors
    from flawmap.runtime.images.decode import decode

    errors = []
    for image_input in images:
        try:
            return image_input, decode(image_input, white)
        except ImageError as error:
            errors.append(error)
    raise DatasetError(f"none of {len(images)} images can be read{first_errors(errors)}")
