"""Options about good images, which `fit` and `preview` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

GoodImages = Annotated[
    Path,
    typer.Argument(
        help="A folder of good images, or one with train/good, or a CSV manifest, or a "
        "folder of such products.",
        metavar="GOOD",
    ),
]
WhiteOption = Annotated[
    int | None,
    typer.Option(
        help="The level of white in images of 16 bits, such as 4095 for a camera of 12 bits; "
        "65535 unless given. An image with a higher level is an error.",
        metavar="LEVEL",
    ),
]
MaskOption = Annotated[
    str | None,
    typer.Option(
        "--mask",
        help="An image of the same aspect in which what does not count is black: it is neither "
        "learned nor scored. Or auto, for the part against a plain background in the good images. "
        "With flawmap, or patchcore with letterbox=true.",
        metavar="FILE",
    ),
]

TileOption = Annotated[
    str | None,
    typer.Option(
        help="Cut images into tiles of so many of their own pixels a side, such as 512, for "
        "defects that are small in large images; auto cuts large ones. Neither --size nor "
        "--pixels go with it.",
        metavar="SIDE",
    ),
]
OverlapOption = Annotated[
    float | None,
    typer.Option(
        help="Fraction of a tile that its neighbours share, with --tile; 0.25 unless given.",
    ),
]
FalseRejectsOption = Annotated[
    float, typer.Option(help="Fraction of good parts that may be rejected.")
]
RegionsOption = Annotated[
    str | None,
    typer.Option(
        "--regions",
        help="Named parts of an image, each with a threshold by its own budget: polygons of "
        "LabelMe or COCO in a JSON file, or an image with one colour a region, of the same aspect. "
        "With flawmap, or patchcore with letterbox=true.",
        metavar="FILE",
    ),
]
RegionBudgetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--region-budget",
        help="Fraction of good parts that a region may reject, as NAME=0.05, once for each; "
        "elsewhere is what is in none. --false-rejects unless given.",
        metavar="NAME=FRACTION",
    ),
]
