from __future__ import annotations

import subprocess
import sys

import flawmap


def test_every_public_name_is_there() -> None:
    assert sorted(flawmap.__all__) == dir(flawmap)
    assert all(getattr(flawmap, name).__doc__ for name in flawmap.__all__ if name != "METHODS")


def test_importing_flawmap_imports_nothing_heavy() -> None:
    script = "import sys, flawmap; print([name for name in ('torch', 'timm', 'cv2') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
