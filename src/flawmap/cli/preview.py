"""`flawmap preview`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from flawmap.cli.common import EXIT_CODES, ExitCode, app, parse_budgets, parse_tile
from flawmap.cli.console import on_one_line, out, progress_bars
from flawmap.cli.facts import Facts, mask_facts
from flawmap.cli.good_options import (
    FalseRejectsOption,
    GoodImages,
    MaskOption,
    OverlapOption,
    RegionBudgetOption,
    RegionsOption,
    TileOption,
    WhiteOption,
)
from flawmap.cli.notes import print_dataset, print_mask, print_regions
from flawmap.cli.output import JsonOption, QuietOption, add_result, choose_output
from flawmap.cli.products import run_per_product
from flawmap.errors import DatasetError, ImageError, OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flawmap.data.auto_mask import ChosenMask
    from flawmap.data.part_mask import GivenMask
    from flawmap.data.tile_size import TileSize
    from flawmap.render.zones import NamedZone, TileBox
    from flawmap.runtime.image_types import ImageArray, ImageInput
    from flawmap.runtime.zones import Zones

_PATCH = 8
"""Stride of flawmap in pixels, which the sides of its tiles are multiples of."""


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
    regions: RegionsOption = None,
    region_budget: RegionBudgetOption = None,
    false_rejects: FalseRejectsOption = 0.01,
    tile: TileOption = None,
    overlap: OverlapOption = None,
    white: WhiteOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Draw over a good image what a fit would heed, before anything is fitted.

    What a mask leaves out is pale and hatched; regions have outlines, names and budgets; of tiles
    there are the borders.
    """
    choose_output(as_json=as_json, quiet=quiet)
    from flawmap.data.part_mask import read_part_mask
    from flawmap.data.zone_file import read_zones

    plan = _Plan(
        None if mask is None else read_part_mask(mask),
        None if regions is None else read_zones(regions),
        parse_budgets(region_budget or []),
        false_rejects,
        None if tile is None and overlap is None else parse_tile(tile, overlap),
        white,
    )
    plan.check()
    job = partial(_preview, plan, (mask, regions))
    code = run_per_product(good, output, job, file="preview.png", folder="previews")
    raise typer.Exit(code)


@dataclass(frozen=True)
class _Plan:
    """What is to be drawn, as it was typed.

    Args:
        mask: read, or to be found; None for none.
        zones: read; None for none.
        budgets: of those that were given one, by name.
        false_rejects: budget of the others.
        tiles: that images are cut into; None for none.
        white: level of white in images of 16 bits.
    """

    mask: GivenMask | None
    zones: Zones | None
    budgets: Mapping[str, float]
    false_rejects: float
    tiles: TileSize | None
    white: int | None

    def check(self) -> None:
        """Nothing, where the budgets can be."""
        from flawmap.data.zone_file import check_budgets, zone_names
        from flawmap.runtime.calibration import Budget

        if self.zones is None and self.budgets:
            raise OptionError("--region-budget without --regions; say where the regions are")
        for fraction in (self.false_rejects, *self.budgets.values()):
            Budget(fraction)
        if self.zones is not None:
            check_budgets(self.budgets, zone_names(self.zones))


class _Chosen(NamedTuple):
    """The same for good images.

    Args:
        mask: and how it came about; None for none.
        zones: None for none.
        tiles: None for none, or where the images are small.
    """

    mask: ChosenMask | None
    zones: Zones | None
    tiles: TileSize | None


def _preview(plan: _Plan, typed: tuple[str | None, str | None], good: Path, output: Path) -> int:
    from flawmap.data.layouts import find_dataset
    from flawmap.data.part_mask import check_mask_apart
    from flawmap.data.training_set import TrainingSet
    from flawmap.render.encode import write_image
    from flawmap.render.preview import draw_preview

    with progress_bars():
        found = find_dataset(good)
        print_dataset(found)
        images = TrainingSet.of(found).images
        check_mask_apart(typed[0], images)
        check_mask_apart(typed[1], images, "file of regions")
        chosen = _choose(plan, images)
        path, image = _first_readable(images, plan.white)
    height, width = image.shape[:2]
    mask = chosen.mask.mask if chosen.mask else None
    tiles = _boxes(chosen, height, width)
    drawn = draw_preview(
        image,
        counting=mask.at(height, width) if mask else None,
        zones=_named(plan, chosen.zones, height, width),
        tiles=tiles,
    )
    write_image(output, drawn)
    add_result(file=str(output), image=str(path), height=height, width=width)
    _print_plan(plan, chosen, len(tiles))
    where = on_one_line(str(output))
    out.print(f"Look at {where}: {on_one_line(str(path))}, {width} × {height} pixels")
    return ExitCode.SOME_UNREADABLE if found.unusable else ExitCode.ALL_GOOD


def _choose(plan: _Plan, images: Sequence[ImageInput]) -> _Chosen:
    from flawmap.data.part_mask import choose_mask
    from flawmap.data.zone_file import check_budgets, choose_zones

    mask = None if plan.mask is None else choose_mask(plan.mask, images, plan.white)
    zones = None
    if plan.zones is not None:
        zones = choose_zones(plan.zones, mask.mask if mask else None, images, plan.white)
        check_budgets(plan.budgets, zones.names)
    return _Chosen(mask, zones, plan.tiles.choose(images) if plan.tiles else None)


def _named(plan: _Plan, zones: Zones | None, height: int, width: int) -> list[NamedZone]:
    """The zones with their names and budgets."""
    from flawmap.render.zones import NamedZone
    from flawmap.runtime.zones import ELSEWHERE

    if zones is None:
        return []
    labels = zones.at(height, width)
    return [
        NamedZone(
            f"{name} {plan.budgets.get(name, plan.false_rejects):.2%}",
            labels == number,
            has_outline=name != ELSEWHERE,
        )
        for number, name in enumerate(zones.names, 1)
    ]


def _boxes(chosen: _Chosen, height: int, width: int) -> list[TileBox]:
    """The tiles that an image is cut into, by the stride of flawmap."""
    from flawmap.render.zones import TileBox
    from flawmap.runtime.input_sides import round_to_multiple
    from flawmap.runtime.preprocess import Preprocessing
    from flawmap.runtime.tiles import tile_layout

    if chosen.tiles is None or chosen.tiles.pixels is None:
        return []
    side = round_to_multiple(chosen.tiles.pixels, _PATCH)
    mask = chosen.mask.mask if chosen.mask else None
    preprocessing = Preprocessing(
        side, side, multiple=_PATCH, tile_overlap=chosen.tiles.overlap, mask=mask
    )
    layout = tile_layout(height, width, preprocessing)
    rows, columns = (sorted(set(starts)) for starts in zip(*layout.origins, strict=True))
    return [
        TileBox(
            row,
            column,
            min(side, height - row),
            min(side, width - column),
            (rows.index(row) + columns.index(column)) % 2,
        )
        for row, column in layout.origins
    ]


def _print_plan(plan: _Plan, chosen: _Chosen, tile_count: int) -> None:
    """Print in words what is drawn."""
    add_result(mask=mask_facts(chosen.mask.mask) if chosen.mask else None)
    zones, tiles = chosen.zones, chosen.tiles
    add_result(zones=_zone_facts(plan, zones) if zones else [])
    if chosen.mask:
        print_mask(chosen.mask)
    if zones:
        print_regions(zones)
    if plan.tiles is None:
        return
    if tiles is None:
        out.print("Tiles: none, for the images are small enough to be resized as a whole")
        add_result(tiles=None)
        return
    out.print(f"Tiles: {tile_count} of {tiles.pixels} pixels, {tiles.overlap:.0%} overlapping")
    add_result(tiles={"side": tiles.pixels, "overlap": tiles.overlap, "count": tile_count})


def _zone_facts(plan: _Plan, zones: Zones) -> list[Facts]:
    from flawmap.runtime.calibration import Budget

    budgets = {name: plan.budgets.get(name, plan.false_rejects) for name in zones.names}
    return [
        {
            "name": name,
            "share": zones.share(name),
            "false_rejects": budget,
            "images_needed": Budget(budget).images_needed,
        }
        for name, budget in budgets.items()
    ]


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
