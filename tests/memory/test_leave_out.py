from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from flawmap.memory.bank import Bank
from flawmap.memory.coreset import k_center_greedy
from flawmap.memory.leave_out import LeaveOut

IMAGES, PATCHES, CHANNELS = 12, 20, 5


def draw(seed: int, fraction: float = 0.15) -> tuple[torch.Tensor, Bank]:
    """Patches of a dozen images, one of them anomalous, and the coreset of all."""
    vectors = torch.randn(IMAGES * PATCHES, CHANNELS, generator=torch.Generator().manual_seed(seed))
    vectors[3 * PATCHES : 3 * PATCHES + 6] *= 4
    kept_rows = k_center_greedy(vectors, int(len(vectors) * fraction), start=0).sort().values
    return vectors, Bank(vectors[kept_rows], kept_rows // PATCHES)


def by_hand(
    vectors: np.ndarray, bank: Bank, owners: np.ndarray, owner: int
) -> tuple[set[int], np.ndarray]:
    """Take the owner's vectors out, put as many others in one by one, each the farthest.

    No code shared.
    """
    kept = bank.vectors.double().numpy()[owners[bank.image_ids.numpy()] != owner]
    missing, others = (
        len(bank.vectors) - len(kept),
        np.flatnonzero(np.repeat(owners, PATCHES) != owner),
    )
    added = []
    for _ in range(missing):
        farthest = (
            others[cdist(vectors[others], kept).min(axis=1).argmax()] if len(kept) else others[0]
        )
        added.append(int(farthest))
        kept = np.vstack([kept, vectors[farthest]])
    own_vectors = vectors.reshape(IMAGES, PATCHES, -1)[owners == owner].reshape(-1, CHANNELS)
    return set(added), cdist(own_vectors, kept).min(axis=1)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("lot", [1, 3])
def test_it_is_the_greedy_memory_without_the_owner(seed: int, lot: int) -> None:
    vectors, bank = draw(seed)
    owners = torch.arange(IMAGES) // lot
    left_out = LeaveOut(bank, vectors, owners)
    for owner in owners.unique().tolist():
        others = left_out.bank_without(owner)
        added, expected = by_hand(vectors.double().numpy(), bank, owners.numpy(), owner)
        assert len(others) == len(bank)
        assert {int(row) for row in others.image_ids[len(bank) :]} == {
            row // PATCHES for row in added
        }
        neighbours = [
            left_out.nearest_in(image, others)
            for image in (owners == owner).nonzero()[:, 0].tolist()
        ]
        np.testing.assert_allclose(
            torch.cat([image.distances for image in neighbours]).numpy(), expected, rtol=1e-5
        )


def test_the_rows_are_those_of_the_nearest_vectors() -> None:
    vectors, bank = draw(0)
    left_out = LeaveOut(bank, vectors, torch.arange(IMAGES))
    for image in range(IMAGES):
        others = left_out.bank_without(image)
        neighbours, requested = (
            left_out.nearest_in(image, others),
            others(vectors.reshape(IMAGES, 1, PATCHES, -1)[image, None]),
        )
        assert torch.allclose(neighbours.distances, requested.distances[0, 0])
        assert torch.equal(neighbours.rows, requested.rows[0, 0])
        assert (others.image_ids[neighbours.rows] != image).all()


def test_one_owner_of_everything_leaves_nothing() -> None:
    vectors, bank = draw(0)
    assert len(LeaveOut(bank, vectors, torch.zeros(IMAGES, dtype=torch.long)).bank_without(0)) == 0


@pytest.mark.parametrize("count", [30, pytest.param(90, marks=pytest.mark.slow)])
def test_held_out_scores_are_distributed_as_new_ones(count: int) -> None:
    """In 200 draws the false reject rate of new images is the guaranteed one or less."""
    beyond = []
    for seed in range(200):
        rng = torch.Generator().manual_seed(seed)
        vectors = torch.randn((count + 20) * 8, 4, generator=rng) * torch.rand(
            (count + 20), 1, generator=rng
        ).repeat_interleave(8, 0)
        fitted, new = vectors[: count * 8], vectors[count * 8 :]
        kept_rows = k_center_greedy(fitted, count, start=0).sort().values
        bank = Bank(fitted[kept_rows], kept_rows // 8)
        left_out = LeaveOut(bank, fitted, torch.arange(count))
        held_out = [
            left_out.nearest_in(image, left_out.bank_without(image)).distances.max()
            for image in range(count)
        ]
        threshold = torch.stack(held_out).sort().values[-max(1, (count + 1) // 10)]
        beyond.append(
            float(
                (bank(new.reshape(20, 1, 8, 4)).distances.amax(dim=(1, 2)) > threshold)
                .float()
                .mean()
            )
        )
    promised = max(1, (count + 1) // 10) / (count + 1)
    assert 0.6 * promised < np.mean(beyond) < 1.05 * promised


@pytest.mark.parametrize("lot", [1, 3])
def test_padding_replaces_nothing(lot: int) -> None:
    """The same as without the patches of padding, which lie far from all others."""
    vectors, _ = draw(0)
    owners = torch.arange(IMAGES) // lot
    inside = torch.ones(IMAGES, PATCHES, dtype=torch.bool)
    inside[:, 15:] = False  # as many in each image, so that the rest is a set of its own
    padded = torch.where(inside.flatten()[:, None], vectors, 50.0)
    kept_rows = k_center_greedy(padded, 30, start=0, among=inside.flatten()).sort().values
    bank = Bank(padded[kept_rows], kept_rows // PATCHES)
    with_padding = LeaveOut(bank, padded, owners, inside.flatten())
    without = LeaveOut(bank, vectors[inside.flatten()], owners)
    for owner in owners.unique().tolist():
        first, second = with_padding.bank_without(owner), without.bank_without(owner)
        assert torch.equal(first.vectors, second.vectors)
        assert torch.equal(first.image_ids, second.image_ids)
        image = int((owners == owner).nonzero()[0])
        found = with_padding.nearest_in(image, first).distances[:15]
        assert torch.allclose(found, without.nearest_in(image, second).distances)
