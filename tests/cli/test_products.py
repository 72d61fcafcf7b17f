from __future__ import annotations

from pathlib import Path

import pytest

from flawmap.cli.common import ExitCode
from flawmap.cli.products import find_inspectors, match_products, run_jobs, run_per_product
from flawmap.errors import DatasetError, OptionError
from helpers import save, texture


def fail() -> int:
    raise DatasetError("the disk is gone")


def test_the_worst_exit_code_counts() -> None:
    jobs = {"a": lambda: ExitCode.ALL_GOOD, "b": lambda: ExitCode.SOME_REJECTED}
    assert run_jobs(jobs, by_product=True) == ExitCode.SOME_REJECTED


def test_a_job_that_fails_stops_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    done: list[str] = []

    def work() -> int:
        done.append("b")
        return ExitCode.ALL_GOOD

    assert run_jobs({"a [1]": fail, "b": work}, by_product=True) == ExitCode.SOME_UNREADABLE
    assert done == ["b"]
    assert "a [1]: the disk is gone" in capsys.readouterr().err


def test_a_line_break_in_a_name_begins_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    run_jobs({"a\nb": fail, "c": lambda: ExitCode.ALL_GOOD}, by_product=True)
    printed = capsys.readouterr()
    assert "a\\nb" in printed.out
    assert "a\\nb: the disk is gone" in printed.err


def test_where_all_jobs_fail_so_does_the_command() -> None:
    with pytest.raises(DatasetError, match="the disk is gone"):
        run_jobs({"a": fail}, by_product=False)


def test_each_product_has_a_file(tmp_path: Path) -> None:
    written: list[tuple[str, Path]] = []

    def job(dataset: Path, file: Path) -> int:
        written.append((dataset.name, file))
        return ExitCode.ALL_GOOD

    for product in ("Black", "White"):
        save(tmp_path / "data" / product / "train/good/0.png", texture(0))
    run_per_product(tmp_path / "data", None, job, file="part.flawmap", folder="parts")
    assert written == [
        ("Black", Path("parts/Black.flawmap")),
        ("White", Path("parts/White.flawmap")),
    ]
    target = Path("one.flawmap")
    with pytest.raises(OptionError, match="holds 2 products, Black, White; give -o a folder"):
        run_per_product(tmp_path / "data", target, job, file="part.flawmap", folder="parts")


def test_a_folder_without_inspectors(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no \.flawmap files in this folder"):
        find_inspectors(tmp_path)


def test_products_without_inspector_are_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    inspectors = {"Black": Path("Black.flawmap")}
    products = {"Black": Path("Black"), "White": Path("White")}
    assert match_products(inspectors, products) == ["Black"]
    message = "skipped: White: no inspector of that name, only Black"
    assert message in capsys.readouterr().err
    with pytest.raises(DatasetError, match="inspectors for Black, images of nothing"):
        match_products(inspectors, {})
