"""Presets of the trained methods: settings that belong together, by name.

`cpu` applies where none is asked for, `paper` is what was published, `smoke` shows in seconds that
it runs. The test images of the papers choose nothing here.
"""

from __future__ import annotations

from flawmap.features.diffusion import NUM_TIMESTEPS
from flawmap.methods.preset import Preset

_CRAD: dict[str, Preset] = {
    "cpu": Preset("about ten minutes on two cores"),
    "paper": Preset(
        "as published, for a GPU",
        options={
            "backbone": "tf_efficientnet_b4",
            "epochs": 50,
            "batch_size": 64,
            "blocks": 11,
            "expansion": 2.0,
            "lr_decay_epochs": 40,
        },
    ),
    "smoke": Preset(
        "seconds, to see that it runs", options={"epochs": 2, "batch_size": 4, "blocks": 1}
    ),
}
"""The paper's batches of 64 are 16 on each of four GPUs, with batch statistics of 16 each."""

_DDAD: dict[str, Preset] = {
    "cpu": Preset("about ten minutes on two cores"),
    "paper": Preset(
        "as published with one setting for all classes, for a GPU and hours",
        size=256,
        options={
            "backbone": "wide_resnet101_2.tv_in1k",
            "epochs": 2000,
            "max_images_per_epoch": None,
            "adapt_epochs": 4,
            "batch_size": 32,
            "downscale": 1,
            "base_channels": 64,
            "channel_multipliers": (1, 1, 2, 2, 4, 4),
            "blocks_per_scale": 2,
            "timesteps": NUM_TIMESTEPS,
            "learning_rate": 3e-4,
        },
    ),
    "smoke": Preset(
        "seconds, to see that it runs",
        options={
            "epochs": 2,
            "batch_size": 4,
            "base_channels": 8,
            "heads": 2,
            "channel_multipliers": (1, 2),
            "attention_from_scale": 1,
            "adapt_epochs": 0,
        },
    ),
}

_GLASS: dict[str, Preset] = {
    "cpu": Preset(
        "about ten minutes on two cores", options={"epochs": 90, "max_images_per_epoch": 400}
    ),
    "paper": Preset(
        "as published, for a GPU",
        size=288,
        options={
            "backbone": "wide_resnet50_2.tv_in1k",
            "epochs": 640,
            "max_images_per_epoch": 392,
            "target_rms": None,
            "noise_std": 0.015,
            "ascent_steps": 20,
            "ascent_step_size": 0.001,
        },
    ),
    "smoke": Preset(
        "seconds, to see that it runs",
        options={
            "epochs": 2,
            "max_images_per_epoch": 8,
            "batch_size": 4,
            "ascent_steps": 2,
            "hidden": 16,
        },
    ),
}
"""The lengths of the paper's preset are for its backbone's vectors."""

_VQFLOW: dict[str, Preset] = {
    "cpu": Preset("about ten minutes on two cores"),
    "paper": Preset(
        "as published, for a GPU",
        size=384,
        options={
            "backbone": "convnextv2_base",
            "epochs": 60,
            "max_images_per_epoch": None,
            "prototypes": 32,
            "patterns": 512,
            "prototype_dim": 512,
            "position_dim": 64,
            "warmup_epochs": 10,
        },
    ),
    "smoke": Preset(
        "seconds, to see that it runs",
        options={
            "epochs": 2,
            "batch_size": 4,
            "learning_rate": 1e-3,
            "warmup_epochs": 0,
            "prototype_dim": 16,
            "position_dim": 4,
            "patterns": 8,
            "prototypes": 4,
            "flow_steps": (1, 1, 1),
        },
    ),
}

TRAINED_PRESETS = {"crad": _CRAD, "ddad": _DDAD, "glass": _GLASS, "vqflow": _VQFLOW}
"""The presets of each trained method, by the method's name."""
