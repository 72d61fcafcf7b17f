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
