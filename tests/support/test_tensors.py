from __future__ import annotations

import pytest
import torch
from jaxtyping import jaxtyped

from flawmap.support.tensors import Embedded, Images, Scores
from helpers import check_types


def embedded() -> Embedded:
    maps = (torch.randn(3, 4, 5, 6), torch.randn(3, 2, 2, 7))
    return Embedded(maps, (torch.randn(3, 2, 3),))


def test_maps_and_transforms_are_distinguished_by_their_axes() -> None:
    original = embedded()
    again = Embedded.unflatten(original.flatten())
    assert [torch.equal(*pair) for pair in zip(again.maps, original.maps, strict=True)] == [
        True
    ] * 2
    assert torch.equal(again.transforms[0], original.transforms[0])


def test_which_patches_count_has_two_axes_and_comes_last() -> None:
    original = embedded()._replace(inside=torch.ones(3, 20))
    flat = original.flatten()
    assert flat[-1] is original.inside
    again = Embedded.unflatten(flat)
    assert again.inside is original.inside
    assert original.image(2).inside is not None
    assert Embedded.unflatten(embedded().flatten()).inside is None


def test_an_image_is_a_batch_of_its_own() -> None:
    original = embedded()
    second = original.image(1)
    assert [tuple(tensor.shape) for tensor in second.flatten()] == [
        (1, 4, 5, 6),
        (1, 2, 2, 7),
        (1, 2, 3),
    ]
    assert torch.equal(second.maps[1][0], original.maps[1][1])


def test_another_device_has_all_of_them() -> None:
    moved = embedded().to(torch.device("meta"))
    assert {tensor.device.type for tensor in moved.flatten()} == {"meta"}


def test_shapes_are_checked_where_they_are_asked_for() -> None:
    @jaxtyped(typechecker=check_types)
    def score(images: Images) -> Scores:
        return Scores(images.amax((1, 2, 3)), images[:, 0])

    assert score(torch.zeros(2, 3, 8, 8)).pixel.shape == (2, 8, 8)
    with pytest.raises(TypeError, match="images"):
        score(torch.zeros(2, 1, 8, 8))
