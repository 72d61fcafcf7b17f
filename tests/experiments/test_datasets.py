from __future__ import annotations

from pathlib import Path

import pytest

from flawmap.data.layouts import find_products, labelled_test_samples
from flawmap.errors import OptionError
from flawmap.experiments.datasets import resolve_dataset
from flawmap.synthetic import heatsink


def test_heat_sinks_are_drawn_once_and_completely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heatsink, "PAPER_COUNTS", {"Black": heatsink.ImageCounts(2, 1, 3)})
    write = heatsink.write_heatsinks

    def stop(folder: Path, counts: dict[str, heatsink.ImageCounts]) -> None:
        write(folder, counts)
        raise KeyboardInterrupt

    monkeypatch.setattr(heatsink, "write_heatsinks", stop)
    with pytest.raises(KeyboardInterrupt):
        resolve_dataset("heatsinks", tmp_path)
    assert not (tmp_path / "heatsinks").exists()
    monkeypatch.setattr(heatsink, "write_heatsinks", write)
    folder = resolve_dataset("heatsinks", tmp_path)
    assert len(labelled_test_samples(find_products(folder)["Black"])) == 4
    monkeypatch.setattr(heatsink, "write_heatsinks", stop)
    assert resolve_dataset("heatsinks", tmp_path) == folder


def test_the_papers_counts() -> None:
    counts = heatsink.PAPER_COUNTS.values()
    assert sum(product.train_good + product.test_good for product in counts) == 897
    assert sum(product.defective for product in counts) == 692


def test_a_folder_is_itself_and_must_be_there(tmp_path: Path) -> None:
    assert resolve_dataset(str(tmp_path), tmp_path / "else") == tmp_path
    with pytest.raises(OptionError, match="no such folder; name one, or heatsinks or elpv"):
        resolve_dataset(str(tmp_path / "none"), tmp_path)
