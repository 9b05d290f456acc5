"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

# Disk full, quota, and the largest size of a file.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def local_path(name: str, value: Any, example: str) -> Path:
    """Gives the absolute path: a program may change its directory while it trains."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"`{name}` must be a path such as {example!r}, got {value!r}.")
    text = os.fspath(value)
    if not text or "://" in text:
        raise ValueError(f"`{name}` must be a path in a file system, such as {example!r}, got {text!r}.")
    return Path(text).absolute()


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Gives the path of a file to write, which then takes the place of `path`.

    Whenever this process is killed, the old one or the new one is there. The ending is that of `path`.
    """
    unfinished = path.with_name(f".unfinished.{path.name}")
    try:
        yield unfinished
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Replaces a file by what is written, in the same way."""
    with replaced(path) as unfinished, unfinished.open("wb") as file:
        yield file


@contextlib.contextmanager
def named_errors(writer: str, path: Path) -> Iterator[None]:
    """Raises what cannot be written with the names of who writes and of the file, and the mend where there is one."""
    try:
        yield
    except OSError as error:
        # The text of h5py's errors is that of a C library's trace.
        reason = os.strerror(error.errno) if error.errno else str(error)
        mend = "; free space there, or choose another folder: what is there is whole" if error.errno in _NO_ROOM else ""
        message = f"{writer} could not write {path.name} in {str(path.parent)!r}: {reason}{mend}."
        raise OSError(error.errno, message) from error
