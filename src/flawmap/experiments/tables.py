"""What each table of Li et al. (2025) compares, and what we add; added labels begin with `+ `.

The paper's components: SA, self-attention for half of layer 3; CFA, channel aggregation to a tenth,
in the bank; TL, a fine-tuned backbone. Without CFA a random projection chooses the coreset and the
bank keeps all numbers, as published for PatchCore; without SA all of layer 3 is averaged. All of
them are to the letter, as `improved-patchcore --preset paper` is; `scaled` is our repair of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from flawmap.experiments import published
from flawmap.experiments.study import MethodSetup
from flawmap.features.aggregation import ChannelAggregation
from flawmap.features.partial_attention import (
    AttentionKind,
    ChannelChoice,
    PartialSelfAttention,
)
from flawmap.features.reducers import PCA, GaussianRandomProjection, SparseRandomProjection
from flawmap.features.reduction import Reducer


@dataclass(frozen=True)
class TableLine:
    """A line of a table.

    Args:
        label: as the paper prints it, where the line is the paper's.
        setup: what is measured.
        added: whether the paper has no such line.
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
        baseline: the label of the line that others are compared with; empty for none.
        timed: whether it is of times rather than of metrics.
        notes: what a reader must know, a sentence each.

    Example:
        >>> line = TableLine("PaDiM", MethodSetup("padim"))
        >>> TableSpec("Methods", (line,), baseline="PaDiM").lines[0].label
        'PaDiM'
    """

    title: str
    lines: tuple[TableLine, ...]
    published: Mapping[str, published.PublishedLine] = field(default_factory=dict)
    baseline: str = ""
    timed: bool = False
    notes: tuple[str, ...] = ()


def _setup(
    *,
    sa: float = 0.0,
    cfa: bool = False,
    tl: bool = False,
    channel_choice: ChannelChoice = "first",
    attend: AttentionKind = "tokens",
) -> MethodSetup:
    """A relative of PatchCore by the paper's three changes; `sa`: fraction of layer 3 attending."""
    options: dict[str, object] = {}
    if sa:
        options["context"] = PartialSelfAttention(sa, channel_choice, attend)
    if cfa:
        options |= {"reducer": ChannelAggregation(0.1), "reducer_scope": "bank"}
    return MethodSetup("patchcore", options, finetuned=tl)


def _attention(label: str, fraction: float) -> TableLine:
    return TableLine(label, _setup(sa=fraction, cfa=True, tl=True))


def _added(label: str, setup: MethodSetup) -> TableLine:
    return TableLine(f"+ {label}", setup, added=True)


OURS = _setup(sa=0.5, cfa=True, tl=True)
"""The paper's own method, to the letter."""

_SCALED = MethodSetup("improved-patchcore", finetuned=True, preset="scaled")
"""The paper's own method with attention at a temperature and enough channels."""

PATCHCORE = _setup()
"""PatchCore as the paper compares with it."""

_SA_TL = _setup(sa=0.5, tl=True)


def _reduced(reducer: Reducer) -> MethodSetup:
    return replace(_SA_TL, options={**_SA_TL.options, "reducer": reducer, "reducer_scope": "bank"})


_REDUCERS = (
    TableLine("RP", _SA_TL),
    TableLine("PCA", _reduced(PCA(0.1))),
    TableLine("CA", OURS),
    _added("RP, Gaussian, to a tenth, in the bank", _reduced(GaussianRandomProjection())),
    _added("RP, sparse, in the bank", _reduced(SparseRandomProjection())),
    _added(
        "CA only to choose the coreset",
        replace(OURS, options={**OURS.options, "reducer_scope": "coreset"}),
    ),
)

_REDUCERS_NOTE = (
    "RP as published only helps to choose the coreset; the bank keeps all numbers. PCA and CA "
    "reduce the bank too. The lines with + compare like with like."
)

_SCALED_NOTE = (
    "Lines of the paper's method are to the letter, as improved-patchcore --preset paper; scaled "
    "is its preset of that name, with attention at a temperature and enough channels."
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
            _added("SPADE", MethodSetup("spade")),
            _added("FR-PatchCore", MethodSetup("fr-patchcore")),
            _added("ResNet18-PatchCore", MethodSetup("patchcore-resnet18")),
            _added("improved PatchCore (paper) without TL", _setup(sa=0.5, cfa=True)),
            _added("improved PatchCore (scaled)", _SCALED),
            _added("improved PatchCore (scaled) without TL", replace(_SCALED, finetuned=False)),
        ),
        published.METRICS[1],
        notes=(
            _SCALED_NOTE,
            "Rail-PatchCore and FR-PatchCore are reconstructions: their articles leave open what "
            "they do.",
        ),
    ),
    2: TableSpec(
        "Times of the improved algorithm by reducer", _REDUCERS, timed=True, notes=(_REDUCERS_NOTE,)
    ),
    3: TableSpec(
        "The improved algorithm by reducer",
        (*_REDUCERS, _added("CA (scaled)", _SCALED)),
        published.METRICS[3],
        notes=(_REDUCERS_NOTE, _SCALED_NOTE),
    ),
    4: TableSpec(
        "Fraction of layer 3 that attends",
        (
            _added("0 %", _setup(cfa=True, tl=True)),
            _attention("25 %", 0.25),
            _attention("50 %", 0.5),
            _attention("75 %", 0.75),
            _attention("100 %", 1.0),
            _added("50 %, last half", _setup(sa=0.5, cfa=True, tl=True, channel_choice="last")),
            _added("50 %, random half", _setup(sa=0.5, cfa=True, tl=True, channel_choice="random")),
            _added(
                "50 %, each channel by itself",
                _setup(sa=0.5, cfa=True, tl=True, attend="per_channel"),
            ),
            _added(
                "100 %, each channel by itself",
                _setup(sa=1.0, cfa=True, tl=True, attend="per_channel"),
            ),
            _added("50 % (scaled)", _SCALED),
        ),
        published.METRICS[4],
        notes=(_SCALED_NOTE,),
    ),
    5: TableSpec(
        "Ablation",
        (
            TableLine("PatchCore", PATCHCORE),
            TableLine("+SA", _setup(sa=0.5)),
            TableLine("+CFA", _setup(cfa=True)),
            TableLine("+TL", _setup(tl=True)),
            TableLine("+SA+TL", _SA_TL),
            TableLine("+CFA+TL", _setup(cfa=True, tl=True)),
            TableLine("+SA+CFA", _setup(sa=0.5, cfa=True)),
            TableLine("Ours", OURS),
            _added("Ours (scaled)", _SCALED),
        ),
        published.METRICS[5],
        baseline="PatchCore",
        notes=(_SCALED_NOTE,),
    ),
}
"""By their numbers in the paper."""
