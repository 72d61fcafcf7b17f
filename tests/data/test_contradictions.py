from __future__ import annotations

from pathlib import Path

import numpy as np

from flawmap.data.layouts import find_dataset, find_samples, good_training_samples
from helpers import save, texture


def test_what_is_called_good_and_marked_by_a_mask_is_not_learned(tmp_path: Path) -> None:
    for name in ("good/0.png", "good/1.png", "good/2.png"):
        save(tmp_path / name, texture(0))
    empty = np.zeros((64, 64), np.uint8)
    marked = empty.copy()
    marked[9, 9] = 1
    save(tmp_path / "good/0_mask.png", marked)
    save(tmp_path / "good/1_mask.png", empty)
    assert [sample.path.name for sample in good_training_samples(tmp_path)] == ["1.png", "2.png"]
    (note,) = find_dataset(tmp_path).notes
    assert note.startswith("1 image is called good, but a mask marks a defect, and so left out")


def test_rows_that_call_an_image_good_and_name_a_mask_are_not_learned(tmp_path: Path) -> None:
    save(tmp_path / "marked.png", np.full((40, 40), 255, np.uint8))
    file = tmp_path / "parts.csv"
    file.write_text("path,label,split,mask\na.png,ok,train,marked.png\nb.png,ok,train,\n")
    assert [sample.path.name for sample in find_samples(file)] == ["b.png"]
    assert "1 image is called good, but a mask marks a defect" in find_dataset(file).notes[0]
