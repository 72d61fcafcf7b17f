from __future__ import annotations

import torch
from scipy.spatial.distance import cdist

from flawmap.memory.reference_set import ReferenceSet

GENERATOR = torch.Generator().manual_seed(0)
FINE = torch.randn(5, 6, 4, 3, generator=GENERATOR)
DEEP = torch.randn(5, 3, 2, 7, generator=GENERATOR)


def test_an_image_is_nearest_to_itself_and_then_by_mean_vectors() -> None:
    references = ReferenceSet([FINE, DEEP])
    nearest = references.nearest_images(DEEP[3], 5, torch.arange(5))
    means = DEEP.mean(dim=(1, 2)).numpy()
    expected = cdist(means[3:4], means)[0]
    assert nearest.ids.tolist() == expected.argsort().tolist()
    assert torch.allclose(nearest.distances.double(), torch.tensor(sorted(expected)), atol=1e-6)


def test_only_candidates_are_chosen() -> None:
    references = ReferenceSet([FINE, DEEP])
    nearest = references.nearest_images(DEEP[3], 2, torch.tensor([4, 0, 1]))
    everyone = references.nearest_images(DEEP[3], 5, torch.arange(5)).ids.tolist()
    assert nearest.ids.tolist() == [number for number in everyone if number in (4, 0, 1)][:2]


def test_positions_are_compared_with_all_positions_of_the_named_images() -> None:
    references = ReferenceSet([FINE, DEEP])
    distances = references.distances(0, FINE[0], torch.tensor([2, 4]))
    good = FINE[[2, 4]].flatten(0, 2).numpy()
    expected = cdist(FINE[0].flatten(0, 1).numpy(), good).min(axis=1)
    assert torch.allclose(distances.double(), torch.tensor(expected).reshape(6, 4), atol=1e-6)
