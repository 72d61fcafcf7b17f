"""Standard output and error that stop no work: whoever reads them, and in whichever encoding.

Letters that a stream's encoding lacks are replaced. What cannot be written, since the reader is
gone or the disk is full, is dropped, and the work goes on.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from contextlib import suppress
from typing import TextIO

from flawmap.support.names import as_text

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


class _PatientStream(io.TextIOWrapper):
    """A stream that drops what cannot be written, and says so once where the disk is full.

    Its bytes go through Python's own classes, which write none of them twice when a signal comes.
    """

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._drop_from_now_on(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._drop_from_now_on(error)

    def _drop_from_now_on(self, error: OSError) -> None:
        handle = os.open(os.devnull, os.O_WRONLY)
        os.dup2(handle, self.fileno())
        os.close(handle)
        super().flush()
        if error.errno not in _GONE and self is not sys.stderr:
            reason = f"what to print could not be written ({error.strerror})"
            sys.stderr.write(f"flawmap: {reason}; the work goes on\n")
            sys.stderr.flush()


def prepare_streams() -> None:
    """Make `sys.stdout` and `sys.stderr` such that to print raises no error, from now on."""
    codecs.register_error(_ERRORS, _replace)
    _open_closed_handles()
    sys.stderr = _patient(sys.stderr)
    sys.stdout = _patient(sys.stdout)


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


def _patient(stream: TextIO | None) -> TextIO:
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    if not isinstance(getattr(stream.buffer, "raw", stream.buffer), io.FileIO):
        # Windows' console, which has another class.
        stream.reconfigure(errors=_ERRORS)
        return stream
    handle = stream.fileno()
    if os.name != "nt":
        with suppress(OSError):
            os.set_blocking(handle, True)  # Else a slow reader is an error.
    return _PatientStream(
        io.BufferedWriter(io.FileIO(handle, "w", closefd=False)),
        encoding=stream.encoding,
        errors=_ERRORS,
        line_buffering=stream.line_buffering,
    )


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
