from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest

from flawmap import AutoSize, Inspector, load
from flawmap.data.auto_size import ChosenSize
from flawmap.errors import BundleError, DatasetError, ImageError, NotFitted, OptionError, WriteError
from flawmap.finetune.config import FineTuneConfig
from flawmap.methods.padim import PaDiM
from helpers import TINY, full_disk, needs_file_size_limit, save, texture, with_defect

NEW = texture(90, 80, 120)


@pytest.fixture(scope="module")
def inspector() -> Inspector:
    return Inspector(size=64, false_rejects=0.1, **TINY).fit([texture(seed) for seed in range(15)])


@pytest.fixture
def saved(inspector: Inspector, tmp_path: Path) -> Path:
    inspector.save(tmp_path / "part.flawmap")
    return tmp_path / "part.flawmap"


def test_a_verdict_has_the_images_own_size(inspector: Inspector) -> None:
    verdict = inspector.inspect(NEW)
    assert verdict.heatmap.shape == (80, 120)
    assert verdict.heatmap.dtype == np.float32
    good_scores = inspector.calibration.scores
    at_least = int((good_scores >= verdict.score).sum())
    assert verdict.p_value == pytest.approx((1 + at_least) / (1 + len(good_scores)))
    assert verdict.reject == (verdict.score > inspector.calibration.threshold)


def test_path_bytes_and_array_say_the_same(inspector: Inspector, tmp_path: Path) -> None:
    path = save(tmp_path / "new.png", NEW)
    scores = {inspector.inspect(image).score for image in (path, str(path), path.read_bytes(), NEW)}
    assert len(scores) == 1


def test_a_glaring_defect_is_rejected_where_it_is() -> None:
    inspector = Inspector(size=96, coreset=0.1).fit([texture(seed, 96, 96) for seed in range(30)])
    verdict = inspector.inspect(with_defect(texture(90, 96, 96), 60, 30))
    assert verdict.reject
    assert verdict.p_value == pytest.approx(1 / 31)
    row, column = divmod(int(verdict.heatmap.argmax()), 96)
    assert np.hypot(row - 60, column - 30) < 14


def test_the_heat_map_reaches_one_where_good_parts_end(inspector: Inspector) -> None:
    peaks = [inspector.inspect(texture(seed)).heatmap.max() for seed in range(100, 140)]
    # A budget of 10 %: most good parts stay below 1, and not far below.
    assert np.mean(np.array(peaks) < 1) > 0.5
    assert np.max(peaks) > 0.5


def test_saved_and_loaded_scores_the_same_bit_for_bit(inspector: Inspector, saved: Path) -> None:
    loaded = Inspector.load(saved)
    before, after = inspector.inspect(NEW), loaded.inspect(NEW)
    assert before.score == after.score
    assert np.array_equal(before.heatmap, after.heatmap)
    assert (before.p_value, before.reject) == (after.p_value, after.reject)


def test_the_same_seed_gives_the_same_file(tmp_path: Path, good_folder: Path) -> None:
    options: dict[str, Any] = {"size": 64, "seed": 7, **TINY}
    for name in ("one", "two"):
        Inspector("improved-patchcore", **options).fit(good_folder).save(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    Inspector("improved-patchcore", **options | {"seed": 8}).fit(good_folder).save(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() != (tmp_path / "two").read_bytes()


def test_a_folder_a_dataset_and_a_list_of_the_same_images_fit_the_same(good_folder: Path) -> None:
    inspectors = [
        Inspector(size=64, **TINY | {"weights": "embedded", "backbone": "tf_efficientnet_lite0"})
        for _ in range(2)
    ]
    folder = inspectors[0].fit(good_folder)
    listed = inspectors[1].fit(sorted(good_folder.iterdir()))
    assert folder.inspect(NEW).score == listed.inspect(NEW).score


def test_a_truncated_jpeg_among_fifty(tmp_path: Path) -> None:
    for seed in range(49):
        save(tmp_path / f"{seed:02}.jpg", texture(seed, 32, 32))
    complete = save(tmp_path / "99.jpg", texture(99, 32, 32))
    complete.write_bytes(complete.read_bytes()[:300])
    inspector = Inspector(size=32, **TINY).fit(tmp_path)
    assert [left_out.image_input for left_out in inspector.unreadable] == [complete]
    assert len(inspector.calibration.scores) == 49
    results = list(inspector.inspect_many(sorted(tmp_path.iterdir())))
    assert [result.error is None for result in results] == [True] * 49 + [False]
    assert "99.jpg" in str(results[-1].error)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_images(count: int, tmp_path: Path) -> None:
    for seed in range(count):
        save(tmp_path / f"{seed}.png", texture(seed))
    with pytest.raises(
        DatasetError, match="no images" if count == 0 else "1 good image; 2 are the fewest"
    ):
        Inspector(**TINY).fit(tmp_path)


def test_too_few_usable_images(tmp_path: Path) -> None:
    save(tmp_path / "0.png", texture(0))
    (tmp_path / "1.png").write_bytes(b"")
    with pytest.raises(DatasetError, match="1 of 2 images can be used"):
        Inspector(size=32, **TINY).fit(tmp_path)


def test_images_of_one_colour_fit_that_colour() -> None:
    plain = np.full((64, 64, 3), 90, np.uint8)
    inspector = Inspector(size=64, **TINY | {"coreset": 1.0}).fit([plain] * 4)
    assert not inspector.inspect(plain).reject
    defective = inspector.inspect(with_defect(plain, 30, 30))
    assert defective.reject
    assert np.isfinite(defective.heatmap).all()


def test_bad_images_are_refused_one_by_one(inspector: Inspector, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(ImageError, match=r"text\.png"):
        inspector.inspect(tmp_path / "text.png")


def test_unfitted_refuses(tmp_path: Path) -> None:
    unfitted = Inspector(**TINY)
    with pytest.raises(NotFitted):
        unfitted.inspect(NEW)
    with pytest.raises(NotFitted):
        unfitted.save(tmp_path / "part.flawmap")


def test_what_is_no_method_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for users
    not_a_method: Any = PaDiM
    with pytest.raises(OptionError, match="is neither a method's name nor a method"):
        Inspector(not_a_method)


def test_options_are_checked_before_anything_is_read() -> None:
    with pytest.raises(OptionError, match="there is no method 'patchwork'; there are patchcore"):
        Inspector("patchwork")
    with pytest.raises(OptionError, match="not between 0 and 1"):
        Inspector(false_rejects=2)


def test_a_damaged_file_is_refused(saved: Path) -> None:
    data = bytearray(saved.read_bytes())
    data[len(data) // 2] ^= 1
    saved.write_bytes(bytes(data))
    with pytest.raises(BundleError, match="hash does not match"):
        Inspector.load(saved)
    saved.write_bytes(bytes(data[: len(data) // 2]))
    with pytest.raises(BundleError, match="damaged"):
        Inspector.load(saved)


def test_a_fraction_kept_out_of_the_bank_calibrates() -> None:
    good = [texture(seed) for seed in range(20)]
    inspector = Inspector(size=64, false_rejects=0.2, calibration_fraction=0.3, **TINY).fit(good)
    assert len(inspector.calibration.scores) == 6
    assert inspector.calibration.exact
    # Its scores are those that new images would get.
    again = [inspector.inspect(image).score for image in good]
    assert (
        sum(
            any(np.isclose(score, other_score, rtol=1e-4) for other_score in again)
            for score in inspector.calibration.scores
        )
        == 6
    )
    image_ids = inspector.method.fitted_state()["bank.image_ids"]
    assert len(set(image_ids.tolist())) <= 14


def test_calibration_images_of_a_manifest_stay_out_of_the_memory(good_folder: Path) -> None:
    rows = [
        f"{path.name},{'calibration' if number < 4 else 'train'}"
        for number, path in enumerate(good_folder.iterdir())
    ]
    manifest = good_folder / "split.csv"
    manifest.write_text("path,split\n" + "\n".join(rows))
    calibration = Inspector(size=64, false_rejects=0.3, **TINY).fit(manifest).calibration
    assert calibration.exact
    assert len(calibration.scores) == 4


@pytest.mark.parametrize("fraction", [0.0, 0.25])
def test_a_saved_file_names_all_images_it_has_seen(fraction: float, good_folder: Path) -> None:
    (good_folder / "cut.png").write_bytes(b"\x89PNG")
    options = TINY | {"size": 64, "false_rejects": 0.3, "calibration_fraction": fraction}
    file = good_folder.parent / "part.flawmap"
    Inspector(**options).fit(good_folder).save(file)
    whole = [path for path in good_folder.iterdir() if path.name != "cut.png"]
    hashes = {hashlib.sha256(path.read_bytes()).hexdigest() for path in whole}
    assert len(hashes) == 12
    assert load(file).fitted_sha256 == Inspector.load(file).runtime.fitted_sha256 == hashes


def test_images_of_classes_are_among_those_that_it_has_seen(good_folder: Path) -> None:
    good = sorted(good_folder.glob("*.png"))
    scratched = [good_folder.parent / "a.png", good_folder.parent / "b.png"]
    for seed, path in enumerate(scratched):
        save(path, with_defect(texture(seed), 10, 10))
    config = FineTuneConfig(epochs=1, batch_size=4)
    inspector = Inspector(size=64, false_rejects=0.3, finetune=config, **TINY)
    inspector.fit(good_folder, finetune_classes={"good": good, "scratch": scratched})
    hashes = {hashlib.sha256(path.read_bytes()).hexdigest() for path in good + scratched}
    assert inspector.runtime.fitted_sha256 == hashes


def test_groups_of_a_manifest_are_left_out_together(good_folder: Path) -> None:
    rows = [
        f"{path.name},lot {number % 3}" for number, path in enumerate(sorted(good_folder.iterdir()))
    ]
    manifest = good_folder / "lots.csv"
    manifest.write_text("path,group\n" + "\n".join(rows))
    calibration = Inspector(size=64, false_rejects=0.3, **TINY).fit(manifest).calibration
    assert sorted(set(calibration.groups)) == ["lot 0", "lot 1", "lot 2"]
    assert "3 groups" in calibration.warnings()[-1]
    images = [str(path) for path in sorted(good_folder.glob("*.png"))]
    same = Inspector(size=64, false_rejects=0.3, **TINY).fit(images, groups=["a", "b", "c"] * 4)
    np.testing.assert_allclose(same.calibration.scores, calibration.scores)


def test_groups_are_set_aside_together() -> None:
    good = [texture(seed) for seed in range(12)]
    inspector = Inspector(size=64, false_rejects=0.3, calibration_fraction=0.5, **TINY).fit(
        good, groups=["a", "b", "c", "d"] * 3
    )
    assert len(inspector.calibration.scores) == 6
    assert len(set(inspector.calibration.groups)) == 2


def test_an_image_that_changed_since_the_split_is_refused(good_folder: Path) -> None:
    from flawmap.data.layouts import find_samples
    from flawmap.data.manifest import write_manifest
    from flawmap.data.splits import assign_splits

    manifest = good_folder.parent / "split.csv"
    write_manifest(manifest, assign_splits(find_samples(good_folder)))
    save(good_folder / "03.png", texture(99))
    with pytest.raises(DatasetError, match=r"03\.png"):
        Inspector(size=64, **TINY).fit(manifest)


def test_calibration_images_that_are_all_bad_are_said(good_folder: Path) -> None:
    (good_folder / "bad.png").write_bytes(b"cut")
    manifest = good_folder / "split.csv"
    rows = [
        f"{path.name},{'calibration' if path.name == 'bad.png' else 'train'}"
        for path in good_folder.glob("*.png")
    ]
    manifest.write_text("path,split\n" + "\n".join(rows))
    with pytest.raises(DatasetError, match="none of the 1 images held out for calibration"):
        Inspector(size=64, **TINY).fit(manifest)


def test_three_good_images_are_enough_to_begin_with() -> None:
    inspector = Inspector(size=64, **TINY).fit([texture(seed) for seed in range(3)])
    assert inspector.calibration.expected_false_rejects == 1 / 4
    assert "99 good images, 96 more" in inspector.calibration.warnings()[0]
    assert inspector.inspect(with_defect(NEW, 20, 20, radius=10)).reject


def test_nothing_of_the_test_folder_is_opened_to_fit(good_folder: Path) -> None:
    root = good_folder.parent
    good_folder.rename(root / "good_")
    (root / "train").mkdir()
    (root / "good_").rename(root / "train" / "good")
    for name in ("test/good/a.png", "test/spot/a.png", "ground_truth/spot/a.png"):
        (root / name).parent.mkdir(parents=True)
        # A link to nowhere: whatever opens it fails.
        (root / name).symlink_to(root / "nowhere")
    Inspector(size=64, **TINY).fit(root)


@pytest.mark.parametrize("fraction", [-0.1, 1, 1.5])
def test_a_calibration_fraction_out_of_range(fraction: float) -> None:
    with pytest.raises(OptionError, match="calibration_fraction is"):
        Inspector(calibration_fraction=fraction)


def test_a_file_that_lacks_a_part_is_refused(saved: Path) -> None:
    from flawmap.runtime import bundle

    manifest, arrays, _ = bundle.load(saved)
    del arrays["method.bank.vectors"]
    bundle.save(saved, manifest, arrays)
    with pytest.raises(BundleError, match="holds no complete inspector"):
        Inspector.load(saved)


@needs_file_size_limit
def test_a_full_disk_leaves_the_old_file(saved: Path) -> None:
    before = saved.read_bytes()
    inspector = Inspector.load(saved)
    with full_disk(), pytest.raises(WriteError, match="could not be written"):
        inspector.save(saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_preprocessing_is_right_before_fit() -> None:
    inspector = Inspector(size=(64, 96), **TINY)
    before = inspector.preprocessing
    assert (before.height, before.width) == (64, 96)
    assert before.mean == tuple(inspector.method.feature_extractor.mean)
    inspector.fit([texture(seed) for seed in range(3)])
    assert inspector.preprocessing == before == inspector.runtime.preprocessing


WIDE = [texture(seed, 60, 100) for seed in range(8)]


@pytest.mark.parametrize("size", ["auto", (64,), 64.0, ("64", "64")])
def test_what_is_no_size_is_refused(size: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(OptionError, match=r"size=.*; use a side in pixels, as 224"):
        Inspector("patchcore", size=size)


def test_a_size_of_zero_is_not_taken_for_none() -> None:
    with pytest.raises(OptionError, match="size 0×0 is too small"):
        Inspector("patchcore", size=0)


def test_the_good_images_choose_the_size_and_the_file_holds_it(tmp_path: Path) -> None:
    inspector = Inspector("patchcore", size=AutoSize(96), **TINY)
    with pytest.raises(NotFitted, match="the good images choose the size"):
        _ = inspector.preprocessing
    inspector.fit(WIDE)
    reason = "the median aspect 1.67 of 8 good images"
    assert inspector.chosen_size == ChosenSize(80, 128, reason)
    assert inspector.preprocessing.letterbox_beyond is None
    inspector.save(tmp_path / "part.flawmap")
    for loaded in (Inspector.load(tmp_path / "part.flawmap"), load(tmp_path / "part.flawmap")):
        assert loaded.preprocessing == inspector.preprocessing
        assert loaded.inspect(NEW).score == pytest.approx(inspector.inspect(NEW).score, rel=1e-4)


def test_a_second_fit_chooses_anew() -> None:
    inspector = Inspector("patchcore", size=AutoSize(96), **TINY).fit(WIDE)
    inspector.fit([image.transpose(1, 0, 2) for image in WIDE])
    assert (inspector.preprocessing.height, inspector.preprocessing.width) == (128, 80)


def test_held_out_images_choose_no_size() -> None:
    inspector = Inspector("patchcore", size=AutoSize(96), calibration_fraction=0.5, **TINY).fit(
        WIDE
    )
    assert inspector.chosen_size is not None
    assert inspector.chosen_size.reason == "the median aspect 1.67 of 4 good images"


def test_sides_are_multiples_of_the_stride_of_a_dilated_network() -> None:
    inspector = Inspector("patchcore", size=AutoSize(96), **TINY, stride=8).fit(WIDE)
    assert inspector.chosen_size is not None
    assert inspector.chosen_size[:2] == (72, 120)


def test_images_of_any_aspect_may_be_mixed_in_a_fit() -> None:
    mixed = [texture(seed, 40 + 20 * (seed % 5), 60) for seed in range(10)]
    for letterbox in (False, True):
        inspector = Inspector("patchcore", size=AutoSize(96), letterbox=letterbox, **TINY).fit(
            mixed
        )
        assert len(inspector.calibration.scores) == 10
        assert np.isfinite(inspector.calibration.scores).all()
