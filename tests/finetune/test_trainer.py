from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from flawmap import Inspector
from flawmap.engine.batches import Batches
from flawmap.errors import DatasetError, OptionError, WeightsMismatch, WriteError
from flawmap.features.registration import SpatialTransformerRegistration
from flawmap.finetune.config import PAPER_CONFIG, FineTuneConfig, FineTuneMode
from flawmap.finetune.record import FineTuneRecord
from flawmap.finetune.trainer import fine_tune
from flawmap.methods import METHODS, make_method
from flawmap.methods.base import Method
from flawmap.runtime import bundle
from flawmap.runtime.preprocess import Preprocessing
from flawmap.support.progress import Event, listen
from flawmap.training.metrics import EpochMetrics
from helpers import TINY, full_disk, needs_file_size_limit, save, texture, with_defect

QUICK = replace(PAPER_CONFIG, epochs=2, batch_size=8, image_size=64)
SIZE = Preprocessing(64, 64)
GOOD = [texture(seed) for seed in range(15)]


def tune(
    method: Method,
    classes: dict[str, list[np.ndarray]],
    config: FineTuneConfig,
    folder: Path | None = None,
) -> FineTuneRecord:
    result = fine_tune(
        method.backbone_spec,
        classes,
        config,
        seed=method.seed,
        checkpoint_dir=folder,
    )
    method.feature_extractor = result.backbone
    return result.record


def finetuned(
    folder: Path | None = None, finetune: FineTuneConfig = QUICK, **options: Any
) -> tuple[str, FineTuneRecord, list[Event]]:
    events: list[Event] = []
    method = make_method("patchcore", **TINY | options)
    with listen(lambda *_: None, events.append):
        record = tune(method, {"good": GOOD}, finetune, folder)
    return method.feature_extractor.fingerprint(), record, events


def epochs_of(events: list[Event]) -> list[int]:
    return [event.number for event in events if isinstance(event, EpochMetrics)]


def test_the_method_gets_another_network_of_the_same_layers() -> None:
    method = make_method("patchcore", **TINY)
    before = method.feature_extractor.fingerprint()
    record = tune(method, {"good": GOOD}, QUICK)
    assert method.feature_extractor.fingerprint() != before
    assert method.feature_extractor.layers == (2, 3)
    assert not any(parameter.requires_grad for parameter in method.feature_extractor.parameters())
    assert record.classes == {"good": 15}
    assert len(record.history) == 2


def test_a_deeper_classifier_layer_trains_the_same_layers_otherwise() -> None:
    deeper = finetuned(finetune=replace(QUICK, classifier_layer=4))[0]
    assert deeper != finetuned()[0]
    with pytest.raises(OptionError, match="a classifier on layer 2 would leave layer 3 untrained"):
        finetuned(finetune=replace(QUICK, classifier_layer=2))


def test_a_stopped_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    at_once, record, _ = finetuned(tmp_path / "a", replace(QUICK, epochs=4))
    finetuned(tmp_path / "b", replace(QUICK, epochs=1))
    resumed, again, events = finetuned(tmp_path / "b", replace(QUICK, epochs=4))
    assert resumed == at_once
    assert "The fine-tuning resumes after epoch 1 of 4" in events
    assert epochs_of(events) == [2, 3, 4]
    assert [epoch._replace(seconds=0) for epoch in again.history] == [
        e._replace(seconds=0) for e in record.history
    ]


def test_ctrl_c_says_where_it_stopped_and_what_was_done_stands(tmp_path: Path) -> None:
    events: list[Event] = []

    def press(event: Event) -> None:
        events.append(event)
        if isinstance(event, EpochMetrics) and event.number == 2:
            raise KeyboardInterrupt

    with listen(lambda *_: None, press), pytest.raises(KeyboardInterrupt):
        tune(make_method("patchcore", **TINY), {"good": GOOD}, replace(QUICK, epochs=3), tmp_path)
    assert "Stopped; the same command resumes after epoch 2 of 3" in events
    assert (
        finetuned(tmp_path, replace(QUICK, epochs=3))[0]
        == finetuned(finetune=replace(QUICK, epochs=3))[0]
    )


@pytest.mark.parametrize("change", [{"finetune": replace(QUICK, learning_rate=0.02)}, {"seed": 5}])
def test_a_checkpoint_of_other_settings_is_not_gone_on_with(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    finetuned(tmp_path)
    fingerprint, _, events = finetuned(tmp_path, **change)
    assert any("is of other images or settings" in str(event) for event in events)
    assert epochs_of(events) == [1, 2]
    assert fingerprint == finetuned(**change)[0]


def test_a_finished_training_is_not_done_again_and_a_longer_one_not_cut_short(
    tmp_path: Path,
) -> None:
    once = finetuned(tmp_path)[0]
    again, _, events = finetuned(tmp_path)
    assert again == once
    assert epochs_of(events) == []
    shorter, _, events = finetuned(tmp_path, replace(QUICK, epochs=1))
    assert epochs_of(events) == [1]
    assert shorter == finetuned(finetune=replace(QUICK, epochs=1))[0]


def test_a_damaged_checkpoint_begins_anew_and_says_so(tmp_path: Path) -> None:
    once = finetuned(tmp_path)[0]
    (tmp_path / "checkpoint.safetensors").write_bytes(b"half")
    again, _, events = finetuned(tmp_path)
    assert again == once
    assert any("cannot be read" in str(event) for event in events)


def test_figures_are_left_in_json_in_an_image_and_for_tensorboard(tmp_path: Path) -> None:
    record = finetuned(tmp_path)[1]
    written = json.loads((tmp_path / "history.json").read_text())
    assert FineTuneRecord.from_dict(written) == record
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    events = EventAccumulator(str(tmp_path)).Reload()
    for name in ("loss", "accuracy"):
        for which, field in (("train", name), ("validation", f"validation_{name}")):
            shown = [scalar.value for scalar in events.Scalars(f"{name}/{which}")]
            assert np.allclose(shown, [getattr(epoch, field) for epoch in record.history])


@pytest.mark.parametrize("mode", ["products", "real-defects", "leaky"])
def test_one_class_only(mode: FineTuneMode) -> None:
    with pytest.raises(
        DatasetError, match=f"fine-tuning by {mode} tells classes apart and got good"
    ):
        tune(make_method("patchcore", **TINY), {"good": GOOD}, replace(QUICK, mode=mode))


def test_fewer_images_than_a_batch_are_a_small_batch() -> None:
    record = tune(
        make_method("patchcore", **TINY), {"good": GOOD[:3]}, replace(QUICK, batch_size=32)
    )
    assert len(record.history) == 2


@pytest.mark.parametrize("name", METHODS)
def test_every_method_saves_a_finetuned_backbone(name: str) -> None:
    options: dict[str, Any] = {"backbone": "test_resnet", "weights": "random"}
    if name == "fr-patchcore":
        options["registration"] = SpatialTransformerRegistration(epochs=1)
    method = make_method(name, "smoke" if "smoke" in METHODS[name].presets else None, **options)
    before = method.feature_extractor.fingerprint()
    tune(method, {"good": GOOD}, replace(QUICK, epochs=1))
    method.fit(Batches(GOOD, SIZE))
    restored = type(method).from_options(method.options()).load_state_dict(method.state_dict())
    fingerprint = restored.feature_extractor.fingerprint()
    assert fingerprint == method.feature_extractor.fingerprint() != before
    (batch,) = Batches([with_defect(texture(50), 30, 30)], SIZE)
    assert torch.equal(restored.score(batch.images).pixel, method.score(batch.images).pixel)


def test_the_saved_file_needs_no_weights_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import save_file

    from flawmap.features.backbone import Backbone

    weights = tmp_path / "weights.safetensors"
    save_file(Backbone("test_resnet", (2, 3), "random").weights(), weights)
    inspector = Inspector(size=64, finetune=QUICK, **TINY | {"weights": str(weights)}).fit(GOOD)
    inspector.save(tmp_path / "part.flawmap")
    weights.unlink()
    loaded = Inspector.load(tmp_path / "part.flawmap")
    assert loaded.inspect(GOOD[0]).score == inspector.inspect(GOOD[0]).score
    assert loaded.finetune_record == inspector.finetune_record


def test_a_memory_of_other_weights_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "part.flawmap"
    Inspector(size=64, finetune=QUICK, **TINY).fit(GOOD).save(file)
    manifest, arrays, _ = bundle.load(file)
    name = next(name for name in arrays if name.endswith("conv1.weight"))
    bundle.save(file, manifest, arrays | {name: arrays[name] + 1})
    with pytest.raises(WeightsMismatch, match="fitted with weights"):
        Inspector.load(file)


def test_calibration_images_are_never_trained_on() -> None:
    inspector = Inspector(size=64, finetune=QUICK, calibration_fraction=0.4, **TINY).fit(GOOD)
    assert inspector.finetune_record is not None
    assert inspector.finetune_record.classes == {"good": 9}


def test_nothing_of_the_test_folder_is_opened_to_fine_tune(tmp_path: Path) -> None:
    for seed in range(8):
        save(tmp_path / "train" / "good" / f"{seed}.png", texture(seed))
    for name in ("test/good/a.png", "test/spot/a.png", "ground_truth/spot/a.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        # A link to nowhere: whatever opens it fails.
        (tmp_path / name).symlink_to(tmp_path / "nowhere")
    Inspector(size=64, finetune=QUICK, **TINY).fit(tmp_path)


@needs_file_size_limit
def test_a_full_disk_stops_the_training_and_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    finetuned(tmp_path, replace(QUICK, epochs=1))
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    method = make_method("patchcore", **TINY)
    message = r"could not be written \(File too large\); what was there before still is"
    with full_disk(), pytest.raises(WriteError, match=message):
        tune(method, {"good": GOOD}, QUICK, tmp_path)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before


def test_it_trains_at_the_networks_own_strides_and_dilates_afterwards() -> None:
    plain, dilated = (make_method("patchcore", **TINY, stride=stride) for stride in (None, 8))
    for method in (plain, dilated):
        tune(method, {"good": GOOD}, QUICK)
    assert plain.feature_extractor.fingerprint() == dilated.feature_extractor.fingerprint()
    (batch,) = Batches(GOOD[:1], SIZE)
    maps = dilated.feature_extractor(batch.images)
    assert [layer_map.shape[-1] for layer_map in maps] == [8, 8]
