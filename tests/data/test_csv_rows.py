from __future__ import annotations

from pathlib import Path

import pytest

from flawmap.data.csv_rows import read_csv_rows, read_header
from flawmap.errors import DatasetError

ROWS = [["path", "label"], ["a;b, c.png", "Grün"], ['say "no".png', "0"]]


def write(file: Path, content: str | bytes) -> Path:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def text_of(separator: str, line_end: str = "\n") -> str:
    quoted = [[f'"{cell.replace(chr(34), 2 * chr(34))}"' for cell in row] for row in ROWS[1:]]
    return line_end.join(separator.join(row) for row in [ROWS[0], *quoted]) + line_end


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be with a mark"])
def test_what_spreadsheets_write_is_read(tmp_path: Path, separator: str, encoding: str) -> None:
    name, _, mark = encoding.partition(" ")
    content = (("\ufeff" if mark else "") + text_of(separator, "\r\n")).encode(name)
    file = write(tmp_path / "parts.csv", content)
    assert [row.cells for row in read_csv_rows(file)] == ROWS
    assert read_header(file) == ROWS[0]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', ""])
def test_line_ends_and_a_line_that_names_the_separator(
    tmp_path: Path, line_end: str, first: str
) -> None:
    text = f"{first}{line_end}path;label{line_end}{line_end};;{line_end} a.png ; ok;;{line_end}"
    rows = read_csv_rows(write(tmp_path / "parts.csv", text))
    assert [(row.line, row.cells) for row in rows] == [
        (2, ["path", "label"]),
        (5, ["a.png", "ok"]),
    ]
    assert read_header(tmp_path / "parts.csv") == ["path", "label"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('path,label\na.png,0\n"b.png,0\nc.png,0\n', "line 3: a quote is not closed"),
        ('path,label\n"a.png,0\nb.png,0\n"c.png",0\n', "line 2: a quote is not closed"),
        ('path,label\n"a.png" x,0\n', "line 2: a quote is not closed, or text follows"),
        ("path,label\na.png,0\n" + "x" * 140_000 + ",0\n", "line 3: a cell has more than 131,072"),
        ('path,label\n"\n\n' + "x" * 140_000 + '",0\n', "line 2: a cell has more than 131,072"),
        ("path,label\na.png,b.png,0\n", "line 2: 3 cells where the header has 2"),
        ('path,label\n"a\nb.png",0\nc.png\n', "line 4: 1 cells where the header has 2"),
        ("path,label\na\0.png,0\n", "line 2 holds a NUL byte"),
        ("path,label\n".encode("utf-16-le"), "line 1 holds a NUL byte"),
        (
            "path,label\na.png,0\ngrün.png,0\n".encode("cp1252"),
            "line 3 holds the byte 0xfc.*cp1252",
        ),
        (b"\xff\xfepat", "begins as UTF-16 and is none"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(
    tmp_path: Path, content: str | bytes, why: str
) -> None:
    file = write(tmp_path / "parts.csv", content)
    with pytest.raises(DatasetError, match=why):
        read_csv_rows(file)


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    assert read_csv_rows(write(tmp_path / "parts.csv", "\n\n")) == []
    assert read_header(tmp_path / "parts.csv") == [""]
    with pytest.raises(DatasetError, match="cannot be read"):
        read_csv_rows(tmp_path)
    assert read_header(tmp_path) == []
