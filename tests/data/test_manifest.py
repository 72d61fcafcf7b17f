from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flawmap.data.layouts import find_dataset, find_products, find_samples
from flawmap.data.manifest import is_manifest, read_manifest, write_manifest
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


def read(folder: Path, text: str) -> list[tuple[str, str, str]]:
    """Name, split and defect type of each image of a manifest with that text."""
    (folder / "parts.csv").write_text(text, encoding="utf-8")
    samples = read_manifest(folder / "parts.csv").samples
    return [(sample.path.name, sample.split, sample.defect_type) for sample in samples]


@pytest.mark.parametrize(
    "header",
    ["path, label, split", " PATH ,Label,SPLIT", "\ufeffpath,label,split ", "Path,LABEL,Split"],
)
def test_names_of_columns_in_any_case_with_blanks_around(tmp_path: Path, header: str) -> None:
    rows = "a.png, 0, train\nb.png, dent , test\n"
    assert read(tmp_path, f"{header}\n{rows}") == [
        ("a.png", "train", "good"),
        ("b.png", "test", "dent"),
    ]


@pytest.mark.parametrize(
    "word", ["0.0", "False", "no_defect", "None", "N/A", "PASS", "nan", "Normal"]
)
def test_one_list_of_words_for_good(tmp_path: Path, word: str) -> None:
    assert read(tmp_path, f"path,label\na.png,{word}\nb.png,dent\n") == [
        ("a.png", "train", "good"),
        ("b.png", "train", "dent"),
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "path,class,subset\na.png,0,train\n",
            "no column named label and none named split; found path, class, subset",
        ),
        ("path,label,when\na.png,0,train\n", "no column named split; found path, label, when"),
        ("path,label,Label\na.png,0,1\n", "1 columns twice, label first"),
        (
            "path,label\na.png,ok\nb.png,\nc.png,dent\nd.png,\n",
            "line 3 .and in 1 more lines.: .*empty",
        ),
        ("path,label\nhttps://x/a.png,0\n", "line 2: https://x/a.png is a URL"),
        ("path,label,mask\na.png,1,s3://b/m.png\n", "line 2: s3://b/m.png is a URL"),
        (
            "path,label\na.png,0\n./a.png,dent\n",
            "line 3: .*a.png is dent, but good in line 2",
        ),
    ],
)
def test_what_the_writer_did_not_say_is_refused(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(DatasetError, match=why):
        read(tmp_path, text)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a system other than Windows")
def test_paths_as_windows_writes_them(tmp_path: Path) -> None:
    save(tmp_path / "day 1" / "a.png", texture(0))
    save(tmp_path / r"b\c.png", texture(0))
    (tmp_path / "parts.csv").write_text("path\nday 1\\a.png\nb\\c.png\n.\\day 1\\gone.png\n")
    paths = [sample.path for sample in read_manifest(tmp_path / "parts.csv").samples]
    assert paths == [
        tmp_path / "day 1" / "a.png",
        tmp_path / r"b\c.png",
        tmp_path / "day 1" / "gone.png",
    ]
    for path in (r"C:\parts\a.png", "c:/a.png", r"\\server\a.png"):
        with pytest.raises(DatasetError, match=r"line 2: .* is a path of Windows"):
            read(tmp_path, f"path\n{path}\n")


def test_absolute_paths(tmp_path: Path) -> None:
    (tmp_path / "parts.csv").write_text(f"path\n{tmp_path / 'a.png'}\n")
    assert read_manifest(tmp_path / "parts.csv").samples == [Sample(tmp_path / "a.png", "train")]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are text there")
def test_a_name_that_is_no_text_comes_back(tmp_path: Path) -> None:
    image = tmp_path / os.fsdecode(b"gr\xfcn.png")
    image.touch()
    write_manifest(tmp_path / "parts.csv", [Sample(image, "train")])
    assert read_manifest(tmp_path / "parts.csv").samples == [Sample(image, "train")]
    (tmp_path / "parts.csv").write_text("path\ngr\\xfcn.png\n")
    assert read_manifest(tmp_path / "parts.csv").samples == [Sample(image, "train")]


def test_other_columns_repeated_rows_and_gaps_in_splits_are_allowed_and_said(
    tmp_path: Path,
) -> None:
    found = read(
        tmp_path,
        "\ufeff,path,label,split,operator,mask\n"
        "0,a.png,ok,,Anna,nan\n1,b.png,dent,test,Ben,b_mask.png\n2,a.png,ok,train,Anna,\n",
    )
    assert found == [("a.png", "train", "good"), ("b.png", "test", "dent")]
    notes = read_manifest(tmp_path / "parts.csv").notes
    assert "1 rows without a split are taken for train, first line 2" in notes[0]
    assert notes[1] == "labels taken for types of defects: dent (1)"
    assert notes[2].startswith("1 rows name an image again and are left out")


VISA = """object,split,label,image,mask
candle,train,normal,candle/Data/Images/Normal/0.JPG,
candle,test,anomaly,candle/Data/Images/Anomaly/1.JPG,candle/Data/Masks/Anomaly/1.png
capsules,train,normal,capsules/Data/Images/Normal/0.JPG,
"""


def test_the_manifest_of_visa(tmp_path: Path) -> None:
    manifest = tmp_path / "split_csv" / "1cls.csv"
    manifest.parent.mkdir()
    manifest.write_text(VISA)
    for name in ("candle/Data/Images/Normal/0.JPG", "capsules/Data/Images/Normal/0.JPG"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    products = find_products(manifest)
    assert list(products) == ["candle", "capsules"]
    normal, anomaly = find_samples(products["candle"])
    assert normal == Sample(tmp_path / "candle/Data/Images/Normal/0.JPG", "train")
    assert (anomaly.split, anomaly.defect_type) == ("test", "anomaly")
    assert anomaly.mask == tmp_path / "candle/Data/Masks/Anomaly/1.png"
    with pytest.raises(DatasetError, match="lists 2 products, candle, capsules; name one"):
        find_samples(manifest)
    with pytest.raises(DatasetError, match="no images of 'pcb1'"):
        find_samples(manifest / "pcb1")
    manifest.write_text(VISA.replace("capsules,", "../x,"))
    with pytest.raises(DatasetError, match=r"'../x' cannot be the name of a"):
        find_products(manifest)


CELLS = st.one_of(
    st.sampled_from(["good", " OK ", "0.0", "N/A", "NG", "dent", "1", "", "train", "Test", "val"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
)
HEADER = st.sampled_from(["path", "Path ", "label", " LABEL", "split", "mask", "group", "x", ""])


@given(
    header=st.lists(HEADER, max_size=5),
    rows=st.lists(st.lists(CELLS, max_size=5), max_size=5),
    separator=st.sampled_from([",", ";", "\t"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252", "utf-16-le"]),
)
def test_any_table_gives_samples_or_an_error_with_a_reason(
    header: list[str], rows: list[list[str]], separator: str, encoding: str
) -> None:
    text = "\n".join(separator.join(row) for row in [header, *rows])
    check_any_file(text.encode(encoding, "replace"))


@given(content=st.binary(max_size=80))
def test_any_bytes_give_samples_or_an_error_with_a_reason(content: bytes) -> None:
    check_any_file(content)
    check_any_file(b"path,label\n" + content)


def check_any_file(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "parts.csv"
        file.write_bytes(content)
        is_manifest(file)
        message = ""
        try:
            assert find_dataset(file).samples
        except DatasetError as error:
            message = str(error)
        assert not message or str(file) in message


LABELS = {
    **dict.fromkeys(["good", "OK", " normal", "0.00", "no-defect", "N/A", "None"], True),
    **dict.fromkeys(["NG", "dent", "1", "true", "not ok", "Defective ", "0.5"], False),
}


@given(
    labels=st.lists(st.sampled_from(list(LABELS)), min_size=1, max_size=8),
    splits=st.lists(st.sampled_from(["train", "Val", " test"]), min_size=8, max_size=8),
    columns=st.permutations(["path", " Label", "SPLIT", "operator"]),
    separator=st.sampled_from([",", ";", "\t"]),
)
def test_no_defect_is_ever_learned(
    labels: list[str], splits: list[str], columns: list[str], separator: str
) -> None:
    rows = [columns]
    for number, label in enumerate(labels):
        cells = {"path": f"{number}.png", " Label": label, "SPLIT": splits[number], "operator": "x"}
        rows.append([cells[column] for column in columns])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "parts.csv"
        file.write_text("\n".join(separator.join(row) for row in rows))
        found = [
            sample.path.name
            for sample in find_samples(file)
            if sample.split != "test" and not sample.label
        ]
    assert found == [
        f"{number}.png"
        for number, label in enumerate(labels)
        if LABELS[label] and splits[number] != " test"
    ]
