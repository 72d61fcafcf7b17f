from __future__ import annotations

from pathlib import Path
from typing import Any

from flawmap import Inspector
from flawmap.features.registration import NoRegistration, SpatialTransformerRegistration
from flawmap.methods.fr_patchcore import fr_patchcore
from flawmap.support.progress import Event, listen
from helpers import texture


def test_images_are_registered_as_published() -> None:
    expected = SpatialTransformerRegistration(epochs=50, learning_rate=1e-4, batch_size=32)
    assert fr_patchcore().registration == expected
    assert fr_patchcore(registration=NoRegistration()).registration == NoRegistration()


def test_the_inspector_keeps_the_checkpoint_of_its_registration(tmp_path: Path) -> None:
    def fit() -> tuple[float, list[Event]]:
        events: list[Event] = []
        registration = SpatialTransformerRegistration(epochs=2)
        options: dict[str, Any] = {
            "backbone": "test_resnet",
            "weights": "random",
            "registration": registration,
        }
        with listen(lambda *_: None, events.append):
            inspector = Inspector("fr-patchcore", size=64, **options)
            inspector.fit([texture(seed) for seed in range(6)], checkpoint_dir=tmp_path)
        return inspector.inspect(texture(50)).score, events

    score, _ = fit()
    kept = {path.name for path in tmp_path.iterdir() if "tfevents" not in path.name}
    assert kept == {"checkpoint.safetensors", "history.json", "curves.png"}
    again, events = fit()
    assert again == score
    assert "The registration resumes after epoch 2 of 2" in events


def test_only_a_registration_is_trained() -> None:
    assert fr_patchcore().is_trained
    assert not fr_patchcore(registration=NoRegistration()).is_trained
