from __future__ import annotations

from pathlib import Path

import numpy as np

from flawmap.render.curves import plot_losses
from flawmap.render.encode import write_image
from flawmap.runtime.images.decode import decode
from flawmap.support.own_images import is_own_image
from helpers import save, texture


def test_what_flawmap_draws_is_known_wherever_it_lies(tmp_path: Path) -> None:
    image = texture(0)
    write_image(tmp_path / "overlay.png", image)
    (tmp_path / "moved.png").write_bytes((tmp_path / "overlay.png").read_bytes())
    assert is_own_image(tmp_path / "moved.png")
    assert np.array_equal(decode(tmp_path / "moved.png"), image)
    (tmp_path / "curves.png").write_bytes(plot_losses([{"loss": 1.0}]))
    assert is_own_image(tmp_path / "curves.png")


def test_what_others_draw_is_not(tmp_path: Path) -> None:
    (tmp_path / "short.png").write_bytes(b"\x89PNG")
    (tmp_path / "folder.png").mkdir()
    names = ["short.png", "folder.png", "missing.png"]
    names.append(save(tmp_path / "another.png", texture(0)).name)
    assert not any(is_own_image(tmp_path / name) for name in names)
