from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path

import pytest

from flawmap.data.listing import Folder, passed_over, unusable

needs_unix = pytest.mark.skipif(sys.platform == "win32", reason="needs pipes, links or modes")


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def listed(root: Path) -> list[str]:
    return [
        "/".join((*folder.parts, name)) for folder in Folder(root).walk() for name in folder.images
    ]


@pytest.mark.parametrize(
    "hidden",
    [
        *(".Trash-1000/files", ".thumbs", "__MACOSX", "@eaDir", "$RECYCLE.BIN", "lost+found"),
        *("#recycle", "System Volume Information", "found.000", "a/@eaDir/SYNO"),
    ],
)
def test_what_systems_put_into_folders_is_no_part_of_them(tmp_path: Path, hidden: str) -> None:
    touch(tmp_path / "a.png", tmp_path / hidden / "b.png", tmp_path / "._a.png")
    assert listed(tmp_path) == ["a.png"]
    assert listed(tmp_path / hidden) == ["b.png"]


def test_what_flawmap_wrote_is_no_image(tmp_path: Path) -> None:
    touch(tmp_path / "a.png", tmp_path / "old" / "overlays" / "a.png.png")
    touch(tmp_path / "p.training" / "curves.png", tmp_path / "p.training" / "history.json")
    touch(tmp_path / "p.training" / "checkpoint.safetensors", tmp_path / "old" / "results.jsonl")
    touch(tmp_path / "overlays" / "b.png", tmp_path / "curves.png")
    assert listed(tmp_path) == ["a.png", "curves.png", "overlays/b.png"]
    assert not passed_over(Folder(tmp_path).walk())


@needs_unix
def test_links_to_folders_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    touch(tmp_path / "far" / "cam" / "a.png", tmp_path / "here" / "day 2" / "b.png")
    here = tmp_path / "here"
    (here / "cam").symlink_to("../far/cam")
    (here / "cam again").symlink_to(tmp_path / "far" / "cam")
    (here / "a link to day 2").symlink_to("day 2")
    (here / "loop").symlink_to(".")
    (here / "day 2" / "up").symlink_to("../..")
    assert sorted(Path(name).name for name in listed(here)) == ["a.png", "b.png"]
    assert "day 2/b.png" in listed(here)


@needs_unix
def test_pipes_sockets_and_dead_links_are_named_and_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "unmounted").symlink_to("nowhere")
    (tmp_path / "itself").symlink_to("itself")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)  # a socket's path has at most 108 bytes
        server.bind("socket.png")
    assert listed(tmp_path) == ["a.png", "gone.png"]
    lines = unusable(Folder(tmp_path).walk())
    assert [Path(line.partition(": ")[0]).name for line in lines] == [
        *("itself", "pipe.png", "socket.png", "unmounted")
    ]
    assert "no regular file" in lines[1]
    assert "a link to nothing" in lines[3]


def test_a_folder_that_may_not_be_read_is_named(closed_folder: Path) -> None:
    (line,) = unusable(Folder(closed_folder.parent).walk())
    assert line.startswith(f"{closed_folder}: the folder cannot be read (Permission denied")


def test_files_that_are_no_images_are_counted(tmp_path: Path) -> None:
    touch(
        *(tmp_path / name for name in ("a.png", "b.heic", "c.HEIC", "x/d.heic", "notes", "e.txt"))
    )
    assert passed_over(Folder(tmp_path).walk()) == [
        "5 files are no images and are passed over: .heic (3), no suffix (1), .txt (1)"
    ]


def test_listing_a_hundred_thousand_images_takes_seconds(tmp_path: Path) -> None:
    touch(tmp_path / "0.png")
    for number in range(1, 20_000):
        os.link(tmp_path / "0.png", tmp_path / f"{number}.png")
    start = time.process_time()
    assert len(listed(tmp_path)) == 20_000
    assert time.process_time() - start < 1
