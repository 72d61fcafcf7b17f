from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from flawmap.support.tables import plain_cell, stream_csv, stream_jsonl, write_csv, write_json

ROW: dict[str, Any] = {
    "path": '散热片/a,b "c".png',
    "reject": False,
    "score": 1.5,
    "error": "two\nlines",
}


def read_csv(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.read_text("utf-8-sig"), newline="")))


def test_a_table_for_spreadsheets(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "table.csv"
    write_csv(file, [ROW, ROW | {"reject": None}])
    assert file.read_bytes().startswith(b"\xef\xbb\xbfpath,reject,score,error\r\n")
    first, second = read_csv(file)
    assert first == ROW | {"reject": "0", "score": "1.5"}
    assert second["reject"] == ""
    write_csv(file, [])
    assert read_csv(file) == []


def test_each_row_is_in_the_file_at_once(tmp_path: Path) -> None:
    csv_file, jsonl_file = tmp_path / "table.csv", tmp_path / "table.jsonl"
    with stream_csv(csv_file, list(ROW)) as to_csv, stream_jsonl(jsonl_file) as to_jsonl:
        assert read_csv(csv_file) == []
        for count in (1, 2, 3):
            to_csv(ROW)
            to_jsonl(ROW)
            assert len(read_csv(csv_file)) == count
            lines = jsonl_file.read_text("utf-8").splitlines()
            assert [json.loads(line) for line in lines] == [ROW] * count


def test_rows_before_an_interruption_stay(tmp_path: Path) -> None:
    file = tmp_path / "table.jsonl"

    def write() -> None:
        with stream_jsonl(file) as append:
            append(ROW)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert json.loads(file.read_text("utf-8")) == ROW
    assert list(tmp_path.iterdir()) == [file]


def test_a_second_run_replaces_the_first(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    for score in (1, 2):
        with stream_csv(file, ["score"]) as append:
            append({"score": score})
    assert read_csv(file) == [{"score": "2"}]


def test_whoever_reads_the_old_table_keeps_it(tmp_path: Path) -> None:
    file = tmp_path / "table.jsonl"
    file.write_text("old\n")
    with file.open() as reader, stream_jsonl(file) as append:
        append(ROW)
        assert reader.read() == "old\n"


def test_a_file_name_that_is_no_text_is_one_in_every_table(tmp_path: Path) -> None:
    row = {"path": "caf\udce9.png", "encoded_twice": "\udce6\udc95\udca3", "half": "\ud800"}
    expected = {"path": r"caf\xe9.png", "encoded_twice": "散", "half": r"\ud800"}
    with stream_jsonl(tmp_path / "table.jsonl") as append:
        append(row)
    assert json.loads((tmp_path / "table.jsonl").read_text("utf-8")) == expected
    write_json(tmp_path / "table.json", row)
    assert json.loads((tmp_path / "table.json").read_text("utf-8")) == expected
    write_csv(tmp_path / "table.csv", [row])
    assert read_csv(tmp_path / "table.csv") == [expected]


FORMULAS = ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "'=1", "''@1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_of_text_is_a_formula_and_all_are_read_back(text: str, tmp_path: Path) -> None:
    write_csv(tmp_path / "table.csv", [{"path": text}])
    (row,) = read_csv(tmp_path / "table.csv")
    assert row["path"] == "'" + text
    assert plain_cell(row["path"]) == text


@pytest.mark.parametrize("text", ["", "a=1", "'a'", "'", "a'=1", '"=1"', " =1", "散;=1"])
def test_all_other_cells_are_as_they_were(text: str, tmp_path: Path) -> None:
    write_csv(tmp_path / "table.csv", [{"path": text, "score": -1.5, "rows": -1}])
    (row,) = read_csv(tmp_path / "table.csv")
    assert row == {"path": text, "score": "-1.5", "rows": "-1"}
    assert plain_cell(text) == text


def test_a_semicolon_does_not_begin_a_cell_where_excel_takes_it_for_a_comma(
    tmp_path: Path,
) -> None:
    write_csv(tmp_path / "table.csv", [{"path": "a;=1.png", "score": 1}])
    assert (tmp_path / "table.csv").read_text("utf-8-sig").splitlines()[1] == '"a;=1.png",1'
