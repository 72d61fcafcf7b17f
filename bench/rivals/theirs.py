"""anomalib's side of `bench/rivals.py`, in anomalib's environment. It needs nothing of flawmap.

Its image size, weights, coreset share and images are flawmap's; all else is as anomalib comes, but
for what would cost it time and is not measured: no image is drawn, no metric is kept, no image is
validated."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from talk import serve

SIZE = 224
held: dict[str, Any] = {}
# Its torch inferencer reads pickles and wants to be told that it may.
os.environ["TRUST_REMOTE_CODE"] = "1"


def allow_torchvision() -> None:
    """Let torchvision load beside a CPU build of torch; flawmap.features.backbone says why."""
    import torch

    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        held["torchvision"] = library
        for module in [
            module for module in sys.modules if module.partition(".")[0] == "torchvision"
        ]:
            del sys.modules[module]


def hello() -> dict[str, Any]:
    """Say what runs here."""
    from importlib.metadata import version

    import torch

    packages = ("anomalib", "torch", "timm", "openvino", "lightning", "numpy")
    return {
        "versions": {name: version(name) for name in packages},
        "torch threads": torch.get_num_threads(),
    }


def read_vectors(file: str) -> None:
    import numpy as np
    import torch

    allow_torchvision()
    held["vectors"] = torch.from_numpy(np.load(file))


def coreset(count: int, picks: int) -> dict[str, float]:
    """Time its preparation and its first picks; 0 picks are all of them."""
    allow_torchvision()
    from anomalib.models.components import KCenterGreedy

    vectors = held["vectors"]
    sampler = KCenterGreedy(vectors, (count + 0.5) / len(vectors))
    return cut(sampler, picks)[1]


def cut(sampler: Any, picks: int) -> tuple[list[int], dict[str, float]]:
    """Run its greedy loop as it is, but only so far."""
    stamps: list[float] = []

    def stamped(job: Callable[..., Any]) -> Callable[..., Any]:
        def do_and_stamp(*arguments: Any) -> Any:
            found = job(*arguments)
            stamps.append(time.perf_counter())
            return found

        return do_and_stamp

    sampler.model.transform = stamped(sampler.model.transform)
    sampler.get_new_idx = stamped(sampler.get_new_idx)
    whole = sampler.coreset_size
    sampler.coreset_size = min(whole, picks + 1) if picks else whole
    started = time.perf_counter()
    chosen = sampler.select_coreset_idxs()
    sampler.coreset_size = whole
    # The first is drawn; each of the others takes one round.
    each = statistics.median(after - before for before, after in pairwise(stamps))
    times = {"setup": stamps[0] - started, "picking": stamps[-1] - stamps[0], "each": each}
    return chosen, times | {"picked": len(stamps) - 1, "whole": whole - 1}


def make(backbone: str, layers: Sequence[str], weights: str, share: float = 0.01) -> Any:
    """Make its PatchCore with our weights, for images of our size without a crop."""
    allow_torchvision()
    from anomalib.models import Patchcore
    from safetensors.torch import load_file

    model = Patchcore(
        backbone,
        layers=layers,
        pre_trained=False,
        coreset_sampling_ratio=share,
        pre_processor=Patchcore.configure_pre_processor(image_size=(SIZE, SIZE)),
        evaluator=False,
        visualizer=False,
    )
    network = model.model.feature_extractor.feature_extractor
    mismatched = network.load_state_dict(load_file(weights), strict=False)
    # The file ends behind the last layer that is compared.
    used = set(load_file(weights))
    assert not mismatched.unexpected_keys, mismatched.unexpected_keys
    assert all(any(name.startswith(layer) for name in used) for layer in layers), layers
    return model


def fit(
    folder: str,
    out: str,
    backbone: str,
    layers: Sequence[str],
    weights: str,
    share: float,
    picks: int,
    export: bool,
) -> dict[str, float]:
    """Learn from a folder of good images.

    The greedy loop may be cut, random rows then fill the memory.
    """
    model = make(backbone, layers, weights, share)
    from anomalib.data import Folder
    from anomalib.models.components import KCenterGreedy

    times: dict[str, float] = {}

    def choose(sampler: Any) -> list[int]:
        KCenterGreedy.select_coreset_idxs = select  # for `cut` to run it
        chosen, found = cut(sampler, picks)
        times.update(found)
        import torch

        others = torch.randperm(sampler.n_observations)[: sampler.coreset_size - len(chosen)]
        return chosen + others.tolist()

    select, KCenterGreedy.select_coreset_idxs = KCenterGreedy.select_coreset_idxs, choose
    images = Folder(
        name="good",
        root=Path(folder).parent,
        normal_dir=Path(folder).name,
        num_workers=os.cpu_count(),
        test_split_mode="none",
        val_split_mode="none",
    )
    make_engine(out).fit(model=model, datamodule=images)
    if export:
        export_all(model, out, sorted(map(str, Path(folder).iterdir()))[:300])
    return times


def make_engine(out: str) -> Any:
    from anomalib.engine import Engine

    return Engine(default_root_dir=out, accelerator="cpu", logger=False, limit_val_batches=0)


def prepare(
    images: list[str],
    calibration: list[str],
    rows: int,
    out: str,
    backbone: str,
    layers: Sequence[str],
    weights: str,
) -> None:
    """Export a model whose memory is random rows of real embeddings.

    For times, which do not depend on which.
    """
    model = make(backbone, layers, weights)
    import torch
    from anomalib.data.utils import read_image

    model.model.train()
    model.model.feature_extractor.eval()
    with torch.inference_mode():
        for image in images:
            model.model(model.pre_processor(read_image(image, as_tensor=True)[None]))
        embeddings = torch.vstack(model.model.embedding_store)
    model.model.embedding_store.clear()
    assert len(embeddings) >= rows, f"{len(embeddings)} rows of {len(images)} images, {rows} wanted"
    chosen = torch.randperm(len(embeddings), generator=torch.Generator().manual_seed(0))[:rows]
    model.model.memory_bank = embeddings[chosen].clone()
    export_all(model, out, calibration)


def export_all(model: Any, out: str, calibration: list[str]) -> None:
    """Export for its torch inferencer, and for its OpenVINO one: images of any size, resized ones,
    these in int8.

    Its default, a batch of any size, comes out with a batch of two baked in (two images of 28 × 28
    patches go beyond the 1,024 rows that it compares at once), and then takes no single image:
    hence one image at a time."""
    model.eval()
    model.to_torch(out)
    any_size = {"dynamic_axes": {"input": {2: "height", 3: "width"}}}
    model.to_openvino(out, "any_size", onnx_kwargs=any_size)
    one_size = {"input_size": (SIZE, SIZE), "onnx_kwargs": {"dynamic_axes": {}}}
    model.to_openvino(out, "fixed_size", **one_size)
    from anomalib.deploy import CompressionType

    model.to_openvino(
        out,
        "int8",
        **one_size,
        compression_type=CompressionType.INT8_PTQ,
        datamodule=Calibration(calibration),
    )


class Calibration:
    """What its quantisation asks of a data module: good images, resized, one by one."""

    def __init__(self, images: list[str]) -> None:
        self.images, self.train_batch_size = images, 1

    def setup(self, stage: str) -> None:
        """Have everything ready at once."""

    def val_dataloader(self) -> Any:
        """Load the images, as its inferencer would."""
        from torch.utils.data import DataLoader

        images: Any = [{"image": resized(image).transpose(2, 0, 1)} for image in self.images]
        return DataLoader(images)


F32 = {"INFERENCE_PRECISION_HINT": "f32"}
"""Left to itself, OpenVINO computes in bf16 on a CPU that can."""

FILES = {
    "openvino": "any_size.xml",
    "openvino-f32": "any_size.xml",
    "openvino-fixed": "fixed_size.xml",
    "openvino-int8": "int8.xml",
}


def open_model(name: str, folder: str, kind: str) -> str:
    """Load what `export_all` wrote: `torch`, or one of `FILES`."""
    allow_torchvision()
    from anomalib.deploy import OpenVINOInferencer, TorchInferencer

    weights = Path(folder) / "weights"
    if kind == "torch":
        held[name] = TorchInferencer(weights / "torch" / "model.pt", device="cpu")
        return "f32"
    config = F32 if kind == "openvino-f32" else None
    held[name] = OpenVINOInferencer(weights / "openvino" / FILES[kind], device="CPU", config=config)
    compiled = held[name].model
    precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return f"{precision}, {compiled.get_property('INFERENCE_NUM_THREADS')} threads"


def read_as(kind: str, image: str) -> Any:
    """Give what its inferencer takes.

    The file itself, or for a graph of one size the resized image.
    """
    return image if kind in ("torch", "openvino", "openvino-f32") else resized(image)


def resized(image: str) -> Any:
    """Resize an image as torchvision does in its graph for any size.

    Bilinear, with antialiasing.
    """
    import numpy as np
    from PIL import Image

    with Image.open(image) as opened:
        pixels = opened.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return np.asarray(pixels, np.float32) / np.float32(255)


def judge(name: str, images: list[str]) -> dict[str, list[float]]:
    """Time each image from its file to its score and map."""
    model, kind, seconds, scores = held[name], name, [], []
    for image in images:
        started = time.perf_counter()
        found = model.predict(read_as(kind, image))
        seconds.append(time.perf_counter() - started)
        assert found.anomaly_map.shape[-1] == SIZE
        scores.append(float(found.pred_score.ravel()[0]))
    return {"seconds": seconds, "scores": scores}


def judge_folder(name: str, folder: str) -> float:
    """Time all images of a folder: `torch` as its engine does it, the others one by one."""
    images = sorted(map(str, Path(folder).iterdir()))
    started = time.perf_counter()
    if name == "torch":
        done = make_engine(".").predict(
            model=held[name].model, data_path=folder, return_predictions=True
        )
    else:
        done = [held[name].predict(read_as(name, image)) for image in images]
    seconds = time.perf_counter() - started
    assert len(done) == len(images), f"{len(done)} of {len(images)} images were inspected"
    return seconds


def start(folder: str, kind: str, image: str) -> float:
    """Judge a first image."""
    open_model(kind, folder, kind)
    return judge(kind, [image])["scores"][0]


def load_library() -> None:
    allow_torchvision()
    from anomalib.deploy import OpenVINOInferencer  # noqa: F401


if __name__ == "__main__":
    serve(
        {
            "hello": hello,
            "read_vectors": read_vectors,
            "coreset": coreset,
            "fit": fit,
            "prepare": prepare,
            "open": open_model,
            "judge": judge,
            "folder": judge_folder,
            "start": start,
            "import": load_library,
        }
    )
