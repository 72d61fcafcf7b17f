"""What each table of Li et al.

(2025) compares, and what we add to it (`+` in front of its label says so).

The paper's parts: SA, self-attention for half of layer 3; CFA, channel aggregation to a tenth, in
the bank; TL, a fine-tuned backbone. Without CFA a random projection chooses the coreset and the
bank keeps all numbers, as published for PatchCore; without SA all of layer 3 is averaged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flawmap.experiments import published
from flawmap.experiments.runs import MethodSetup
from flawmap.features.context import AttentionKind, ChannelChoice, PartialSelfAttention
from flawmap.features.reducers import (
    PCA,
    ChannelAggregation,
    GaussianRandomProjection,
    SparseRandomProjection,
)


@dataclass(frozen=True)
class TableLine:
    """A line of a table.

    Args:
        label: as the paper has it, where it is the paper's.
        setup: what is measured.
        ours: whether the paper has no such line.
    """

    label: str
    setup: MethodSetup
    added: bool = False


@dataclass(frozen=True)
class TableSpec:
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
    lines: tuple[TableLine, ...]
    published: Mapping[str, published.PublishedLine] = field(default_factory=dict)
    baseline: str = ""
    timed: bool = False
    notes: tuple[str, ...] = ()


def _family(
    *,
    sa: float = 0.0,
    cfa: bool = False,
    tl: bool = False,
    half: ChannelChoice = "first",
    attend: AttentionKind = "tokens",
) -> MethodSetup:
    """Set up a relative of PatchCore by the paper's three changes.

    `sa` is the share of channels that attend.
    """
    context = {"context": PartialSelfAttention(sa, half, attend)} if sa else {}
    reducer = {"reducer": ChannelAggregation(0.1), "reducer_scope": "bank"} if cfa else {}
    return MethodSetup("patchcore", context | reducer, tl)


OURS = _family(sa=0.5, cfa=True, tl=True)
PATCHCORE = _family()
SA_TL = _family(sa=0.5, tl=True)

_REDUCED = (
    TableLine("RP", SA_TL),
    TableLine(
        "PCA",
        MethodSetup(
            "patchcore",
            {**SA_TL.options, "reducer": PCA(0.1), "reducer_scope": "bank"},
            finetuned=True,
        ),
    ),
    TableLine("CA", OURS),
    TableLine(
        "+ RP, Gaussian, to a tenth, in the bank",
        MethodSetup(
            "patchcore",
            {**SA_TL.options, "reducer": GaussianRandomProjection(), "reducer_scope": "bank"},
            finetuned=True,
        ),
        added=True,
    ),
    TableLine(
        "+ RP, sparse, in the bank",
        MethodSetup(
            "patchcore",
            {**SA_TL.options, "reducer": SparseRandomProjection(), "reducer_scope": "bank"},
            finetuned=True,
        ),
        added=True,
    ),
    TableLine(
        "+ CA only to choose the coreset",
        MethodSetup("patchcore", {**OURS.options, "reducer_scope": "coreset"}, finetuned=True),
        added=True,
    ),
)

_FAIR = (
    "RP as published only helps to choose the coreset; the bank keeps all numbers. PCA and CA "
    "reduce the bank too. The "
    "lines with + compare like with like."
)

TABLES: dict[int, TableSpec] = {
    1: TableSpec(
        "Methods",
        (
            TableLine("PaDiM", MethodSetup("padim")),
            TableLine("PatchCore", PATCHCORE),
            TableLine("VQ-Flow", MethodSetup("vqflow")),
            TableLine("CRAD", MethodSetup("crad")),
            TableLine("GLASS", MethodSetup("glass")),
            TableLine("DDAD", MethodSetup("ddad")),
            TableLine("SA-PatchCore", MethodSetup("sa-patchcore")),
            TableLine("Rail-PatchCore", MethodSetup("rail-patchcore")),
            TableLine("Ours", OURS),
            TableLine("+ SPADE", MethodSetup("spade"), added=True),
            TableLine("+ FR-PatchCore", MethodSetup("fr-patchcore"), added=True),
            TableLine("+ ResNet18-PatchCore", MethodSetup("patchcore-resnet18"), added=True),
            TableLine("+ improved PatchCore without TL", _family(sa=0.5, cfa=True), added=True),
        ),
        published.TABLE_1,
        notes=(
            "Rail-PatchCore and FR-PatchCore are reconstructions: their articles leave open what "
            "they do.",
        ),
    ),
    2: TableSpec(
        "Times of the improved algorithm by reducer", _REDUCED, timed=True, notes=(_FAIR,)
    ),
    3: TableSpec("The improved algorithm by reducer", _REDUCED, published.TABLE_3, notes=(_FAIR,)),
    4: TableSpec(
        "Share of layer 3 that attends",
        (
            TableLine("+ 0 %", _family(cfa=True, tl=True), added=True),
            *(
                TableLine(f"{100 * share:.0f} %", _family(sa=share, cfa=True, tl=True))
                for share in (0.25, 0.5, 0.75, 1.0)
            ),
            TableLine(
                "+ 50 %, last half", _family(sa=0.5, cfa=True, tl=True, half="last"), added=True
            ),
            TableLine(
                "+ 50 %, random half", _family(sa=0.5, cfa=True, tl=True, half="random"), added=True
            ),
            TableLine(
                "+ 50 %, each channel by itself",
                _family(sa=0.5, cfa=True, tl=True, attend="per_channel"),
                added=True,
            ),
            TableLine(
                "+ 100 %, each channel by itself",
                _family(sa=1.0, cfa=True, tl=True, attend="per_channel"),
                added=True,
            ),
        ),
        published.TABLE_4,
    ),
    5: TableSpec(
        "Ablation",
        (
            TableLine("PatchCore", PATCHCORE),
            TableLine("+SA", _family(sa=0.5)),
            TableLine("+CFA", _family(cfa=True)),
            TableLine("+TL", _family(tl=True)),
            TableLine("+SA+TL", SA_TL),
            TableLine("+CFA+TL", _family(cfa=True, tl=True)),
            TableLine("+SA+CFA", _family(sa=0.5, cfa=True)),
            TableLine("Ours", OURS),
        ),
        published.TABLE_5,
        baseline="PatchCore",
    ),
}
"""By their numbers in the paper."""
