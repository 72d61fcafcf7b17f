"""The methods by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from flawmap.errors import OptionError
from flawmap.methods import crad, ddad, glass, vqflow
from flawmap.methods.base import Method
from flawmap.methods.crad import CRAD
from flawmap.methods.ddad import DDAD
from flawmap.methods.fr_patchcore import fr_patchcore
from flawmap.methods.glass import GLASS
from flawmap.methods.improved_patchcore import improved_patchcore
from flawmap.methods.padim import PaDiM
from flawmap.methods.patchcore import PatchCore
from flawmap.methods.patchcore_presets import (
    patchcore_official,
    patchcore_paper,
    patchcore_resnet18,
)
from flawmap.methods.rail_patchcore import rail_patchcore
from flawmap.methods.sa_patchcore import sa_patchcore
from flawmap.methods.spade import SPADE
from flawmap.methods.trained_base import Preset
from flawmap.methods.vqflow import VQFlow


@dataclass(frozen=True)
class MethodEntry:
    """A method to choose by name.

    Args:
        make: takes options, gives the method.
        source: whose it is, and when.
        learns: what it learns from good images.
        stores: what that takes beside the backbone, for 500 images at 224 px with WideResNet-50-2
            (where the method does not name another).
        reconstruction: whether its article leaves so much open that it had to be made up here.
        presets: settings that belong together, by name.
    """

    factory: Callable[..., Method]
    citation: str
    learned: str
    storage: str
    reconstruction: bool = False
    presets: Mapping[str, Preset] = field(default_factory=dict)


METHODS: dict[str, MethodEntry] = {
    "patchcore": MethodEntry(
        PatchCore, "Roth et al. 2022", "1 % of the patch vectors, averaged over 3×3", "24 MB"
    ),
    "patchcore-official": MethodEntry(
        patchcore_official,
        "Roth et al. 2022, their code",
        "10 % of the patch vectors, pooled to 1024",
        "161 MB",
    ),
    "patchcore-paper": MethodEntry(
        patchcore_paper,
        "Roth et al. 2022, eqs. 6–7",
        "the same as patchcore; scores are re-weighted",
        "24 MB",
    ),
    "patchcore-resnet18": MethodEntry(
        patchcore_resnet18, "Du and Zhang 2023", "1 % of the patch vectors of ResNet-18", "6 MB"
    ),
    "sa-patchcore": MethodEntry(
        sa_patchcore,
        "Ishida et al. 2023",
        "1 % of the patch vectors, each channel self-attending",
        "24 MB",
    ),
    "rail-patchcore": MethodEntry(
        rail_patchcore,
        "Zhang et al. 2025",
        "1 % of the patch vectors of gated maps",
        "24 MB",
        reconstruction=True,
    ),
    "fr-patchcore": MethodEntry(
        fr_patchcore,
        "Jiang et al. 2024",
        "a registration from pairs; 1 % of the patch vectors of registered maps",
        "45 MB",
        reconstruction=True,
    ),
    "improved-patchcore": MethodEntry(
        improved_patchcore,
        "Li et al. 2025",
        "1 % of the patch vectors, half self-attending, aggregated to a tenth",
        "2 MB",
    ),
    "padim": MethodEntry(
        PaDiM,
        "Defard et al. 2021",
        "at each place, mean and covariance of 550 random channels",
        "3.8 GB",
    ),
    "spade": MethodEntry(
        SPADE,
        "Cohen and Hoshen 2020",
        "all maps of all images; compares with the 50 most alike",
        "2.8 GB",
    ),
    "glass": MethodEntry(
        GLASS,
        "Chen et al. 2024",
        "what tells patch vectors from such pushed away from them, and from painted defects",
        "16 MB",
        presets=glass.PRESETS,
    ),
    "crad": MethodEntry(
        CRAD,
        "Lee et al. 2024",
        "grids of features, and how to put good maps together from them",
        "0.3 GB",
        presets=crad.PRESETS,
    ),
    "vqflow": MethodEntry(
        VQFlow,
        "Zhou et al. 2024",
        "how likely maps are, given prototypes of images and patterns of places",
        "0.5 GB",
        presets=vqflow.PRESETS,
    ),
    "ddad": MethodEntry(
        DDAD,
        "Mousakhan et al. 2024",
        "to take noise from good images; a backbone that overlooks what that leaves",
        "0.1 GB",
        presets=ddad.PRESETS,
    ),
}

CLASSES: dict[str, type[Method]] = {
    "CRAD": CRAD,
    "DDAD": DDAD,
    "GLASS": GLASS,
    "PaDiM": PaDiM,
    "PatchCore": PatchCore,
    "SPADE": SPADE,
    "VQFlow": VQFlow,
}
"""What the recipes make, as saved files name it."""


def make_method(name: str, preset: str | None = None, **options: Any) -> Method:
    """Make a method by its name.

    Args:
        name: among `METHODS`.
        preset: settings to begin with, among those of the method; None for its own defaults.
        options: what is to be otherwise.

    Raises:
        OptionError: no method has that name, or it has no such option or preset.
    """
    recipe = get_entry(name)
    known = {field.name for field in fields(recipe.factory())}
    if unknown := [option for option in options if option not in known]:
        raise OptionError(
            f"{name} has no option {', '.join(unknown)}; it has {', '.join(sorted(known))}"
        )
    return recipe.factory(**{**(get_preset(name, preset).options if preset else {}), **options})


def get_preset(name: str, preset: str) -> Preset:
    """Give settings of a method by their name.

    Raises:
        OptionError: no method has that name, or it has no such preset.
    """
    presets = get_entry(name).presets
    if preset not in presets:
        others = [other for other, recipe in METHODS.items() if recipe.presets]
        known = (
            f"it has {', '.join(presets)}"
            if presets
            else f"of the methods {', '.join(others)} have presets"
        )
        raise OptionError(f"{name} has no preset {preset!r}; {known}")
    return presets[preset]


def get_entry(name: str) -> MethodEntry:
    """Give what is known of a method.

    Raises:
        OptionError: no method has that name.
    """
    if name not in METHODS:
        raise OptionError(f"there is no method {name!r}; there are {', '.join(METHODS)}")
    return METHODS[name]
