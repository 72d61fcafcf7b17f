from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers import needs_fit, save, texture

unix_only = pytest.mark.skipif(sys.platform == "win32", reason="needs a shell and devices of Unix")


def shell(script: str, *arguments: Any, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of bash in which `flawmap` is the command and $1, $2, … are the arguments."""
    function = f'flawmap() {{ "{sys.executable}" -m flawmap "$@"; }}; set -o pipefail; '
    return subprocess.run(
        ["bash", "-c", function + script, "bash", *map(str, arguments)],
        capture_output=True,
        check=False,
        env=os.environ | environment,
    )


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def odd_names(tmp_path: Path) -> Path:
    for name in ("2_散.png", "a [red] – b.png", "é.png"):
        save(tmp_path / "new" / name, texture(1))
    return tmp_path / "new"


@unix_only
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_any_encoding_gives_the_same_files_and_exit_code(
    encoding: str, part: Path, odd_names: Path, tmp_path: Path
) -> None:
    done = shell(
        'flawmap inspect "$1" "$2" -o "$3"',
        *(part, odd_names, tmp_path / "out"),
        PYTHONIOENCODING=encoding,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode(encoding).splitlines()
    assert "2_\\u6563.png" in lines[0]
    assert "3 good, 0 rejected, 0 unreadable -> " in lines[3]
    expected = "é.png" if encoding == "cp1252" else "\\xe9.png"
    assert lines[2].endswith(expected)
    names = [Path(row["image"]).name for row in table(tmp_path / "out")]
    assert names == ["2_散.png", "a [red] – b.png", "é.png"]
    assert (tmp_path / "out" / "overlays" / "2_散.png.png").is_file()


@unix_only
def test_the_c_locale_gives_the_same_files(part: Path, odd_names: Path, tmp_path: Path) -> None:
    """Names of files are bytes to Python then, and are read as the UTF-8 that they are."""
    done = shell(
        'flawmap inspect "$1" "$2" -o "$3" --report',
        *(part, odd_names, tmp_path / "out"),
        PYTHONUTF8="0",
        PYTHONCOERCECLOCALE="0",
        LC_ALL="C",
    )
    assert (done.returncode, done.stderr) == (0, b"")
    names = [Path(row["image"]).name for row in table(tmp_path / "out")]
    assert names == ["2_散.png", "a [red] – b.png", "é.png"]
    assert "2_散.png" in (tmp_path / "out" / "report.html").read_text("utf-8")
    for row in table(tmp_path / "out"):
        assert (tmp_path / "out" / row["overlay"]).is_file()


@unix_only
def test_a_name_that_is_no_text(part: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    image = save(tmp_path / "new" / "z.png", texture(1)).read_bytes()
    try:
        Path(os.fsdecode(bytes(tmp_path / "new") + b"/gr\xfcn.png")).write_bytes(image)
    except OSError:
        pytest.skip("this disk takes UTF-8 alone")
    done = shell('flawmap inspect "$1" "$2" -o "$3" --report', part, tmp_path / "new", tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"gr\xfcn.png" in done.stdout
    rows = table(tmp_path)
    lines = [
        json.loads(line)
        for line in (tmp_path / "results.jsonl").read_text("utf-8").split("\n")[:-1]
    ]
    assert [Path(row["image"]).name for row in rows] == [r"gr\xfcn.png", "z.png"]
    assert [line["image"] for line in lines] == [row["image"] for row in rows]
    assert (tmp_path / rows[0]["overlay"]).is_file()
    assert r"gr\xfcn.png" in (tmp_path / "report.html").read_text("utf-8")


@unix_only
def test_a_closed_pipe_ends_the_lines_and_not_the_work(part: Path, tmp_path: Path) -> None:
    for number in range(60):
        save(tmp_path / "new" / f"{number:02}.png", texture(1))
    done = shell('flawmap inspect "$1" "$2" -o "$3" | head -2', part, tmp_path / "new", tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(done.stdout.splitlines()) == 2
    assert len(table(tmp_path)) == 60


@unix_only
@pytest.mark.parametrize(
    "arguments", ["--version", "fit --help", pytest.param("methods", marks=needs_fit)]
)
def test_a_reader_who_left_is_no_failure(arguments: str) -> None:
    done = shell(f"flawmap {arguments} | true")
    assert (done.returncode, done.stderr) == (0, b"")


@unix_only
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is full")
def test_a_full_output_is_one_line_and_the_work_goes_on(part: Path, tmp_path: Path) -> None:
    save(tmp_path / "new" / "a.png", texture(1))
    done = shell('flawmap inspect "$1" "$2" -o "$3" > /dev/full', part, tmp_path / "new", tmp_path)
    assert done.returncode == 0
    assert done.stderr == (
        b"flawmap: what to print could not be written (No space left on device); the work goes on\n"
    )
    assert len(table(tmp_path)) == 1


@unix_only
def test_without_any_stream_no_line_goes_into_a_table(part: Path, tmp_path: Path) -> None:
    save(tmp_path / "new" / "a.png", texture(1))
    done = shell('flawmap inspect "$1" "$2" -o "$3" <&- >&- 2>&-', part, tmp_path / "new", tmp_path)
    assert done.returncode == 0
    assert [row["verdict"] for row in table(tmp_path)] == ["good"]


@unix_only
def test_a_folder_that_was_deleted_is_one_line() -> None:
    done = shell("cd $(mktemp -d); rmdir $PWD; flawmap info x.flawmap")
    assert done.returncode == 3
    assert done.stderr.startswith(b"flawmap: the folder that this was started in is not there")
    assert len(done.stderr.splitlines()) == 1


@unix_only
def test_too_little_memory_is_one_line(part: Path, tmp_path: Path) -> None:
    save(tmp_path / "new" / "a.png", texture(1))
    done = shell(
        'ulimit -v 600000; flawmap inspect "$1" "$2" -o "$3"', part, tmp_path / "new", tmp_path
    )
    assert done.returncode == 3
    assert done.stderr.startswith(b"flawmap: there is not enough memory")
    assert len(done.stderr.splitlines()) == 1
