"""Standard output and error that stop no work: whoever reads them, and in whichever encoding.

Letters that a stream's encoding lacks are replaced. What cannot be written, since the reader is
gone or the disk is full, is dropped, and the work goes on.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from flawmap.support.names import as_text

if TYPE_CHECKING:
    from typing_extensions import Buffer

_ERRORS = "flawmap.replace"
"""Name of the handler of letters that a stream lacks."""

_GONE = (errno.EPIPE, errno.EINVAL) if os.name == "nt" else (errno.EPIPE,)
"""What a pipe answers that nobody reads any more."""

_IN_ASCII = str.maketrans(
    {"→": "->", "×": "x", "–": "-", "…": "...", "·": "-", "±": "+-", "≤": "<=", "≥": ">="}
    | dict.fromkeys("─━═╌", "-")
    | dict.fromkeys("│┃║╎", "|")
    | dict.fromkeys("┌┐└┘├┤┬┴┼┏┓┗┛┡┩┢┪┳┻╇╈╭╮╯╰", "+")
)
"""Letters of ours and the lines of tables, for streams that lack them."""


class _PatientFile(io.FileIO):
    """An open file that drops what cannot be written, and says so once.

    Args:
        handle: of the open file; it stays open.
        on_failure: called with the first error that is more than a reader who left.
    """

    def __init__(self, handle: int, on_failure: Callable[[OSError], None] | None) -> None:
        super().__init__(handle, "w", closefd=False)
        self._on_failure = on_failure
        self._dropping = False

    def write(self, data: Buffer) -> int:
        size = memoryview(data).nbytes
        if self._dropping:
            return size
        try:
            return self._write_when_ready(data)
        except OSError as error:
            self._dropping = True
            if self._on_failure and error.errno not in _GONE:
                self._on_failure(error)
            return size

    def _write_when_ready(self, data: Buffer) -> int:
        # None where a pipe is full that somebody else made non-blocking.
        while (written := super().write(data)) is None:
            select.select([], [self], [])
        return written


def prepare_streams() -> None:
    """Make `sys.stdout` and `sys.stderr` such that to print raises no error, from now on."""
    codecs.register_error(_ERRORS, _replace)
    _open_closed_handles()
    sys.stderr = _patient(sys.stderr, None)
    sys.stdout = _patient(sys.stdout, _report)


def _open_closed_handles() -> None:
    """Open the standard streams that are closed, to nowhere.

    Else the first file that is opened becomes standard output, and gets what is printed.
    """
    for handle in range(3):
        try:
            os.fstat(handle)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)


def _patient(stream: TextIO | None, on_failure: Callable[[OSError], None] | None) -> TextIO:
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    if not isinstance(getattr(stream.buffer, "raw", stream.buffer), io.FileIO):
        # Windows' console, which has another class.
        stream.reconfigure(errors=_ERRORS)
        return stream
    raw = _PatientFile(stream.fileno(), on_failure)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=_ERRORS,
        line_buffering=stream.line_buffering,
    )


def _report(error: OSError) -> None:
    reason = f"what to print could not be written ({error.strerror})"
    sys.stderr.write(f"flawmap: {reason}; the work goes on\n")
    sys.stderr.flush()


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = as_text(error.object[error.start : error.end])
    return "".join(_substitute(letter, error.encoding) for letter in text), error.end


def _substitute(letter: str, encoding: str) -> str:
    """What stands for a letter that an encoding lacks."""
    if encoding.startswith("utf") and not "\ud800" <= letter <= "\udfff":
        return letter
    return letter.translate(_IN_ASCII).encode("ascii", "backslashreplace").decode()
