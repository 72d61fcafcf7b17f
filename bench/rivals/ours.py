"""flawmap's side of `bench/rivals.py`, in flawmap's environment.

What is imported where matters: starts are timed.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from talk import serve  # its folder is on the path

if TYPE_CHECKING:
    from flawmap.runtime.graph import Precision

held: dict[str, Any] = {}


def hello() -> dict[str, Any]:
    """Say what runs here."""
    from importlib.metadata import PackageNotFoundError, version

    import torch

    def of(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "none"

    packages = ("flawmap", "torch", "timm", "openvino", "numpy", "opencv-python-headless")
    return {
        "versions": {name: of(name) for name in packages},
        "torch threads": torch.get_num_threads(),
    }


def draw_vectors(file: str, rows: int, channels: int) -> None:
    """Write the vectors of `bench/coreset.py`, the same for both sides."""
    import sys

    import numpy as np

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from coreset import synthetic

    np.save(file, synthetic(rows, channels).numpy())


def save_weights(file: str, backbone: str, weights: str) -> None:
    """Write a backbone's weights for the other side."""
    from safetensors.torch import save_file

    from flawmap.features.backbone import Backbone

    save_file(Backbone(backbone, weights=weights).weights(), file)


def read_vectors(file: str) -> None:
    import numpy as np
    import torch

    from flawmap.memory.coreset import k_center_greedy

    held["vectors"] = torch.from_numpy(np.load(file))
    k_center_greedy(held["vectors"][:20_000], 50)  # libraries load on first use


def coreset(count: int) -> float:
    from flawmap.memory.coreset import k_center_greedy

    started = time.perf_counter()
    k_center_greedy(held["vectors"], count)
    return time.perf_counter() - started


def open_model(name: str, file: str, precision: Precision | None) -> None:
    from flawmap import load

    held[name] = load(file, precision=precision)


def judge(name: str, images: list[str]) -> dict[str, list[float]]:
    """Time each image from its file to its score and map."""
    model, seconds, scores = held[name], [], []
    for image in images:
        started = time.perf_counter()
        verdict = model.inspect(image)
        seconds.append(time.perf_counter() - started)
        scores.append(verdict.score)
    return {"seconds": seconds, "scores": scores}


def judge_folder(name: str, folder: str) -> float:
    """Time all images of a folder, from their files to their scores and maps."""
    images = sorted(Path(folder).iterdir())
    started = time.perf_counter()
    done = sum(each.verdict is not None for each in held[name].inspect_many(images))
    seconds = time.perf_counter() - started
    assert done == len(images), f"{done} of {len(images)} images were inspected"
    return seconds


def start(file: str, precision: Precision | None, image: str) -> float:
    """Inspect a first image."""
    open_model("first", file, precision)
    return judge("first", [image])["scores"][0]


def load_library() -> None:
    pass


if __name__ == "__main__":
    serve(
        {
            "hello": hello,
            "draw_vectors": draw_vectors,
            "save_weights": save_weights,
            "read_vectors": read_vectors,
            "coreset": coreset,
            "open": open_model,
            "judge": judge,
            "folder": judge_folder,
            "start": start,
            "import": load_library,
        }
    )
