"""A folder in which a fit keeps what it extracted: less memory, and a stopped fit goes on."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from flawmap.errors import OptionError, WriteError
from flawmap.memory.scratch_rows import ScratchRows
from flawmap.support.atomic import append_line
from flawmap.support.tables import write_json

_KEY = "fit.json"
_JOURNAL = "journal.jsonl"


class Scratch:
    """A folder of extracted vectors, with a journal of what is complete in it.

    Args:
        folder: is made by `open`, with its parents.

    Example:
        >>> scratch = Scratch(getfixture("tmp_path") / "part.scratch")
        >>> scratch.open({"stride": 8})
        >>> scratch.rows("vectors", 2, torch.float16).append(torch.ones(3, 2))
        >>> scratch.record({"images": 1})
        >>> scratch.journal()
        [{'images': 1}]
        >>> scratch.remove()
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, key: Mapping[str, Any]) -> None:
        """Take the folder for a fit; what an earlier run of the same fit left is kept.

        Args:
            key: all that the contents depend on, by name, as JSON can hold it.

        Raises:
            OptionError: the folder belongs to another fit.
            WriteError: it cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._check_key(json.loads(json.dumps(key)))
        except OSError as error:
            raise WriteError(f"{self.folder}: cannot be used ({error.strerror})") from error

    def rows(self, name: str, channels: int, dtype: torch.dtype) -> ScratchRows:
        """Rows in a file of the folder, with those that are there.

        Args:
            name: of the file.
            channels: numbers of a row.
            dtype: of the numbers, float16 or float32.
        """
        return ScratchRows(self.folder / name, channels, dtype)

    def journal(self) -> list[dict[str, Any]]:
        """What was recorded, in order; half a line, of a run that was killed, is cut off."""
        file = self.folder / _JOURNAL
        content = file.read_bytes() if file.exists() else b""
        complete = content[: content.rfind(b"\n") + 1]
        if complete != content:
            os.truncate(file, len(complete))
        return [json.loads(line) for line in complete.splitlines()]

    def record(self, entry: Mapping[str, Any]) -> None:
        """Add an entry to the journal: what it tells of is complete in the folder.

        Args:
            entry: as JSON can hold it.

        Raises:
            WriteError: there is no space.
        """
        append_line(self.folder / _JOURNAL, json.dumps(entry).encode() + b"\n")

    def remove(self) -> None:
        """Delete the folder, when the fit is saved."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _check_key(self, key: dict[str, Any]) -> None:
        file = self.folder / _KEY
        if not file.exists():
            write_json(file, key)
            return
        earlier = json.loads(file.read_text())
        if earlier != key:
            different = [name for name in {**earlier, **key} if earlier.get(name) != key.get(name)]
            raise OptionError(
                f"{self.folder}: was left by another fit, with other {', '.join(different)}; "
                "repeat that command to finish it, or delete the folder to begin anew"
            )
