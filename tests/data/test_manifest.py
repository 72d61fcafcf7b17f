from __future__ import annotations

from pathlib import Path

import pytest

from flawmap.data.layouts import find_samples
from flawmap.data.manifest import read_manifest, write_manifest
from flawmap.data.sample import Sample
from flawmap.errors import DatasetError
from helpers import save, texture

STRANGE = (
    "a b.png",
    " blank.png",
    "散热片.png",
    "a,b.png",
    "a;b.png",
    "it's.png",
    '"quoted".png',
    "line\nbreak.png",
)


@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_manifest(tmp_path: Path, separator: str, encoding: str) -> None:
    rows = [
        ("path", "label", "mask", "split"),
        ("a (1).png", "good", "", "train"),
        ("b.png", "OK", "", ""),
        ("散.png", "scratch", "masks/散.png", "test"),
        ("d.png", "0", "", "Test"),
    ]
    manifest = tmp_path / "parts.csv"
    manifest.write_text("\n".join(separator.join(row) for row in rows), encoding=encoding)
    first, second, scratch, good = find_samples(manifest)
    assert (first.path, first.split, first.label) == (tmp_path / "a (1).png", "train", 0)
    assert (second.split, second.label) == ("train", 0)
    assert (scratch.defect_type, scratch.split, scratch.mask) == (
        "scratch",
        "test",
        tmp_path / "masks/散.png",
    )
    assert (good.split, good.label) == ("test", 0)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("file,label\na.png,good\n", "column named path; it has file, label"),
        ("", "it has none"),
        ("path\n", "lists no images"),
        ("path,split\na.png,training\nb.png,holdout\n", "line 3: split is 'holdout'"),
        ("path,label\n,good\n", "line 2: the path is empty"),
    ],
)
def test_bad_manifests(tmp_path: Path, text: str, why: str) -> None:
    manifest = tmp_path / "parts.csv"
    manifest.write_text(text)
    with pytest.raises(DatasetError, match=why):
        find_samples(manifest)


def test_an_image_is_no_manifest(good_folder: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be read as a CSV manifest"):
        find_samples(good_folder / "00.png")


@pytest.mark.parametrize(
    ("word", "split"),
    [
        ("cal", "calibration"),
        ("Val", "calibration"),
        ("validation", "calibration"),
        ("fit", "train"),
        ("TEST", "test"),
    ],
)
def test_words_for_splits(tmp_path: Path, word: str, split: str) -> None:
    (tmp_path / "parts.csv").write_text(f"path,split\na.png,{word}\n")
    assert find_samples(tmp_path / "parts.csv")[0].split == split


def test_manifests_come_back_as_written(tmp_path: Path) -> None:
    samples = [
        *(
            Sample(tmp_path / "in" / name, "train", group="lot; 1", sha256="0a" * 32)
            for name in STRANGE
        ),
        *(Sample(tmp_path / name, "calibration") for name in STRANGE),
        Sample(tmp_path / "d.png", "test", 'dent, "deep"', tmp_path / "masks" / "d 散.png"),
    ]
    write_manifest(tmp_path / "parts.csv", samples)
    assert read_manifest(tmp_path / "parts.csv").samples == samples
    assert (
        (tmp_path / "parts.csv")
        .read_bytes()
        .startswith(b"\xef\xbb\xbfpath,label,mask,split,group,sha256\r\n")
    )


def test_a_manifest_beside_its_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = save(tmp_path / "images" / "0.png", texture(0))
    monkeypatch.chdir(tmp_path)
    write_manifest(Path("splits/parts.csv"), [Sample(Path("images/0.png"), "train")])
    assert (tmp_path / "splits" / "parts.csv").read_text("utf-8-sig").split() == [
        "path,label,split",
        "../images/0.png,good,train",
    ]
    (sample,) = read_manifest(tmp_path / "splits" / "parts.csv").samples
    assert sample.path.resolve() == image


def test_a_manifest_in_a_linked_folder(tmp_path: Path) -> None:
    image = save(tmp_path / "images" / "0.png", texture(0))
    (tmp_path / "far" / "away").mkdir(parents=True)
    try:
        (tmp_path / "link").symlink_to(tmp_path / "far" / "away", target_is_directory=True)
    except OSError:
        pytest.skip("no links on this machine")
    write_manifest(tmp_path / "link" / "parts.csv", [Sample(image, "train")])
    (sample,) = read_manifest(tmp_path / "link" / "parts.csv").samples
    assert sample.path.is_file()


def test_no_manifest_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no images to list"):
        write_manifest(tmp_path / "parts.csv", [])


def test_no_defect_turns_good_in_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="'OK', which a manifest takes for a good part"):
        write_manifest(tmp_path / "parts.csv", [Sample(tmp_path / "a.png", "test", "OK")])
