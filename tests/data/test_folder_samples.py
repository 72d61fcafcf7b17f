"""Any tree of folders: nothing named defective is learned, and no image is passed over unsaid."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from flawmap.data.layouts import find_dataset, find_products, find_samples, skipped_folders
from flawmap.data.sample import FoundSamples
from flawmap.errors import DatasetError

DEFECTIVE = ("NG", "ko", "Bad", "not_ok", "Defective", "reject 2")
NEUTRAL = (
    *("train", "test", "Validation", "test_public", "good", "OK", "Normal", "dent", "day 1"),
    *("ground_truth", "masks", "Images", "rgb", "xyz", "gt", "S0001", "0", "1"),
)
FOLDERS = st.lists(st.sampled_from([*NEUTRAL, *DEFECTIVE]), max_size=3)
FILES = st.sampled_from(
    ["a.png", "a_mask.png", "a.jpg", "b.JPG", "b_GT.png", "c.bmp", "000.png", "a.txt"]
)


def test_below_a_folder_of_defects_a_type_that_is_named_as_good_is_not(tmp_path: Path) -> None:
    for folder in ("NG/0/S0001", "OK/S0002"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.png").touch()
    labels = {sample.path.parent.name: sample.label for sample in find_dataset(tmp_path).samples}
    assert labels == {"S0001": 1, "S0002": 0}


@given(files=st.lists(st.tuples(FOLDERS, FILES), min_size=1, max_size=12, unique_by=str))
def test_any_tree_of_folders(files: list[tuple[list[str], str]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "set"
        root.mkdir()
        for folders, file in files:
            root.joinpath(*folders).mkdir(parents=True, exist_ok=True)
            root.joinpath(*folders, file).touch()
        products = find_products(root)
        skipped_folders(root, products)
        for source in products.values() or [root]:
            message = ""
            try:
                check(find_dataset(source), source)
            except DatasetError as error:
                message = str(error)
            assert not message or str(source) in message


def check(found: FoundSamples, root: Path) -> None:
    for sample in found.samples:
        parts = sample.path.relative_to(root).parts[:-1]
        if not sample.label:
            assert not set(parts) & set(DEFECTIVE)
        assert sample.path.exists()
        assert sample.mask is None or sample.mask.exists()
    images = {path for path in root.rglob("*") if path.suffix != ".txt" and path.is_file()}
    used = {sample.path for sample in found.samples}
    assert len(used) == len(found.samples)
    masks = {file for sample in found.samples for file in mask_files(sample.mask)}
    masks |= {
        root / file
        for sample in found.samples
        for file in re.findall(r"(?:masks, | and )(\S.*?)(?= and |; keep)", sample.mask_problem)
    }
    masks = {file for mask in masks for file in mask_files(mask)}
    said = sum(
        int(number)
        for note in found.notes
        for number in re.findall(
            r"^(\d+) (?:images? (?:is|are) not used|masks? belongs? to no)", note
        )
    )
    assert len(used | masks) + said == len(images)


def mask_files(mask: Path | None) -> list[Path]:
    if mask is None:
        return []
    return [mask] if mask.is_file() else [file for file in mask.iterdir() if file.suffix != ".txt"]


def test_an_image_below_two_labels_is_defective_if_one_says_so(tmp_path: Path) -> None:
    for file in ("train/good/NG/a.png", "train/NG/good/a.png", "train/good/b.png"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    good = [sample.path.name for sample in find_samples(tmp_path) if not sample.label]
    assert good == ["b.png"]
