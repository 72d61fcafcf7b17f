"""PatchCore's relatives have the components that their papers name, and no others."""

from __future__ import annotations

import pytest

from flawmap.features.context import Neighbourhood, PooledNeighbourhood
from flawmap.features.reducers import SparseRandomProjection, UniformRandomProjection
from flawmap.features.registration import NoRegistration
from flawmap.memory.bank import Maximum, Reweighted
from flawmap.methods import make_method
from flawmap.methods.patchcore import PatchCore


def patchcore(name: str) -> PatchCore:
    method = make_method(name)
    assert isinstance(method, PatchCore)
    return method


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("patchcore-official", {"context", "reducer", "coreset"}),
        ("patchcore-paper", {"image_score"}),
        ("patchcore-resnet18", {"backbone"}),
        ("sa-patchcore", {"context", "alignment"}),
        ("rail-patchcore", {"context"}),
        ("fr-patchcore", {"registration"}),
        ("improved-patchcore", {"context", "reducer", "reducer_scope", "stride"}),
    ],
)
def test_a_relative_differs_in_its_own_components_alone(name: str, expected: set[str]) -> None:
    plain = make_method("patchcore").options()
    options = make_method(name).options()
    assert {option for option in options if options[option] != plain[option]} == expected


def test_patchcores_own() -> None:
    plain = patchcore("patchcore")
    assert plain.context == Neighbourhood()
    assert plain.reducer == SparseRandomProjection()
    assert plain.image_score == Maximum()
    assert plain.registration == NoRegistration()
    assert (plain.coreset, plain.alignment) == (0.01, "bilinear")


def test_the_official_code_and_the_papers_score() -> None:
    official = patchcore("patchcore-official")
    assert official.context == PooledNeighbourhood(1024)
    assert official.reducer == UniformRandomProjection(128)
    assert patchcore("patchcore-paper").image_score == Reweighted(9)
