"""The learning curve of a method that is trained: figures after so many epochs, each going on from
the last if it can.

    python bench/curve.py DATASET METHOD EPOCHS,EPOCHS… [--backbone resnet18 --weights FILE]

A fifth of the good images is held out. `painted` is the AUROC of these against the same with a
painted defect; `test` that of the test images, for the record: nothing is chosen by it."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from flawmap.data.layouts import good_training_samples, labelled_test_samples
from flawmap.engine.batches import Batches
from flawmap.methods import make_method
from flawmap.methods.base import Method
from flawmap.methods.trained_base import TrainedMethod
from flawmap.runtime.image_types import ImageInput
from flawmap.runtime.images.decode import decode
from flawmap.runtime.preprocess import Preprocessing
from flawmap.synthetic.defects import paint_defect


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path)
    parser.add_argument("method")
    parser.add_argument("epochs", type=lambda text: [int(number) for number in text.split(",")])
    parser.add_argument("--backbone")
    parser.add_argument("--weights")
    arguments = parser.parse_args()
    options = (
        {"backbone": arguments.backbone, "weights": arguments.weights} if arguments.backbone else {}
    )
    good = [sample.path for sample in good_training_samples(arguments.dataset)]
    test = labelled_test_samples(arguments.dataset)
    held_out = good[::5]
    rng = np.random.default_rng(0)
    training = [path for index, path in enumerate(good) if index % 5]
    painted = [paint_defect(decode(path), rng).pixels for path in held_out]
    with tempfile.TemporaryDirectory() as folder:
        for epochs in arguments.epochs:
            method = make_method(arguments.method, "cpu", **options, epochs=epochs)
            preprocessing = Preprocessing(
                224, 224, method.feature_extractor.mean, method.feature_extractor.std
            )
            assert isinstance(method, TrainedMethod)
            method.fit(Batches(training, preprocessing), Path(folder))
            of_held_out, of_painted, of_test = (
                scores(method, images, preprocessing)
                for images in (held_out, painted, [sample.path for sample in test])
            )
            by_painted = roc_auc_score(
                [0] * len(held_out) + [1] * len(painted), of_held_out + of_painted
            )
            by_test = roc_auc_score([sample.label for sample in test], of_test)
            seconds = sum(epoch.seconds for epoch in method.history_)
            print(
                f"{arguments.method} after {epochs} epochs, {seconds:.0f} s: painted "
                f"{100 * by_painted:.2f}, test "
                f"{100 * by_test:.2f}",
                flush=True,
            )


def scores(
    method: Method, images: Sequence[ImageInput], preprocessing: Preprocessing
) -> list[float]:
    return [
        score
        for batch in Batches(images, preprocessing)
        for score in method.score(batch.images).image.tolist()
    ]


if __name__ == "__main__":
    main()
