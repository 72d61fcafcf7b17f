"""flawmap's PatchCore and PaDiM beside anomalib's: the same weights, the same prepared images, the
same settings.

    make bench-anomalib DATASET=… RESNET18=…     (an environment of its own, with anomalib 2.7.0)

Each line is the largest relative difference of the scores of 40 images. Where two settings differ
between the libraries, one line shows it as it comes and the next one with flawmap set as anomalib
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
from flawmap.runtime.decode import decode
from flawmap.runtime.preprocess import Preprocessing

FITTED, SCORED = 24, 40


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path)
    parser.add_argument("resnet18", type=Path, help="weights for timm's resnet18 up to layer 3")
    asked = parser.parse_args()
    # Making any backbone first lets torchvision, and with it anomalib, load beside a CPU build of
    # torch.
    Backbone("test_resnet", weights="random")
    good = [sample.path for sample in good_training_samples(asked.dataset)]
    test = [sample.path for sample in labelled_test_samples(asked.dataset)]
    learned = prepare(good[:: len(good) // FITTED][:FITTED])
    new = prepare(test[:: len(test) // SCORED][:SCORED])
    patchcore(asked.resnet18, learned, new)
    padim(asked.resnet18, learned, new)


def patchcore(weights: Path, learned: Tensor, new: Tensor) -> None:
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel

    def theirs(neighbours: int, bank: Tensor | None = None) -> tuple[Tensor, Tensor]:
        model = PatchcoreModel(
            ["layer2", "layer3"], backbone="resnet18", pre_trained=False, num_neighbors=neighbours
        )
        load(model, weights)
        model.train()
        model.feature_extractor.eval()
        embeddings = torch.vstack([model(batch) for batch in learned.split(4)])
        model.eval()
        model.memory_bank = embeddings if bank is None else bank
        return score_theirs(model, new)

    whole = ours("patchcore", weights, learned, coreset=1.0)
    image, pixel = theirs(1)
    scores = score(whole, new)
    say("PatchCore, all patches kept: image score", scores[0], image)
    say(
        "  map: bilinear and mirrored border here, nearest and reflected border there",
        scores[1],
        pixel,
    )
    weighted = ours("patchcore-paper", weights, learned, coreset=1.0)
    say("  re-weighted image score, b = 9", score(weighted, new)[0], theirs(9)[0])
    thin: Any = ours("patchcore", weights, learned, coreset=0.1)
    assert isinstance(thin.bank_, Bank)
    say(
        "  a coreset of 10 %, picked here, in both",
        score(thin, new)[0],
        theirs(1, thin.bank_.vectors)[0],
    )


def padim(weights: Path, learned: Tensor, new: Tensor) -> None:
    from anomalib.models.image.padim.torch_model import PadimModel

    plain: Any = ours("padim", weights, learned)
    model = PadimModel(
        "resnet18", ["layer1", "layer2", "layer3"], pre_trained=False, n_features=100
    )
    load(model, weights)
    model.idx = plain.gaussians_.channels
    model.train()
    model.feature_extractor.eval()
    for batch in learned.split(4):
        model(batch)
    model.fit()
    model.eval()
    image, pixel = score_theirs(model, new)
    scores = score(plain, new)
    say("PaDiM, the same 100 channels: image score, ridge 0.01", scores[0], image)
    scores = score(ours("padim", weights, learned, ridge=0.01 + 1e-5), new)
    say("  ridge 0.01001, as anomalib adds 1e-5 to it", scores[0], image)
    say("  the same, maps", scores[1], pixel)
    inside = np.s_[..., 17:-17, 17:-17]
    say(
        "  the same, maps further from the border than the Gaussian reaches",
        scores[1][inside],
        pixel[inside],
    )


def ours(name: str, weights: Path, learned: Tensor, **options: Any) -> Method:
    method = make_method(name, backbone="resnet18", weights=str(weights), **options)
    return method.fit([Batch(batch, [""] * len(batch)) for batch in learned.split(4)])


def score(method: Method, new: Tensor) -> tuple[Tensor, Tensor]:
    found = [method.score(batch) for batch in new.split(4)]
    return torch.cat([one.image for one in found]), torch.cat([one.pixel for one in found])


@torch.no_grad()
def score_theirs(model: nn.Module, new: Tensor) -> tuple[Tensor, Tensor]:
    found = [model(batch) for batch in new.split(4)]
    return torch.cat([one.pred_score.flatten() for one in found]), torch.cat(
        [one.anomaly_map[:, 0] for one in found]
    )


def load(model: Any, weights: Path) -> None:
    missing = model.feature_extractor.feature_extractor.load_state_dict(
        load_file(weights), strict=False
    ).missing_keys
    assert not [name for name in missing if "num_batches" not in name], missing


def prepare(paths: list[Path]) -> Tensor:
    # Both networks then see the same numbers; anomalib alone would resize with another filter.
    return torch.from_numpy(np.stack([Preprocessing()(decode(path)) for path in paths]))


def say(what: str, ours: Tensor, theirs: Tensor) -> None:
    difference = (ours - theirs).abs().max() / theirs.abs().max()
    print(f"{what:<85} {float(difference):.1e}")


if __name__ == "__main__":
    main()
