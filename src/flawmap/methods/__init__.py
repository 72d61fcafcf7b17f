"""The methods by name: flawmap's own, registered ones, and those of installed packages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from flawmap.errors import OptionError
from flawmap.methods.base import Method
from flawmap.methods.crad import CRAD
from flawmap.methods.ddad import DDAD
from flawmap.methods.flawmap import PRESETS as FLAWMAP_PRESETS
from flawmap.methods.flawmap import flawmap
from flawmap.methods.fr_patchcore import fr_patchcore
from flawmap.methods.glass import GLASS
from flawmap.methods.improved_patchcore import IMPROVED_PRESETS, improved_patchcore
from flawmap.methods.padim import PaDiM
from flawmap.methods.patchcore import PatchCore
from flawmap.methods.patchcore_presets import (
    patchcore_official,
    patchcore_paper,
    patchcore_resnet18,
)
from flawmap.methods.preset import Preset
from flawmap.methods.rail_patchcore import rail_patchcore
from flawmap.methods.sa_patchcore import sa_patchcore
from flawmap.methods.spade import SPADE
from flawmap.methods.trained_presets import TRAINED_PRESETS
from flawmap.methods.vqflow import VQFlow
from flawmap.support.registry import Registry


@dataclass(frozen=True)
class MethodEntry:
    """A method to choose by name.

    Args:
        factory: a method class, or a function that takes its options and returns the method.
        citation: whose method it is, and of which year.
        learned: what is learned from good images, in a few words.
        storage: what that takes beside the backbone, for 500 images at 224 px with
            WideResNet-50-2 (where the method does not name another).
        reconstruction: whether its article leaves so much open that flawmap had to fill it in.
        presets: settings that belong together, by name.
        default_preset: which of them applies where none is asked for; empty for none, which leaves
            the factory's own defaults.

    Raises:
        OptionError: the default preset is not among the presets.

    Example:
        >>> entry = MethodEntry(lambda **options: PatchCore(coreset=0.1, **options), "our own")
        >>> entry.factory(sigma=2.0).coreset
        0.1
    """

    factory: Callable[..., Method]
    citation: str = ""
    learned: str = ""
    storage: str = ""
    reconstruction: bool = False
    presets: Mapping[str, Preset] = field(default_factory=dict)
    default_preset: str = ""

    def __post_init__(self) -> None:
        if self.default_preset and self.default_preset not in self.presets:
            raise OptionError(
                f"the default preset {self.default_preset!r} is not among the presets "
                f"{', '.join(self.presets)}"
            )


class _Methods(Registry[MethodEntry]):
    """Entries by name; a method class stands for an entry that makes it."""

    def accept(self, value: object) -> MethodEntry:
        if isinstance(value, MethodEntry):
            return value
        if isinstance(value, type) and issubclass(value, Method):
            first_line = (value.__doc__ or "").strip().partition("\n")[0]
            return MethodEntry(value, learned=first_line)
        raise OptionError(f"{value!r} is neither a MethodEntry nor a class with the base Method")

    def class_of(self, entry: MethodEntry) -> type[Method]:
        if isinstance(entry.factory, type):
            return entry.factory
        return type(entry.factory())


METHODS = _Methods(
    "method",
    "flawmap.methods",
    {
        "patchcore": MethodEntry(
            PatchCore, "Roth et al. 2022", "1 % of the patch vectors, averaged over 3×3", "24 MB"
        ),
        # Second, since a saved file names the first method of its class.
        "flawmap": MethodEntry(
            flawmap,
            "this software, after Roth et al. 2022",
            "5,000 patch vectors of finer maps; the mean of the highest distances",
            "31 MB",
            presets=FLAWMAP_PRESETS,
            default_preset="balanced",
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
            presets=IMPROVED_PRESETS,
            default_preset="scaled",
        ),
        "padim": MethodEntry(
            PaDiM,
            "Defard et al. 2021",
            "at each position, mean and covariance of 550 random channels",
            "3.8 GB",
        ),
        "spade": MethodEntry(
            SPADE,
            "Cohen and Hoshen 2020",
            "all maps of all images; compares with the 50 most similar",
            "2.8 GB",
        ),
        "glass": MethodEntry(
            GLASS,
            "Chen et al. 2024",
            "to tell patch vectors from the same pushed away, and from painted defects",
            "16 MB",
            presets=TRAINED_PRESETS["glass"],
            default_preset="cpu",
        ),
        "crad": MethodEntry(
            CRAD,
            "Lee et al. 2024",
            "grids of features, and how to put good maps together from them",
            "0.3 GB",
            presets=TRAINED_PRESETS["crad"],
            default_preset="cpu",
        ),
        "vqflow": MethodEntry(
            VQFlow,
            "Zhou et al. 2024",
            "how likely maps are, given prototypes of images and patterns of positions",
            "0.5 GB",
            presets=TRAINED_PRESETS["vqflow"],
            default_preset="cpu",
        ),
        "ddad": MethodEntry(
            DDAD,
            "Mousakhan et al. 2024",
            "to take noise from good images; a backbone that overlooks what that leaves",
            "0.1 GB",
            presets=TRAINED_PRESETS["ddad"],
            default_preset="cpu",
        ),
    },
)
"""All methods by name; `METHODS["padim"]` is a `MethodEntry`."""


def register(name: str, entry: MethodEntry | type[Method]) -> None:
    """Add a method of your own; it can be chosen by its name at once.

    A package does so for all processes by an entry point; see docs/plugins.md.

    Args:
        name: what it is chosen by, in Python, after `--method`, and in saved files.
        entry: what is known of it, or the class alone.

    Raises:
        OptionError: the name is taken, or the object is no method.

    Example:
        >>> register("patchcore-large", MethodEntry(lambda **options: PatchCore(coreset=0.25)))
        >>> make_method("patchcore-large").coreset
        0.25
    """
    METHODS.register(name, entry)


def make_method(name: str, preset: str | None = None, **options: Any) -> Method:
    """The method of a name.

    Args:
        name: among `METHODS`.
        preset: settings to begin with, among those of the method; None for its default preset,
            or its own defaults where it has none.
        options: those that are to have other values.

    Raises:
        OptionError: no method has that name, or it has no such option or preset.

    Example:
        >>> make_method("padim", channels=100).channels
        100
    """
    entry = METHODS[name]
    available = {field.name for field in fields(METHODS.class_of(entry))}
    unknown = [option for option in options if option not in available]
    if unknown:
        raise OptionError(
            f"{name} has no option {', '.join(unknown)}; it has {', '.join(sorted(available))}"
        )
    return entry.factory(**{**get_preset(name, preset).options, **options})


def get_preset(name: str, preset: str | None = None) -> Preset:
    """The settings of a method that have a name.

    Args:
        name: of the method, among `METHODS`.
        preset: of the settings; None for those that apply where none are asked for.

    Raises:
        OptionError: no method has that name, or it has no such preset.

    Example:
        >>> get_preset("glass", "paper").size
        288
    """
    presets = METHODS[name].presets
    if preset is None:
        default = METHODS[name].default_preset
        return presets[default] if default else Preset("the method's own defaults")
    if preset in presets:
        return presets[preset]
    if presets:
        raise OptionError(f"{name} has no preset {preset!r}; it has {', '.join(presets)}")
    others = [other for other, entry in METHODS.items() if entry.presets]
    raise OptionError(
        f"{name} has no preset {preset!r}, nor any other; of the methods {', '.join(others)} have "
        "presets"
    )
