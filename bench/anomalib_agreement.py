"""flawmap's PatchCore and PaDiM beside anomalib's: the same weights, the same prepared images, the
same settings.

    make bench-anomalib DATASET=… RESNET18=…     (an environment of its own, with anomalib 2.7.0)

Each line is the largest relative difference of the scores of 40 images. Where two settings differ
between the libraries, one line shows it by default and the next one with flawmap set as anomalib
is."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from flawmap.data.layouts import good_training_samples, labelled_test_samples
from flawmap.engine.batches import Batch
from flawmap.features.backbone import Backbone
from flawmap.memory.bank import Bank
from flawmap.methods import make_method
from flawmap.methods.base import Method
from flawmap.runtime.images.decode import decode
from flawmap.runtime.preprocess import Preprocessing

FITTED, SCORED = 24, 40


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path)
    parser.add_argument("resnet18", type=Path, help="weights for timm's resnet18 up to layer 3")
    arguments = parser.parse_args()
    # Making any backbone first lets torchvision, and with it anomalib, load beside a CPU build of
    # torch.
    Backbone("test_resnet", weights="random")
    good = [sample.path for sample in good_training_samples(arguments.dataset)]
    test = [sample.path for sample in labelled_test_samples(arguments.dataset)]
    fitted = prepare(good[:: len(good) // FITTED][:FITTED])
    test_images = prepare(test[:: len(test) // SCORED][:SCORED])
    patchcore(arguments.resnet18, fitted, test_images)
    padim(arguments.resnet18, fitted, test_images)


def patchcore(weights: Path, fitted: Tensor, test_images: Tensor) -> None:
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel

    def theirs(neighbours: int, bank: Tensor | None = None) -> tuple[Tensor, Tensor]:
        model = PatchcoreModel(
            ["layer2", "layer3"], backbone="resnet18", pre_trained=False, num_neighbors=neighbours
        )
        load(model, weights)
        model.train()
        model.feature_extractor.eval()
        embeddings = torch.vstack([model(batch) for batch in fitted.split(4)])
        model.eval()
        model.memory_bank = embeddings if bank is None else bank
        return score_theirs(model, test_images)

    all_patches = ours("patchcore", weights, fitted, coreset=1.0)
    image, pixel = theirs(1)
    scores = score(all_patches, test_images)
    print_difference("PatchCore, all patches kept: image score", scores[0], image)
    print_difference(
        "  map: bilinear and mirrored border here, nearest and reflected border there",
        scores[1],
        pixel,
    )
    weighted = ours("patchcore-paper", weights, fitted, coreset=1.0)
    print_difference(
        "  re-weighted image score, b = 9", score(weighted, test_images)[0], theirs(9)[0]
    )
    thin: Any = ours("patchcore", weights, fitted, coreset=0.1)
    assert isinstance(thin.bank_, Bank)
    print_difference(
        "  a coreset of 10 %, picked here, in both",
        score(thin, test_images)[0],
        theirs(1, thin.bank_.vectors)[0],
    )


def padim(weights: Path, fitted: Tensor, test_images: Tensor) -> None:
    from anomalib.models.image.padim.torch_model import PadimModel

    plain: Any = ours("padim", weights, fitted)
    model = PadimModel(
        "resnet18", ["layer1", "layer2", "layer3"], pre_trained=False, n_features=100
    )
    load(model, weights)
    model.idx = plain.gaussians_.channels
    model.train()
    model.feature_extractor.eval()
    for batch in fitted.split(4):
        model(batch)
    model.fit()
    model.eval()
    image, pixel = score_theirs(model, test_images)
    scores = score(plain, test_images)
    print_difference("PaDiM, the same 100 channels: image score, ridge 0.01", scores[0], image)
    scores = score(ours("padim", weights, fitted, ridge=0.01 + 1e-5), test_images)
    print_difference("  ridge 0.01001, as anomalib adds 1e-5 to it", scores[0], image)
    print_difference("  the same, maps", scores[1], pixel)
    inside = np.s_[..., 17:-17, 17:-17]
    print_difference(
        "  the same, maps further from the border than the Gaussian reaches",
        scores[1][inside],
        pixel[inside],
    )


def ours(name: str, weights: Path, fitted: Tensor, **options: Any) -> Method:
    method = make_method(name, backbone="resnet18", weights=str(weights), **options)
    return method.fit([Batch(batch, [""] * len(batch)) for batch in fitted.split(4)])


def score(method: Method, test_images: Tensor) -> tuple[Tensor, Tensor]:
    scores = [method.score(batch) for batch in test_images.split(4)]
    image = torch.cat([of_batch.image for of_batch in scores])
    return image, torch.cat([of_batch.pixel for of_batch in scores])


@torch.no_grad()
def score_theirs(model: nn.Module, test_images: Tensor) -> tuple[Tensor, Tensor]:
    outputs = [model(batch) for batch in test_images.split(4)]
    image = torch.cat([output.pred_score.flatten() for output in outputs])
    return image, torch.cat([output.anomaly_map[:, 0] for output in outputs])


def load(model: Any, weights: Path) -> None:
    missing = model.feature_extractor.feature_extractor.load_state_dict(
        load_file(weights), strict=False
    ).missing_keys
    assert not [name for name in missing if "num_batches" not in name], missing


def prepare(paths: list[Path]) -> Tensor:
    # Both networks then see the same numbers; anomalib alone would resize with another filter.
    return torch.from_numpy(np.stack([Preprocessing()(decode(path)) for path in paths]))


def print_difference(what: str, ours: Tensor, theirs: Tensor) -> None:
    difference = (ours - theirs).abs().max() / theirs.abs().max()
    print(f"{what:<85} {float(difference):.1e}")


if __name__ == "__main__":
    main()
