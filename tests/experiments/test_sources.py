from __future__ import annotations

from pathlib import Path

import pytest

from flawmap.data import heatsink
from flawmap.data.layouts import find_products, to_test
from flawmap.errors import OptionError
from flawmap.experiments.sources import find_source


def test_heat_sinks_are_drawn_once_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heatsink, "PAPER", {"Black": heatsink.Counts(2, 1, 3)})
    write = heatsink.write

    def stop(folder: Path, counts: object) -> None:
        write(folder, counts)
        raise KeyboardInterrupt

    monkeypatch.setattr(heatsink, "write", stop)
    with pytest.raises(KeyboardInterrupt):
        find_source("heatsinks", tmp_path)
    assert not (tmp_path / "heatsinks").exists()
    monkeypatch.setattr(heatsink, "write", write)
    place = find_source("heatsinks", tmp_path)
    assert len(to_test(find_products(place)["Black"])) == 4
    monkeypatch.setattr(heatsink, "write", stop)
    assert find_source("heatsinks", tmp_path) == place


def test_the_papers_counts() -> None:
    assert sum(one.train_good + one.test_good for one in heatsink.PAPER.values()) == 897
    assert sum(one.defects for one in heatsink.PAPER.values()) == 692


def test_a_folder_is_itself_and_must_be_there(tmp_path: Path) -> None:
    assert find_source(str(tmp_path), tmp_path / "else") == tmp_path
    with pytest.raises(OptionError, match="no such folder; name one, or heatsinks or elpv"):
        find_source(str(tmp_path / "none"), tmp_path)
