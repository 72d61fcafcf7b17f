from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from flawmap.cli.images_to_inspect import images_to_inspect, unique_names
from flawmap.errors import DatasetError, ImageError
from flawmap.runtime.images.decode import decode
from helpers import run, save, texture


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_images_are_in_the_order_of_their_paths(tmp_path: Path) -> None:
    names = ["a/b.png", "a b.png", "a.png", "b/a.png", "b/a/c.png", "B.png"]
    touch(*(tmp_path / name for name in names))
    found = images_to_inspect([tmp_path]).images
    assert [image.path for image in found] == sorted(tmp_path / name for name in names)
    assert found[1].overlay == "overlays/a/b.png.png"


def test_no_images_says_what_counts_and_what_there_is(tmp_path: Path) -> None:
    touch(tmp_path / "a.heic", tmp_path / "b.heic")
    with pytest.raises(DatasetError, match=r"files with .*\.png, .* count \(2 files.*\.heic \(2\)"):
        images_to_inspect([tmp_path])


@pytest.mark.skipif(sys.platform == "win32", reason="needs pipes")
def test_a_pipe_among_images_is_named_and_exits_with_2(part: Path, tmp_path: Path) -> None:
    save(tmp_path / "new" / "a.png", texture(1))
    touch(tmp_path / "new" / "notes.txt")
    os.mkfifo(tmp_path / "new" / "pipe.png")
    code, output = run("inspect", part, tmp_path / "new", "-o", tmp_path / "out")
    assert code == 2
    assert "pipe.png: no regular file" in output
    assert "1 file is no image and is passed over: .txt (1)" in output
    assert "1 good, 0 rejected, 1 unreadable" in output


def test_a_folder_that_may_not_be_read_has_a_row(closed_folder: Path) -> None:
    images = images_to_inspect([closed_folder.parent]).images
    assert [image.path.name for image in images] == ["cam2", "own.png"]
    with pytest.raises(ImageError, match="cam2: cannot be read"):
        decode(images[0].path)


def test_names_stay_unique_and_depend_on_earlier_ones_only() -> None:
    names = ["a.png", "a.png (2)", "A.png", "b.png", "a.png", "a.png"]
    unique = list(unique_names(names))
    assert unique == ["a.png", "a.png (2)", "A.png (3)", "b.png", "a.png (4)", "a.png (5)"]
    for count in range(len(names)):
        assert list(unique_names(names[:count])) == unique[:count]


def test_a_hundred_thousand_names_are_compared_a_few_times_each() -> None:
    class Name(str):
        """Counts how often it is looked at."""

        __slots__ = ()
        looked_at = 0

        def casefold(self) -> str:
            Name.looked_at += 1
            return super().casefold()

    same, different = [Name("a.png")] * 50_000, [Name(f"{n}.png") for n in range(50_000)]
    names = list(unique_names(same + different))
    assert len(set(names)) == 100_000
    assert names[49_999] == "a.png (50000)"
    assert Name.looked_at <= 3 * 100_000
