from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flawmap.errors import DatasetError, OptionError, WeightsUnavailable
from helpers import SMALL, run, save, texture, with_defect

TINY = ["--backbone", "test_resnet", "--weights", "random"]
TRANSFORMER = ["--backbone", "test_vit", "--weights", "random", "--method", "patchcore"]


def test_fit_prints_what_was_fitted_and_what_the_budget_needs(
    good_folder: Path, tmp_path: Path
) -> None:
    code, output = run(
        "fit", good_folder, "-o", tmp_path / "p.flawmap", "--false-rejects", "0.01", *SMALL
    )
    assert code == 0
    assert "Fitted to 12 good images" in output
    assert "takes 99 good images, 87 more than there are" in output.replace("\n", " ")


def test_a_bad_image_among_the_good_ones_is_left_out_and_said(
    good_folder: Path, tmp_path: Path
) -> None:
    (good_folder / "99.jpg").write_bytes(b"\xff\xd8cut")
    code, output = run("fit", good_folder, "-o", tmp_path / "p.flawmap", *SMALL)
    assert code == 2
    assert "skipped:" in output
    assert "99.jpg" in output
    assert (tmp_path / "p.flawmap").exists()


def test_fit_says_what_it_takes_for_good_and_what_it_skips(
    good_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "set").mkdir()
    good_folder.rename(tmp_path / "set" / "OK")
    save(tmp_path / "set" / "NG" / "0.png", texture(0))
    save(tmp_path / "set" / "dent" / "0.png", texture(0))
    save(tmp_path / "set" / "overview.png", texture(0))
    code, output = run("fit", tmp_path / "set", "-o", tmp_path / "p.flawmap", *TINY, *SMALL)
    assert code == 0
    assert "Good images: OK (12)" in output
    assert "note: 1 image is not used: set (1)" in output
    assert "note: folders taken for types of defects: dent (1)" in output
    assert "Fitted to 12 good images" in output


def test_where_no_image_can_be_used_the_first_are_named(tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    for number in range(5):
        (tmp_path / "good" / f"{number}.png").write_bytes(b"<html>" * (number > 0))
    for size in ("64", "auto"):
        with pytest.raises(DatasetError, match=r"0.png: the file is empty; .*1.png: .*2 more"):
            run("fit", tmp_path / "good", *TINY, "--size", size)


def test_any_option_of_a_method_can_be_set(good_folder: Path, tmp_path: Path) -> None:
    from flawmap import Inspector

    changes = [
        "context.ratio=0.25",
        "reducer=PCA",
        "reducer.ratio=0.2",
        "image_score=Reweighted",
        "sigma=2",
    ]
    settings = [word for change in changes for word in ("--set", change)]
    file = tmp_path / "p.flawmap"
    code, _ = run(
        "fit", good_folder, "-o", file, "--method", "improved-patchcore", *SMALL, *settings
    )
    assert code == 0
    options = Inspector.load(file).method.options()
    assert options["context"]["ratio"] == 0.25
    assert options["reducer"]["type"] == "PCA"
    assert options["reducer"]["ratio"] == 0.2
    assert options["image_score"]["type"] == "Reweighted"
    assert options["sigma"] == 2


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--method", "patchwork"], "there is no method 'patchwork'"),
        (["--size", "big"], "'big' is neither a number of pixels nor HEIGHTxWIDTH"),
        (["--set", "colour=red"], "write NAME=VALUE with a name among"),
        (["--set", "coreset=much"], "expected float @ options.coreset"),
        (["--set", "context=Sideways"], "Sideways"),
        (["--coreset", "3"], "is no fraction"),
        (["--false-rejects", "2"], "not between 0 and 1"),
        (["--backbone", "resnet19"], "timm has no backbone 'resnet19'"),
        (["--layers", "2;3"], "--layers 2;3; use numbers with commas between"),
        (["--layers", "2,9", *TINY], "has no layer 9; its layers are 1, 2, 3, 4"),
        (["--layers", "3,99", *TRANSFORMER], "has no block 99; its blocks are 0, 1, 2, 3, 4, 5"),
        (TRANSFORMER, "is a transformer of 6 blocks, 0 to 5.*as --layers 4,5"),
        (["--layers", "2,4", "--stride", "8", *TRANSFORMER], "--stride 16 and .*--layers 4,5;"),
        (["--stride", "12"], "stride=12; use a power of two"),
        (["--stride", "4", *TINY], "it has 8, 16"),
    ],
)
def test_options_that_cannot_be(good_folder: Path, arguments: list[str], why: str) -> None:
    with pytest.raises(OptionError, match=why):
        run("fit", good_folder, *arguments)


def test_weights_that_are_not_there(good_folder: Path) -> None:
    with pytest.raises(WeightsUnavailable):
        run("fit", good_folder, "--weights", "nowhere.safetensors")


def test_products_get_a_file_each_and_one_bad_product_stops_no_other(tmp_path: Path) -> None:
    for product, count in (("Black", 8), ("White", 8), ("Grey", 1)):
        for seed in range(count):
            save(tmp_path / "products" / product / "train/good" / f"{seed}.png", texture(seed))
    code, output = run("fit", tmp_path / "products", "-o", tmp_path / "parts", *SMALL)
    assert code == 2
    assert "1 good image" in output
    assert sorted(file.name for file in (tmp_path / "parts").iterdir()) == [
        "Black.flawmap",
        "White.flawmap",
    ]


def test_products_need_a_folder_to_write_to(tmp_path: Path) -> None:
    for product in ("Black", "White"):
        save(tmp_path / product / "train/good" / "0.png", texture(0))
    with pytest.raises(OptionError, match="2 products, Black, White; give -o a folder"):
        run("fit", tmp_path, "-o", tmp_path / "part.flawmap", *SMALL)


def test_when_every_product_fails_so_does_the_command(tmp_path: Path) -> None:
    for product in ("Black", "White"):
        save(tmp_path / product / "train/good" / "0.png", texture(0))
    with pytest.raises(DatasetError, match="1 good image"):
        run("fit", tmp_path, "-o", tmp_path / "parts", *SMALL)


def test_calibration_can_be_split_and_sure(good_folder: Path, tmp_path: Path) -> None:
    part, budget = tmp_path / "p.flawmap", ["--false-rejects", "0.3", "--confidence", "0.8"]
    code, output = run(
        "fit", good_folder, "-o", part, "--calibration-fraction", "0.5", *budget, *SMALL
    )
    assert code == 0
    assert "Calibrated on 6 good images that it was not fitted to" in output
    assert "with 80% confidence" in output


@pytest.mark.parametrize(
    ("method", "note"), [("padim", "12 images for 100 ch"), ("spade", "fewer than the 50")]
)
def test_a_method_says_what_few_images_mean(
    good_folder: Path, tmp_path: Path, method: str, note: str
) -> None:
    code, output = run(
        "fit", good_folder, "-o", tmp_path / "p.flawmap", "--size", "64", "--method", method
    )
    assert code == 0
    assert note in output


def test_an_option_that_the_method_lacks(good_folder: Path) -> None:
    with pytest.raises(OptionError, match="padim has no option coreset; it has backbone, channels"):
        run("fit", good_folder, "--method", "padim", "--coreset", "0.1")


def test_an_image_too_small_for_the_layers(good_folder: Path) -> None:
    with pytest.raises(OptionError, match="has no layer 5"):
        run("fit", good_folder, "--method", "padim", "--set", "layers=[1, 5]")


FINETUNED = ["--finetune", "synthetic", "--set", "finetune.epochs=1"]
FINETUNED += ["--set", "finetune.image_size=64", *TINY]


def test_a_backbone_is_fine_tuned_before_the_fit(good_folder: Path, tmp_path: Path) -> None:
    from flawmap import Inspector
    from flawmap.finetune.config import PAPER_CONFIG

    file = tmp_path / "p.flawmap"
    code, output = run(
        "fit", good_folder, "-o", file, *FINETUNED, "--finetune-preset", "paper", *SMALL
    )
    assert code == 0
    assert "validation accuracy" in output
    inspector = Inspector.load(file)
    assert inspector.finetune_record is not None
    assert inspector.finetune_record.config == replace(PAPER_CONFIG, epochs=1, image_size=64)
    assert "more good parts than guaranteed may be rejected" in output.replace("\n", " ")
    left = {
        path.name for path in (tmp_path / "p.finetune").iterdir() if "tfevents" not in path.name
    }
    assert left == {"checkpoint.safetensors", "history.json", "curves.png"}


def test_blocks_of_a_transformer_at_whole_patches(good_folder: Path, tmp_path: Path) -> None:
    from flawmap import Inspector

    file = tmp_path / "p.flawmap"
    code, output = run(
        "fit", good_folder, "-o", file, *TRANSFORMER, "--layers", "2,4", "--size", "70x100"
    )
    assert code == 0
    assert "Size 64 × 96 pixels" in output
    assert "from 70 × 100, rounded to whole patches of test_vit" in " ".join(output.split())
    assert Inspector.load(file).method.layers == (2, 4)


def test_a_stride_is_an_option_of_any_fit(good_folder: Path, tmp_path: Path) -> None:
    from flawmap import Inspector

    file = tmp_path / "p.flawmap"
    assert run("fit", good_folder, "-o", file, *TINY, *SMALL, "--stride", "8")[0] == 0
    method = Inspector.load(file).method
    assert (method.stride, method.feature_extractor.stride) == (8, 8)


def test_one_network_is_fine_tuned_to_classify_all_products(tmp_path: Path) -> None:
    from flawmap import Inspector

    for product, first in (("Black", 0), ("White", 50)):
        for seed in range(6):
            save(
                tmp_path / "products" / product / "train/good" / f"{seed}.png",
                texture(first + seed),
            )
    arguments = [*FINETUNED, "--finetune", "products"]
    code, output = run("fit", tmp_path / "products", "-o", tmp_path / "parts", *arguments, *SMALL)
    assert code == 0
    assert "resumes after epoch 1 of 1" in output
    both = [
        Inspector.load(tmp_path / "parts" / f"{product}.flawmap") for product in ("Black", "White")
    ]
    assert both[0].finetune_record == both[1].finetune_record
    assert both[0].finetune_record is not None
    assert both[0].finetune_record.classes == {"Black": 6, "White": 6}
    assert (
        both[0].method.feature_extractor.fingerprint()
        == both[1].method.feature_extractor.fingerprint()
    )


def test_defects_that_were_trained_on_are_skipped_by_evaluate(
    good_folder: Path, tmp_path: Path
) -> None:
    good_folder.rename(tmp_path / "good_")
    (tmp_path / "set" / "train").mkdir(parents=True)
    (tmp_path / "good_").rename(tmp_path / "set" / "train" / "good")
    for seed in range(10):
        save(
            tmp_path / "set" / "test" / "spot" / f"{seed}.png",
            with_defect(texture(60 + seed), 30, 30),
        )
        save(tmp_path / "set" / "test" / "good" / f"{seed}.png", texture(80 + seed))
    file = tmp_path / "p.flawmap"
    arguments = ["-o", file, *FINETUNED, "--finetune", "real-defects", *SMALL]
    assert run("fit", tmp_path / "set", *arguments)[0] == 0
    code, output = run("evaluate", file, tmp_path / "set", "-o", tmp_path / "results")
    assert code == 0
    assert "skipped: 2 images that the backbone was fine-tuned with" in output
    assert len((tmp_path / "results" / "scores.csv").read_text().splitlines()) == 1 + 18


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--set", "finetune.epochs=2"], "without --finetune"),
        (["--finetune-preset", "paper"], "--finetune-preset paper without --finetune"),
        (
            ["--finetune", "synthetic", "--set", "finetune.colour=2"],
            "NAME=VALUE with a name among mode, epochs",
        ),
        (["--finetune", "synthetic", "--set", "finetune.epochs=0"], "cannot be trained with"),
        (["--finetune", "products"], "one data set, not a folder of them"),
        (["--finetune", "real-defects"], "no defective images to hold out"),
    ],
)
def test_fine_tunings_that_cannot_be(good_folder: Path, arguments: list[str], why: str) -> None:
    with pytest.raises((OptionError, DatasetError), match=why):
        run("fit", good_folder, *arguments)


def test_a_method_is_trained_as_its_preset_says_and_goes_on(
    good_folder: Path, tmp_path: Path
) -> None:
    from flawmap import Inspector

    file = tmp_path / "p.flawmap"
    arguments = ["--method", "crad", "--preset", "smoke", "--size", "64", *TINY]
    code, output = run("fit", good_folder, "-o", file, *arguments)
    assert code == 0
    assert "Training with 9 images in each of 2 epochs takes about" in output
    assert "Calibrated on 3 good images that it was not fitted to" in output
    left = {
        path.name for path in (tmp_path / "p.training").iterdir() if "tfevents" not in path.name
    }
    assert left == {"checkpoint.safetensors", "history.json", "curves.png"}
    assert Inspector.load(file).method.options()["blocks"] == 1
    code, output = run("fit", good_folder, "-o", file, *arguments, "--set", "epochs=3")
    assert code == 0
    assert "The training resumes after epoch 2 of 3" in output


def test_a_trained_method_on_a_finetuned_backbone_has_its_own_checkpoints(
    good_folder: Path, tmp_path: Path
) -> None:
    arguments = ["--method", "crad", "--preset", "smoke", "--size", "64", *FINETUNED]
    code, output = run("fit", good_folder, "-o", tmp_path / "p.flawmap", *arguments)
    assert code == 0
    assert "validation accuracy" in output
    assert (tmp_path / "p.finetune" / "checkpoint.safetensors").exists()
    assert (tmp_path / "p.finetune" / "method" / "checkpoint.safetensors").exists()


def test_a_preset_that_the_method_lacks(good_folder: Path) -> None:
    with pytest.raises(OptionError, match="flawmap has no preset 'cpu'"):
        run("fit", good_folder, "--preset", "cpu")
    with pytest.raises(OptionError, match="glass has no preset 'huge'; it has cpu, paper, smoke"):
        run("fit", good_folder, "--method", "glass", "--preset", "huge")


@pytest.mark.parametrize("size", [["--size", "auto", "--pixels", "64"], ["--pixels", "64"]])
def test_the_good_images_choose_the_size(
    good_folder: Path, tmp_path: Path, size: list[str]
) -> None:
    file = tmp_path / "p.flawmap"
    code, output = run("fit", good_folder, "-o", file, *size, "--coreset", "0.1")
    assert code == 0
    assert "Size 64 × 64 pixels (height × width), from the median aspect 1 of 12" in output
    assert "64 × 64" in run("info", file)[1]


def test_what_is_letterboxed_is_said_in_the_file(good_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "p.flawmap"
    run("fit", good_folder, "-o", file, *SMALL, "--set", "letterbox=true")
    assert "letterboxed where the aspect is more than 10% off" in " ".join(
        run("info", file)[1].split()
    )


@pytest.mark.parametrize(
    ("size", "why"),
    [
        (["--pixels", "10"], "10 pixels a side are too few for a network; use 32 or more"),
        (["--pixels", "320", "--size", "224"], "--pixels 320 beside --size 224: the area follows"),
        (["--size", "24"], "size 24×24 is too small for a network"),
        (["--size", "auto", "--pixels", "0"], "0 pixels a side are too few"),
    ],
)
def test_a_size_that_cannot_be(good_folder: Path, size: list[str], why: str) -> None:
    with pytest.raises(OptionError, match=why):
        run("fit", good_folder, *size)


def test_within_a_memory_limit_the_vectors_lie_on_the_disk_meanwhile(
    good_folder: Path, tmp_path: Path
) -> None:
    arguments = ["fit", good_folder, *SMALL]
    code, output = run(*arguments, "-o", tmp_path / "p.flawmap", "--memory", "9GB")
    assert code == 0
    assert "scratch" not in output
    half = ["--set", "vector_precision=f16"]
    assert run(*arguments, "-o", tmp_path / "half.flawmap", *half)[0] == 0
    files = [path for path in tmp_path.iterdir() if path.is_file()]
    assert sorted(path.name for path in files) == ["half.flawmap", "p.flawmap"]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert not (tmp_path / "p.scratch").exists()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--memory", "10MB"], "this fit takes .* GB at least, with its vectors on the disk"),
        (["--memory", "much"], "memory 'much' is no amount; write a number and a unit, as 1GB"),
        (["--memory", "1GB", "--method", "padim"], "PaDiM keeps nothing that could be moved"),
        (["--memory", "1GB", "--tune", "1"], "--tune beside --memory 1GB"),
    ],
)
def test_memory_limits_that_cannot_be(
    good_folder: Path, tmp_path: Path, arguments: list[str], why: str
) -> None:
    with pytest.raises(OptionError, match=why):
        run("fit", good_folder, "-o", tmp_path / "p.flawmap", *TINY, "--size", "64", *arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["good"]


def test_white_of_12_bits_is_stored_and_used(tmp_path: Path) -> None:
    options = ["--method", "patchcore", "--size", "64", *TINY]
    for seed in range(4):
        deep = texture(seed).astype(np.uint16) * 16 + 7
        save(tmp_path / "good" / f"{seed}.png", deep)
    part = tmp_path / "part.flawmap"
    code, output = run("fit", tmp_path / "good", "-o", part, *options)
    assert code == 0
    assert "0.png: brightest value" in output
    assert output.count("12 bits in 16? Then fit with --white 4095") == 1
    code, output = run("inspect", part, tmp_path / "good", "-o", tmp_path / "dark")
    assert output.count("12 bits in 16?") == 1
    code, output = run("fit", tmp_path / "good", "-o", part, "--white", "4095", *options)
    assert code == 0
    assert "bits in 16" not in output
    same = save(tmp_path / "new" / "same.png", texture(0))
    bright = save(tmp_path / "new" / "too bright.png", texture(0).astype(np.uint16) * 257)
    code, output = run("inspect", part, tmp_path / "good" / "0.png", same, bright, "-o", tmp_path)
    assert code == 2
    assert re.search(r"too bright\.png: holds the value \d+, and white is 4095", output)
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert abs(rows[0]["score"] - rows[1]["score"]) < 0.05 * rows[0]["score"] + 1e-3
    with pytest.raises(OptionError, match="white is 0; use a level of 16 bits"):
        run("fit", tmp_path / "good", "--white", "0", *options)
