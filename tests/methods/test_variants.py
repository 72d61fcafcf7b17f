"""The variants of PatchCore name the parts that their papers name."""

from __future__ import annotations

from flawmap.features.context import Gated, Neighbourhood, PartialSelfAttention, PooledNeighbourhood
from flawmap.features.reducers import SparseRandomProjection, UniformRandomProjection
from flawmap.features.registration import NoRegistration, SpatialTransformerRegistration
from flawmap.memory.bank import Maximum, Reweighted
from flawmap.methods import make_method


def test_each_differs_from_patchcore_by_its_parts_alone() -> None:
    plain = make_method("patchcore").options()
    differences = {
        "patchcore-official": {"context", "reducer", "coreset"},
        "patchcore-paper": {"image_score"},
        "patchcore-resnet18": {"backbone"},
        "sa-patchcore": {"context", "alignment"},
        "rail-patchcore": {"context"},
        "fr-patchcore": {"registration"},
        "improved-patchcore": {"context", "reducer", "reducer_scope"},
    }
    for name, expected in differences.items():
        options = make_method(name).options()
        assert {option for option in options if options[option] != plain[option]} == expected, name


def test_the_parts_are_the_papers() -> None:
    plain = make_method("patchcore")
    assert (plain.context, plain.reducer, plain.image_score) == (
        Neighbourhood(),
        SparseRandomProjection(),
        Maximum(),
    )
    assert (plain.coreset, plain.alignment, plain.registration) == (
        0.01,
        "bilinear",
        NoRegistration(),
    )
    official = make_method("patchcore-official")
    assert (official.context, official.reducer) == (
        PooledNeighbourhood(1024),
        UniformRandomProjection(128),
    )
    assert make_method("patchcore-paper").image_score == Reweighted(9)
    attention = make_method("sa-patchcore")
    assert (attention.context, attention.alignment) == (
        PartialSelfAttention(1.0, attend="per_channel"),
        "nearest",
    )
    assert make_method("rail-patchcore").context == Gated("dual_axis")
    assert make_method("fr-patchcore").registration == SpatialTransformerRegistration(
        epochs=50, learning_rate=1e-4, batch_size=32
    )


def test_any_part_may_be_given_otherwise() -> None:
    assert make_method("rail-patchcore", context=Gated("channels"), coreset=0.5).context == Gated(
        "channels"
    )
