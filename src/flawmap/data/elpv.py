"""ELPV: electroluminescence images of solar cells as a data set in MVTec AD layout.

Electroluminescence images of 300×300 pixels by Deitsch et al. 2019, "Automatic classification of
defective photovoltaic module cells in electroluminescence images", in the package `elpv-dataset`
under CC BY-NC-SA 4.0: for research, not for sale, and to be passed on only under the same terms.
The user's pip downloads it; nothing of it is flawmap's. It has no masks.

Of its 2,624 cells only monocrystalline ones are taken, and of these the ones that the experts were
sure of.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from flawmap.data.layouts import find_samples
from flawmap.data.sample import GOOD, Sample
from flawmap.data.splits import SplitFractions, assign_splits
from flawmap.errors import DatasetError, WriteError
from flawmap.support.atomic import atomic_folder
from flawmap.support.optional_deps import explain_import_error
from flawmap.support.progress import track

_DEFECTIVE = "defective"
"""Defect type of a defective cell."""

_MATERIAL = "mono"
"""Polycrystalline cells have a grain of their own each, beside which a defect is not anomalous."""

_LABELS = {0.0: GOOD, 1.0: _DEFECTIVE}
"""Defect type by the probability of a defect.

Of cells with a probability between, nobody can say which verdict is right.
"""

_FRACTIONS = SplitFractions(train=0.75, calibration=0.0, test=0.25)
"""Of the good cells; the defective ones are all to test."""


def list_samples() -> list[Sample]:
    """The cells where the package keeps them, split by their file names.

    The split is the same on every machine.

    Raises:
        MissingExtra: the package is not installed.
        DatasetError: it is another one than flawmap knows.
    """
    return assign_splits(list(_labelled(_installed())), _FRACTIONS)


def write_elpv(folder: Path) -> None:
    """Write the cells to a folder in MVTec AD layout, unless they are there.

    It has `train/good`, `test/good` and `test/defective`. The folder is there when it is complete,
    or not at all.

    Args:
        folder: path of the folder.

    Raises:
        MissingExtra: the package is not installed.
        DatasetError: the folder holds something else, which stays as it is.
        WriteError: there is no space or no permission.
    """
    samples = list_samples()
    if _holds(folder, samples):
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DatasetError(
            f"{folder} holds other things than the {len(samples)} cells of ELPV; name another "
            "folder"
        )
    try:
        with atomic_folder(folder) as temporary:
            for sample in track(samples, "copying ELPV cells", len(samples)):
                _copy(sample, temporary / sample.split / sample.defect_type)
    except WriteError:
        # Another process may have been quicker with the same.
        if not _holds(folder, samples):
            raise


def _installed() -> Path:
    try:
        import elpv_dataset
    except ImportError as error:
        raise explain_import_error(error) from error
    return Path(elpv_dataset.__file__).parent / "data"


def _labelled(data: Path) -> Iterator[Sample]:
    labels = data / "labels.csv"
    try:
        for line in labels.read_text(encoding="utf-8").splitlines():
            path, probability, material = line.split()
            if material == _MATERIAL and float(probability) in _LABELS:
                yield Sample(data / path, "train", _LABELS[float(probability)])
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{labels}: not a list of cells as elpv-dataset 1.0.0 has it ({error}); install that "
            "version"
        ) from error


def _holds(folder: Path, samples: Sequence[Sample]) -> bool:
    try:
        return _contents(find_samples(folder)) == _contents(samples)
    except DatasetError:
        return False


def _contents(samples: Sequence[Sample]) -> set[tuple[str, str, str, int]]:
    return {
        (sample.split, sample.defect_type, sample.path.name, sample.path.stat().st_size)
        for sample in samples
    }


def _copy(sample: Sample, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(sample.path, folder / sample.path.name)
