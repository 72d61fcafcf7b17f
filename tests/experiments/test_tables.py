from __future__ import annotations

from pathlib import Path
from statistics import fmean

import pytest

from flawmap.experiments import published
from flawmap.experiments.published import MEAN
from flawmap.experiments.study import StudyConfig
from flawmap.experiments.tables import TABLES, TableLine
from flawmap.methods import METHODS, make_method


def line(number: int, label: str) -> TableLine:
    return next(line for line in TABLES[number].lines if line.label == label)


@pytest.mark.parametrize("number", TABLES)
def test_every_line_can_be_made_or_is_known_to_be_missing(number: int) -> None:
    for line in TABLES[number].lines:
        assert line.setup.method in {*METHODS, "vqflow", "crad", "glass", "ddad"}
        if line.setup.method in METHODS:
            make_method(line.setup.method, line.setup.preset, **line.setup.options)


@pytest.mark.parametrize("number", [1, 3, 4, 5])
def test_the_papers_lines_have_the_papers_figures(number: int) -> None:
    table = TABLES[number]
    assert set(table.published) == {line.label for line in table.lines if not line.added}
    assert all(line.label.startswith("+ ") for line in table.lines if line.added)


def test_the_same_cell_is_the_same_setup_in_every_table() -> None:
    assert line(1, "PatchCore").setup == line(5, "PatchCore").setup
    ours = [line(1, "Ours"), line(3, "CA"), line(4, "50 %"), line(5, "Ours")]
    assert all(line.setup == ours[0].setup for line in ours)
    assert line(3, "RP").setup == line(5, "+SA+TL").setup
    assert line(4, "+ 0 %").setup == line(5, "+CFA+TL").setup
    labels = {
        1: "improved PatchCore (scaled)",
        3: "CA (scaled)",
        4: "50 % (scaled)",
        5: "Ours (scaled)",
    }
    scaled = [line(number, f"+ {label}").setup for number, label in labels.items()]
    assert all(setup == scaled[0] for setup in scaled)


def test_ours_is_the_improved_patchcore_with_a_finetuned_backbone() -> None:
    setup = line(1, "Ours").setup
    assert setup.finetuned
    assert (
        make_method(setup.method, **setup.options).options()
        == make_method("improved-patchcore", "paper").options()
    )
    scaled = line(1, "+ improved PatchCore (scaled) without TL").setup
    assert not scaled.finetuned
    method = StudyConfig(Path("tiles"), preset="paper").method(scaled, seed=0)
    assert method.options() == make_method("improved-patchcore", "scaled").options()


def test_the_papers_own_tables_agree_to_rounding() -> None:
    means = [published.METRICS[1]["PatchCore"][MEAN], published.METRICS[5]["PatchCore"][MEAN]]
    ours = [
        published.METRICS[1]["Ours"][MEAN],
        published.METRICS[3]["CA"][MEAN],
        published.METRICS[4]["50 %"][MEAN],
    ]
    for same in (means, [*ours, published.METRICS[5]["Ours"][MEAN]]):
        for line in same:
            assert line == pytest.approx(same[0], abs=0.0051)
    assert published.METRICS[3]["RP"][MEAN] == published.METRICS[5]["+SA+TL"][MEAN]
    black, white = (published.METRICS[1]["PaDiM"][product] for product in ("Black", "White"))
    assert published.METRICS[1]["PaDiM"][MEAN].auroc == fmean([black.auroc, white.auroc])


def test_the_eight_cells_of_the_ablation_are_all_there_is() -> None:
    of_the_paper = [line for line in TABLES[5].lines if not line.added]
    assert len({repr(line.setup) for line in of_the_paper}) == len(of_the_paper) == 8
