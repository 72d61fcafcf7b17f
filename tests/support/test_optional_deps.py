from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flawmap.errors import MissingExtra
from flawmap.support.optional_deps import explain_import_error

WITHOUT_TORCH = "import sys; sys.modules['torch'] = None\n"
"""As on a PC beside a line: what is None among the modules cannot be imported."""


@pytest.mark.parametrize(
    ("module", "extra"),
    [("torch.nn", "fit"), ("nncf", "int8"), ("onnxruntime", "onnx"), ("elpv_dataset", "elpv")],
)
def test_a_missing_package_names_what_to_install(module: str, extra: str) -> None:
    explained = explain_import_error(ImportError(name=module))
    assert isinstance(explained, MissingExtra)
    assert f'pip install "flawmap[{extra}]"' in str(explained)


def test_any_other_failed_import_stays_as_it_is() -> None:
    error = ImportError(name="somebody_elses")
    assert explain_import_error(error) is error


def test_the_command_line_says_it_in_one_line(good_folder: Path) -> None:
    script = WITHOUT_TORCH + "from flawmap.cli import main; main()"
    command = [sys.executable, "-c", script, "fit", str(good_folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert (
        done.stderr.strip()
        == 'flawmap: torch is not installed, and this needs it; pip install "flawmap[fit]"'
    )


def test_so_does_python() -> None:
    script = (
        WITHOUT_TORCH + "import flawmap; print(flawmap.Runtime, flawmap.load); flawmap.Inspector"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert "flawmap.runtime.inference.Runtime" in done.stdout
    assert (
        'MissingExtra: torch is not installed, and this needs it; pip install "flawmap[fit]"'
        in done.stderr
    )
