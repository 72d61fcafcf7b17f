"""Where the attention of the improved PatchCore goes: over how many positions a position's weight
is spread, and how much of it stays on the position itself.

    python bench/attention.py DATASET [--backbone resnet18 --weights FILE]

By each way to compare positions, of the first half of layer 3's channels, at 224 px, mean over
positions of 16 good images. The number of positions is exp of the weights' entropy: 1 if a position
copies a single one, all of them if it takes the mean of the image."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from einops import rearrange

from flawmap.data.layouts import good_training_samples
from flawmap.engine.batches import Batches
from flawmap.features.attention import attention_weights, cosine_attention_weights
from flawmap.features.backbone import Backbone
from flawmap.runtime.preprocess import Preprocessing

IMAGES = 16


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--weights")
    given = parser.parse_args()
    network = Backbone(given.backbone, (3,), given.weights)
    preprocessing = Preprocessing(224, 224, network.mean, network.std)
    paths = [sample.path for sample in good_training_samples(given.dataset)][:IMAGES]
    (batch,) = Batches(paths, preprocessing, IMAGES)
    with torch.inference_mode():
        (features,) = network(batch.images)
    tokens = rearrange(features[:, : features.shape[1] // 2], "b c h w -> b (h w) c")
    print(
        f"{given.backbone} on {given.dataset.name}: vectors {tokens.norm(dim=-1).mean():.1f} long"
    )
    for attend, weigh in (("tokens", attention_weights), ("cosine", cosine_attention_weights)):
        weights = weigh(tokens)
        looked_at = torch.distributions.Categorical(weights).entropy().exp().mean()
        own = weights.diagonal(dim1=1, dim2=2).mean()
        print(
            f"attend={attend}: a position looks at {looked_at:.1f} of {tokens.shape[1]}, "
            f"{100 * own:.1f} % of the weight on itself"
        )


if __name__ == "__main__":
    main()
