"""What users hand over as an image, and the file's bytes or the pixels in it."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import numpy as np

from flawmap.errors import ImageError
from flawmap.runtime.image_types import ImageInput, PillowImage, ReadableFile, TorchTensor

_WHAT_TO_GIVE = (
    "give a path, the bytes of a file, an open file, a Pillow image, a torch tensor, or "
    "numpy.asarray(image)"
)
_CHANNELS = (1, 3, 4)


def name_of(image_input: ImageInput) -> str:
    """An image as messages name it: its path, or what kind of object it is.

    Args:
        image_input: the image as it was given.

    >>> name_of(b"abc"), name_of(Path("new.png"))
    ('<3 bytes>', 'new.png')
    """
    if isinstance(image_input, type):
        return repr(image_input)
    if isinstance(image_input, str | os.PathLike):
        return os.fsdecode(image_input)
    if isinstance(image_input, bytes | bytearray | memoryview):
        return f"<{_size_of(image_input)} bytes>"
    if isinstance(image_input, np.ndarray):
        return f"<array {image_input.shape} {image_input.dtype}>"
    if isinstance(image_input, TorchTensor):
        return f"<tensor {tuple(image_input.shape)} {image_input.dtype}>"
    file = getattr(image_input, "name", None) or getattr(image_input, "filename", None)
    if isinstance(file, str | os.PathLike) and os.fspath(file):
        return os.fsdecode(file)
    if isinstance(image_input, PillowImage):
        return "<image {}×{} {}>".format(*image_input.size, image_input.mode)
    return f"<{type(image_input).__name__}>"


def read_input(image_input: ImageInput) -> bytes | np.ndarray:
    """The bytes of a file, or an array (height, width[, channel]) in RGB order of any type.

    Args:
        image_input: the image as it was given.

    Raises:
        ImageError: it cannot be read, or is none of what an image may be given as; the message does
            not name it.
    """
    if isinstance(image_input, bytes | np.ndarray):
        return image_input
    if isinstance(image_input, type):
        raise ImageError(f"is a class, no image; {_WHAT_TO_GIVE}")
    if isinstance(image_input, str | os.PathLike):
        return _read_path(image_input)
    if isinstance(image_input, bytearray | memoryview):
        return _from_buffer(image_input)
    if isinstance(image_input, TorchTensor):
        return _from_tensor(image_input)
    if isinstance(image_input, PillowImage):
        from flawmap.runtime.images.pillow_image import pixels_of

        pixels = pixels_of(image_input)
        return pixels[:, :, :1] if pixels.shape[2] == 2 else pixels
    if isinstance(image_input, ReadableFile):
        return _read_stream(image_input)
    raise ImageError(f"is no image; {_WHAT_TO_GIVE}")


def stored_size(image_input: ImageInput) -> int:
    """The size of an image's file in bytes, before it is read; 0 where there is none.

    Args:
        image_input: the image as it was given.

    >>> stored_size(np.zeros((8, 8)))
    0
    """
    if not isinstance(image_input, str | os.PathLike):
        return 0
    try:
        return Path(os.fsdecode(image_input)).stat().st_size
    except (OSError, ValueError):
        return 0


def _read_path(path: str | os.PathLike[str]) -> bytes:
    # Through Python rather than cv2.imread, which cannot open every path on Windows and says
    # nothing when it fails.
    try:
        file = Path(os.fsdecode(path))
        mode = file.stat().st_mode
        if stat.S_ISCHR(mode):
            raise ImageError("cannot be read (a device, no file)")
        if stat.S_ISFIFO(mode):
            return _read_pipe(file)
        return file.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror})") from error
    except ValueError as error:  # a path with a null byte
        raise ImageError(f"cannot be read ({error})") from error


def _read_pipe(pipe: Path) -> bytes:
    """All that is written into a pipe; nothing where nobody has it open to write."""
    if sys.platform == "win32":
        raise ImageError("cannot be read (a pipe, no file)")
    # Opened as a file it would wait until somebody writes, perhaps for ever.
    with os.fdopen(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), "rb") as stream:
        os.set_blocking(stream.fileno(), True)
        return stream.read()


def _size_of(buffer: bytes | bytearray | memoryview) -> int:
    try:
        return memoryview(buffer).nbytes
    except ValueError:  # It was released.
        return 0


def _from_buffer(buffer: bytearray | memoryview) -> bytes | np.ndarray:
    try:
        view = memoryview(buffer)
    except ValueError as error:
        raise ImageError("was released before it was read; give the bytes of a file") from error
    return view.tobytes() if view.ndim == 1 else np.asarray(view)


def _read_stream(stream: ReadableFile) -> bytes:
    """All that is left in a stream, which is then where it was, if it can go back."""
    try:
        data = stream.read()
        if isinstance(data, bytearray | memoryview):
            data = bytes(data)
        if isinstance(data, bytes) and stream.seekable():
            stream.seek(-len(data), os.SEEK_CUR)
    except Exception as error:  # Members of archives and streams of networks raise of all kinds.
        raise ImageError(f"cannot be read ({error})") from error
    if isinstance(data, str):
        raise ImageError("was opened as text; open it in binary mode, as open(path, 'rb')")
    if not isinstance(data, bytes):
        raise ImageError(f"cannot be read (it gave {type(data).__name__} instead of bytes)")
    if not data:
        raise ImageError("the file is empty, or was read to its end; seek(0) goes back")
    return data


def _from_tensor(tensor: TorchTensor) -> np.ndarray:
    """The array in a tensor, channels last; a tensor of 1, 3 or 4 rows has its channels first."""
    try:
        values = tensor.detach().cpu()
        if "bfloat16" in str(values.dtype):
            values = values.float()
        array = np.asarray(values.numpy())
    except (TypeError, RuntimeError, AttributeError) as error:
        raise ImageError(f"cannot be read ({error}); {_WHAT_TO_GIVE}") from error
    if array.ndim == 3 and array.shape[0] in _CHANNELS:
        return np.moveaxis(array, 0, 2)
    return array
