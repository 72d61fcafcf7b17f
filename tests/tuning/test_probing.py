from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from flawmap.runtime.image_types import ImageInput
from flawmap.synthetic.probes import PROBE_KINDS
from flawmap.tuning.probing import make_probe_set
from helpers import save, texture


def images(count: int, height: int = 128, width: int = 200) -> list[ImageInput]:
    return [texture(seed, height, width) for seed in range(count)]


def test_each_kind_and_size_is_painted_on_twenty_images() -> None:
    probe_set = make_probe_set(images(30), seed=0)
    cells = Counter((probe.kind, probe.size) for probes in probe_set.probes for probe in probes)
    assert set(cells.values()) == {20}
    assert {kind for kind, _ in cells} == set(PROBE_KINDS)
    counts = [len(probes) for probes in probe_set.probes]
    assert max(counts) - min(counts) <= 1
    assert probe_set.count == sum(counts) == 20 * len(cells)
    assert len(probe_set) == 30 + probe_set.count


def test_a_cell_has_no_image_twice() -> None:
    for probes in make_probe_set(images(21), seed=0).probes:
        assert len(set(probes)) == len(probes)


def test_sizes_grow_with_the_images() -> None:
    small, large = (
        {probe.size for probes in make_probe_set(group, seed=0).probes for probe in probes}
        for group in (images(20, 128, 200), images(20, 256, 400))
    )
    assert max(small) == 2 * 128 / 8
    assert max(large) == 2 * 256 / 8
    assert min(small) == 3


def test_every_pass_gives_the_same_images_good_ones_first() -> None:
    probe_set = make_probe_set(images(4), seed=3)
    first, second = list(probe_set), list(probe_set)
    assert len(first) == len(probe_set)
    for version, again in zip(first, second, strict=True):
        assert np.array_equal(version.image, again.image)
    assert [v.source for v in first] == sorted(v.source for v in first)
    for version in first:
        good = texture(version.source, 128, 200)
        assert np.array_equal(version.image, good) == (version.probe is None)
    assert sum(version.probe is None for version in first) == 4


def test_another_seed_paints_others() -> None:
    first, other = (list(make_probe_set(images(3), seed=seed)) for seed in (0, 1))
    assert not np.array_equal(first[1].image, other[1].image)


def test_unreadable_images_are_left_out(tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"cut")
    good = save(tmp_path / "good.png", texture(0))
    probe_set = make_probe_set([broken, good], seed=0)
    assert probe_set.images == [good]
    assert {version.source for version in probe_set} == {0}
    assert make_probe_set([broken], seed=0).count == 0
