from __future__ import annotations

from pathlib import Path

import pytest

from flawmap import load
from flawmap.cli.common import ExitCode
from flawmap.errors import DatasetError, OptionError
from helpers import SMALL, run, run_json, save, texture

SETTINGS = ["--method", "patchcore", *SMALL]

QUICK = [*SETTINGS, "--set", "image_score=Maximum", "--tune", "0.001"]
"""No time for more than the settings that were typed, at 64 px."""


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("products") / "tile"
    for seed in range(64):
        save(folder / f"{seed:02}.png", texture(seed, 40, 48))
    return folder


@pytest.fixture(scope="module")
def tuned(product: Path) -> tuple[Path, str]:
    file = product.parent / "tile.flawmap"
    code, output = run("fit", product, "-o", file, *SETTINGS, "--tune", "0.001")
    assert code == ExitCode.ALL_GOOD, output
    return file, output


def test_fit_prints_what_it_tried_and_why_it_chose(tuned: tuple[Path, str]) -> None:
    output = " ".join(tuned[1].split())
    assert "settings AUROC behind dot scratch stain texture ms" in output
    for label in ("as set", "top 0.5%", "top 1%", "top 2%"):
        assert f"{label} " in output
    assert "fitted to 44 good images, scored 20 others" in output
    assert "No time for: by place; stride 8" in output, "the size was typed and stays"
    assert "Chosen at 64 × 64 pixels: " in output
    assert "Fitted to 64 good images" in output, "in the end to all"


def test_the_file_keeps_it_and_info_shows_it(tuned: tuple[Path, str]) -> None:
    file, printed = tuned
    code, output = run("info", file)
    assert code == ExitCode.ALL_GOOD
    table = [line for line in printed.splitlines() if line.startswith("top ")]
    assert len(table) == 3
    for line in table:
        assert line in output
    facts = run_json("info", file)[1]["tuning"]
    assert facts["trials"][0]["label"] == "as set"
    assert facts["minutes"] == 0.001
    chosen = facts["trials"][facts["chosen"]]
    score = load(file).method_options["image_score"]
    assert (score["type"] == "TopShare") == ("image_score=TopShare" in chosen["options"])


def test_what_was_typed_stays(product: Path, tmp_path: Path) -> None:
    file = tmp_path / "part.flawmap"
    code, output = run("fit", product, "-o", file, *QUICK)
    assert code == ExitCode.ALL_GOOD
    assert "top 1%" not in output
    assert load(file).method_options["image_score"] == {"type": "Maximum"}


def test_each_product_is_tuned(product: Path, tmp_path: Path) -> None:
    for number in range(10):
        save(product.parent / "small" / f"{number}.png", texture(number))
    code, output = run("fit", product.parent, "-o", tmp_path, *QUICK)
    assert code == ExitCode.SOME_UNREADABLE
    assert output.count("Chosen at 64 × 64 pixels") == 1
    assert "small: tuning takes 64 good images or more" in " ".join(output.split())


def test_a_fit_that_was_not_tuned_says_so(part: Path) -> None:
    assert run_json("info", part)[1]["tuning"] is None
    assert "tuning        none" in run("info", part)[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tune", "0"], "0 minutes to tune in; give more than 0"),
        (["--tune", "-5"], "-5 minutes to tune in"),
        (["--tune", "5", "--method", "glass"], "GLASS is trained"),
        (["--tune", "5", "--finetune", "synthetic"], "--tune beside --finetune"),
    ],
)
def test_what_cannot_be_tuned_is_refused_before_anything_is_read(
    arguments: list[str], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        run("fit", "no such folder", *arguments)


def test_ten_good_images_are_too_few(good_folder: Path) -> None:
    for file in sorted(good_folder.iterdir())[10:]:
        file.unlink()
    with pytest.raises(DatasetError, match=r"64 good images or more, .*; there are 10"):
        run("fit", good_folder, "--tune", "5", *SMALL)
