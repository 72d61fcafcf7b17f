from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers import save, texture, with_defect


@pytest.fixture(scope="session")
def products(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two products of six good training images, three good and three spotted test images."""
    root = tmp_path_factory.mktemp("products")
    for number, product in enumerate(("left", "right")):
        for seed in range(6):
            save(root / product / "train/good" / f"{seed}.png", texture(100 * number + seed))
        for seed in range(6, 9):
            image = texture(100 * number + seed)
            spotted = with_defect(image, 20 + 3 * seed, 30)
            save(root / product / "test/good" / f"{seed}.png", image)
            save(root / product / "test/spot" / f"{seed}.png", spotted)
            mask = 255 * (spotted != image).any(axis=2).astype(np.uint8)
            save(root / product / "ground_truth/spot" / f"{seed}_mask.png", mask)
    return root
