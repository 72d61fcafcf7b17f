"""What each table of Li et al. (2025) compares, and what we add to it (`+` in front of its label says so).

The paper's parts: SA, self-attention for half of layer 3; CFA, channel aggregation to a tenth, in the bank; TL, a
fine-tuned backbone. Without CFA a random projection chooses the coreset and the bank keeps all numbers, as published
for PatchCore; without SA all of layer 3 is averaged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flawmap.experiments import published
from flawmap.experiments.cells import Setup
from flawmap.features.context import Attend, Half, SplitAttention
from flawmap.features.reduce import PCA, ChannelAggregation, GaussProjection, SparseProjection


@dataclass(frozen=True)
class Line:
    """A line of a table.

    Args:
        label: as the paper has it, where it is the paper's.
        setup: what is measured.
        ours: whether the paper has no such line.
    """

    label: str
    setup: Setup
    ours: bool = False


@dataclass(frozen=True)
class Table:
    """A table of the paper.

    Args:
        title: what it compares.
        lines: from top to bottom.
        published: what the paper prints, by label.
        over: the label of the line that others are compared with, where the paper compares.
        timed: whether it is of times rather than of figures.
        notes: what a reader must know.
    """

    title: str
    lines: tuple[Line, ...]
    published: Mapping[str, published.Line] = field(default_factory=dict)
    over: str = ""
    timed: bool = False
    notes: tuple[str, ...] = ()


def _family(
    *, sa: float = 0.0, cfa: bool = False, tl: bool = False, half: Half = "first", attend: Attend = "tokens"
) -> Setup:
    """Set up a relative of PatchCore by the paper's three changes; `sa` is the share of channels that attend."""
    context = {"context": SplitAttention(sa, half, attend)} if sa else {}
    reducer = {"reducer": ChannelAggregation(0.1), "scope": "bank"} if cfa else {}
    return Setup("patchcore", context | reducer, tl)


OURS = _family(sa=0.5, cfa=True, tl=True)
PATCHCORE = _family()
SA_TL = _family(sa=0.5, tl=True)

_REDUCED = (
    Line("RP", SA_TL),
    Line("PCA", Setup("patchcore", {**SA_TL.options, "reducer": PCA(0.1), "scope": "bank"}, tuned=True)),
    Line("CA", OURS),
    Line(
        "+ RP, Gaussian, to a tenth, in the bank",
        Setup("patchcore", {**SA_TL.options, "reducer": GaussProjection(), "scope": "bank"}, tuned=True),
        ours=True,
    ),
    Line(
        "+ RP, sparse, in the bank",
        Setup("patchcore", {**SA_TL.options, "reducer": SparseProjection(), "scope": "bank"}, tuned=True),
        ours=True,
    ),
    Line(
        "+ CA only to choose the coreset",
        Setup("patchcore", {**OURS.options, "scope": "coreset"}, tuned=True),
        ours=True,
    ),
)

_FAIR = (
    "RP as published only helps to choose the coreset; the bank keeps all numbers. PCA and CA reduce the bank too. The "
    "lines with + compare like with like."
)

TABLES: dict[int, Table] = {
    1: Table(
        "Methods",
        (
            Line("PaDiM", Setup("padim")),
            Line("PatchCore", PATCHCORE),
            Line("VQ-Flow", Setup("vqflow")),
            Line("CRAD", Setup("crad")),
            Line("GLASS", Setup("glass")),
            Line("DDAD", Setup("ddad")),
            Line("SA-PatchCore", Setup("sa-patchcore")),
            Line("Rail-PatchCore", Setup("rail-patchcore")),
            Line("Ours", OURS),
            Line("+ SPADE", Setup("spade"), ours=True),
            Line("+ FR-PatchCore", Setup("fr-patchcore"), ours=True),
            Line("+ ResNet18-PatchCore", Setup("patchcore-resnet18"), ours=True),
            Line("+ improved PatchCore without TL", _family(sa=0.5, cfa=True), ours=True),
        ),
        published.TABLE_1,
        notes=("Rail-PatchCore and FR-PatchCore are reconstructions: their articles leave open what they do.",),
    ),
    2: Table("Times of the improved algorithm by reducer", _REDUCED, timed=True, notes=(_FAIR,)),
    3: Table("The improved algorithm by reducer", _REDUCED, published.TABLE_3, notes=(_FAIR,)),
    4: Table(
        "Share of layer 3 that attends",
        (
            Line("+ 0 %", _family(cfa=True, tl=True), ours=True),
            *(Line(f"{100 * share:.0f} %", _family(sa=share, cfa=True, tl=True)) for share in (0.25, 0.5, 0.75, 1.0)),
            Line("+ 50 %, last half", _family(sa=0.5, cfa=True, tl=True, half="last"), ours=True),
            Line("+ 50 %, random half", _family(sa=0.5, cfa=True, tl=True, half="random"), ours=True),
            Line("+ 50 %, each channel by itself", _family(sa=0.5, cfa=True, tl=True, attend="channels"), ours=True),
            Line("+ 100 %, each channel by itself", _family(sa=1.0, cfa=True, tl=True, attend="channels"), ours=True),
        ),
        published.TABLE_4,
    ),
    5: Table(
        "Ablation",
        (
            Line("PatchCore", PATCHCORE),
            Line("+SA", _family(sa=0.5)),
            Line("+CFA", _family(cfa=True)),
            Line("+TL", _family(tl=True)),
            Line("+SA+TL", SA_TL),
            Line("+CFA+TL", _family(cfa=True, tl=True)),
            Line("+SA+CFA", _family(sa=0.5, cfa=True)),
            Line("Ours", OURS),
        ),
        published.TABLE_5,
        over="PatchCore",
    ),
}
"""By their numbers in the paper."""
