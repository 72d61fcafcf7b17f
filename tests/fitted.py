"""Saved inspectors that the tests beside a line share, and which torch alone can make.

    python tests/fitted.py FOLDER

writes them where torch is; the tests take them from there where the environment variable
FLAWMAP_FITTED names the folder, so that they need no torch and prove that a file of another
Python, and of other versions, scores alike (`make test-runtime`).
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from helpers import SMALL, TINY, run, save, texture, with_defect

_SCORES = "scores.json"
_CLI, _RUNTIME = "cli.flawmap", "runtime.flawmap"


def given_folder() -> Path | None:
    """Where saved inspectors of another Python lie; None where there are none."""
    folder = os.environ.get("FLAWMAP_FITTED")
    return Path(folder) if folder else None


def cli_part(folder: Path) -> Path:
    """The inspector of the command line's tests, `part.flawmap` in the folder."""
    for seed in range(20):
        save(folder / "good parts (散热片)" / f"{seed:02}.png", texture(seed))
    file = folder / "part.flawmap"
    if given := given_folder():
        shutil.copyfile(given / _CLI, file)
    else:
        code, output = run("fit", folder / "good parts (散热片)", "-o", file, *SMALL)
        assert code == 0, output
    return file


def runtime_part(folder: Path) -> Path:
    """The inspector of the runtime's tests; images of another aspect are letterboxed."""
    file = folder / "part.flawmap"
    if given := given_folder():
        shutil.copyfile(given / _RUNTIME, file)
    else:
        from flawmap import Inspector

        good = [texture(seed) for seed in range(15)]
        Inspector(size=(64, 96), false_rejects=0.1, **TINY).fit(good).save(file)
    return file


def scores_of(file: Path) -> list[float]:
    """What a saved inspector says of some images, the bad one last."""
    from flawmap import load

    images = [texture(seed, 80, 120) for seed in range(30, 34)]
    images.append(with_defect(texture(90, 80, 120), 40, 60))
    runtime = load(file)
    return [runtime.inspect(image).score for image in images]


def expected_scores(folder: Path) -> dict[str, list[float]]:
    """What the inspectors in a folder said where they were made, by their names."""
    scores: dict[str, list[float]] = json.loads((folder / _SCORES).read_text("utf-8"))
    return scores


def main(folder: Path) -> None:
    """Make the inspectors in a folder, and note what they say."""
    folder.mkdir(parents=True, exist_ok=True)
    cli_part(folder).replace(folder / _CLI)
    runtime_part(folder).replace(folder / _RUNTIME)
    scores = {name: scores_of(folder / name) for name in (_CLI, _RUNTIME)}
    (folder / _SCORES).write_text(json.dumps(scores), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
