from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from pathlib import Path

import pytest

from flawmap.data import elpv
from flawmap.data.layouts import find_samples
from flawmap.data.sample import GOOD, Sample
from flawmap.errors import DatasetError, MissingExtra, WriteError
from flawmap.runtime.images.decode import decode

needs_elpv = pytest.mark.skipif(
    importlib.util.find_spec("elpv_dataset") is None,
    reason='elpv-dataset is not installed; pip install "flawmap[elpv]"',
)


def placed(samples: list[Sample]) -> dict[str, tuple[str, str]]:
    return {sample.path.name: (sample.split, sample.defect_type) for sample in samples}


def package(folder: Path, labels: str) -> Path:
    """A package with images of a few cells, each file another size."""
    (folder / "images").mkdir(parents=True)
    (folder / "labels.csv").write_text(labels)
    for number, line in enumerate(labels.splitlines()):
        (folder / line.split()[0]).write_bytes(bytes(number + 1))
    return folder


CELLS = "\n".join(
    [f"images/good{number:02}.png 0.0 mono" for number in range(40)]
    + ["images/bad0.png  1.0                 mono", "images/bad1.png 1.0 mono"]
    + ["images/unsure0.png 0.3333333333333333 mono", "images/unsure1.png 0.6666666666666666 mono"]
    + ["images/poly0.png 0.0 poly", "images/poly1.png 1.0 poly"]
)


@pytest.fixture
def few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    data = package(tmp_path / "package", CELLS)
    monkeypatch.setattr(elpv, "_installed", lambda: data)
    return tmp_path / "data" / "elpv"


@needs_elpv
def test_counts_of_the_real_set() -> None:
    samples = elpv.list_samples()
    assert Counter(sample.defect_type for sample in samples) == {GOOD: 588, "defective": 313}
    assert all(sample.split == "test" for sample in samples if sample.label)
    assert len({sample.sha256 for sample in samples}) == len(samples), "no image is there twice"


@needs_elpv
def test_the_split_of_the_real_set_never_changes() -> None:
    # Figures that were published on it are only good as long as this stays.
    where = placed(elpv.list_samples())
    assert Counter(where.values()) == {
        ("train", "good"): 434,
        ("test", "good"): 154,
        ("test", "defective"): 313,
    }
    tested = [name for name, position in sorted(where.items()) if position == ("test", "good")]
    assert tested[:4] == ["cell0004.png", "cell0009.png", "cell0011.png", "cell0413.png"]


@needs_elpv
def test_the_written_set_is_a_data_set_of_images(tmp_path: Path) -> None:
    elpv.write_elpv(tmp_path / "elpv")
    samples = find_samples(tmp_path / "elpv")
    assert placed(samples) == placed(elpv.list_samples())
    assert decode(samples[0].path).shape == (300, 300, 3)


def test_only_sure_cells_of_one_crystal_are_taken(few: Path) -> None:
    elpv.write_elpv(few)
    names = {path.name for path in few.rglob("*.png")}
    assert names == {f"good{number:02}.png" for number in range(40)} | {"bad0.png", "bad1.png"}
    assert {path.name for path in (few / "test" / "defective").iterdir()} == {
        "bad0.png",
        "bad1.png",
    }
    train, test = (
        {path.name for path in (few / split / GOOD).iterdir()} for split in ("train", "test")
    )
    assert train
    assert test
    assert not train & test


def test_a_cell_stays_where_it_is_when_others_come_or_go(
    few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = placed(elpv.list_samples())
    fewer = package(few / "elsewhere", "\n".join(CELLS.splitlines()[::-2]))
    monkeypatch.setattr(elpv, "_installed", lambda: fewer)
    after = placed(elpv.list_samples())
    assert 10 < len(after) < len(before)
    assert after.items() <= before.items()


def test_writing_again_changes_nothing(few: Path) -> None:
    elpv.write_elpv(few)
    before = {path: path.stat().st_mtime_ns for path in few.rglob("*")}
    elpv.write_elpv(few)
    assert {path: path.stat().st_mtime_ns for path in few.rglob("*")} == before


def test_an_empty_folder_is_filled(few: Path) -> None:
    few.mkdir(parents=True)
    elpv.write_elpv(few)
    assert len(find_samples(few)) == 42


def test_an_interrupted_write_leaves_nothing(few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = elpv._copy

    def stop(sample: Sample, folder: Path) -> None:
        if sample.path.name == "good20.png":
            raise KeyboardInterrupt
        copy(sample, folder)

    monkeypatch.setattr(elpv, "_copy", stop)
    with pytest.raises(KeyboardInterrupt):
        elpv.write_elpv(few)
    assert list(few.parent.iterdir()) == []
    monkeypatch.setattr(elpv, "_copy", copy)
    elpv.write_elpv(few)
    assert len(find_samples(few)) == 42


def test_two_at_once_are_one(few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy, holds = elpv._copy, elpv._holds

    def overtaken(sample: Sample, folder: Path) -> None:
        if not few.exists():
            monkeypatch.setattr(elpv, "_copy", copy)
            elpv.write_elpv(few)
        copy(sample, folder)

    monkeypatch.setattr(elpv, "_copy", overtaken)
    elpv.write_elpv(few)
    assert holds(few, elpv.list_samples())
    assert list(few.parent.iterdir()) == [few]


@pytest.mark.parametrize("change", ["one is missing", "one is cut off", "one is too many"])
def test_what_else_is_in_the_folder_stays_and_is_said(few: Path, change: str) -> None:
    elpv.write_elpv(few)
    bad = few / "test" / "defective" / "bad1.png"
    if change == "one is missing":
        bad.unlink()
    else:
        (bad if change == "one is cut off" else bad.with_name("mine.png")).write_bytes(b"")
    before = sorted(few.rglob("*"))
    with pytest.raises(
        DatasetError, match="holds other things than the 42 cells of ELPV; name another folder"
    ):
        elpv.write_elpv(few)
    assert sorted(few.rglob("*")) == before


def test_no_permission(few: Path) -> None:
    few.parent.parent.joinpath("data").write_text("a file where the folder should be")
    with pytest.raises(WriteError, match="could not be written"):
        elpv.write_elpv(few)


def test_without_the_package_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "elpv_dataset", None)
    with pytest.raises(
        MissingExtra, match=r'elpv_dataset is not installed.*pip install "flawmap\[elpv\]"'
    ):
        elpv.write_elpv(tmp_path / "elpv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("labels", ["images/a.png 0.0", "images/a.png good mono"])
def test_another_package_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labels: str
) -> None:
    (tmp_path / "labels.csv").write_text(labels)
    monkeypatch.setattr(elpv, "_installed", lambda: tmp_path)
    with pytest.raises(DatasetError, match="not a list of cells"):
        elpv.list_samples()
