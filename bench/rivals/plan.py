"""How much is measured, and what of: the full plan, and the quick one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

POSITIONS = 28 * 28
"""Patches of an image of 224 × 224, on the grid of layer 2."""

BANK = 5_966
"""1 % of the patches of 761 images."""


@dataclass(frozen=True)
class Network:
    """A backbone as both sides name it.

    Args:
        backbone: timm's name.
        layers: layers 2 and 3, as anomalib names them.
        weights: as flawmap names them; the other side gets a file with the same.
        learned: good images to learn from, where only times with a bank of `BANK` rows are wanted.
    """

    backbone: str
    layers: tuple[str, str]
    weights: str
    learned: int


@dataclass(frozen=True)
class Plan:
    """What to measure, and how often; the defaults are the full plan."""

    dataset: Path
    resnet18: Path | None
    whole: bool = False
    rows: int = 596_624
    channels: int = 128
    picks: int = 60
    coreset_repeats: int = 3
    fit_images: int = 761
    fit_networks: tuple[str, ...] = ("Lite0", "WRN-50-2")
    fit_repeats: int = 2
    judged: int = 30
    rounds: int = 7
    latency_networks: tuple[str, ...] = ("Lite0", "WRN-50-2")
    folder_images: int = 200
    folder_repeats: int = 5
    starts: int = 7
    start_variants: tuple[str, ...] = (
        "f32",
        "bf16",
        "int8",
        "torch",
        "openvino",
        "openvino-fixed",
        "openvino-int8",
    )
    quality_fit: int = 152
    quality_every: int = 1
    learned: dict[str, int] = field(default_factory=lambda: {"Lite0": 761, "WRN-50-2": 100})

    @property
    def quality_networks(self) -> tuple[str, ...]:
        """The backbones with weights that mean something."""
        return tuple(name for name in self.networks if name != "WRN-50-2")

    @property
    def networks(self) -> dict[str, Network]:
        """The backbones by the names of the tables."""
        resnet = ("layer2", "layer3")
        found = {
            "Lite0": Network(
                "tf_efficientnet_lite0", ("blocks.2", "blocks.4"), "embedded", self.learned["Lite0"]
            ),
            "WRN-50-2": Network("wide_resnet50_2", resnet, "random", self.learned["WRN-50-2"]),
        }
        if self.resnet18:
            found["ResNet-18"] = Network("resnet18", resnet, str(self.resnet18.absolute()), 0)
        return found


QUICK = {
    "picks": 10,
    "coreset_repeats": 2,
    "fit_images": 40,
    "fit_networks": ("Lite0",),
    "fit_repeats": 1,
    "judged": 10,
    "rounds": 3,
    "latency_networks": ("Lite0",),
    "folder_images": 40,
    "folder_repeats": 3,
    "starts": 5,
    "start_variants": ("f32", "openvino"),
    "quality_fit": 40,
    "quality_every": 8,
    "learned": {"Lite0": 40, "WRN-50-2": 8},
}
"""Where the quick plan does less."""
