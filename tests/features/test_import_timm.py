from __future__ import annotations

import subprocess
import sys

from helpers import needs_fit

pytestmark = needs_fit

BROKEN_TORCHVISION = """
import importlib.abc, importlib.util, sys

import torch

tries = []

class Broken(importlib.abc.Loader, importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision" and not tries:
            return importlib.util.spec_from_loader(name, self)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        tries.append(module)
        sys.modules["torchvision.half_loaded"] = module
        raise RuntimeError("operator torchvision::nms does not exist")

sys.meta_path.insert(0, Broken())
from flawmap.features.import_timm import import_timm

timm = import_timm()
assert len(tries) == 1
assert "torchvision.half_loaded" not in sys.modules
assert timm.is_model("resnet18")
assert torch.ops.torchvision.nms
print("timm is here")
"""


def test_timm_comes_where_torchvision_cannot_load_its_operators() -> None:
    command = [sys.executable, "-c", BROKEN_TORCHVISION]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "timm is here", done.stderr
