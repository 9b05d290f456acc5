"""Files that are fetched once, checked by their sha256, and kept."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_STALLED_AFTER = 60.0
_CACHE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}


@dataclass(frozen=True)
class RemoteFile:
    """A file somewhere on the net.

    Attributes:
        name: Its name in the cache, and in the folder `KPHYS_DATA`.
        url: Where it is.
        sha256: The checksum of the one version that is accepted.
        local_name: Its name in `KPHYS_DATA`, if another.
        local_sha256: The checksum of the copy in `KPHYS_DATA`, if another.
    """

    name: str
    url: str
    sha256: str
    local_name: str | None = None
    local_sha256: str | None = None


def github_url(repository: str, commit: str, path: str) -> str:
    """Gives the address of one file of a GitHub repository as it was at one commit."""
    return f"https://raw.githubusercontent.com/{repository}/{commit}/{path}"


def fetch(file: RemoteFile) -> Path:
    """Gives the path of `file`: in the folder `KPHYS_DATA`, in the cache, or newly downloaded into the cache.

    The cache is `datasets/kphys` in `KERAS_HOME`, or in `~/.keras`. A file gets its name there in one step once it is
    whole and its checksum is right, so neither an interruption nor a second process can spoil it.

    Raises:
        ValueError: `KPHYS_DATA` is no folder, or its copy or the downloaded file has the wrong checksum.
        OSError: The file could not be downloaded, or the cache not written.
    """
    local = _local_copy(file)
    if local is not None:
        return local
    cached = _cache_folder() / file.name
    if not (cached.is_file() and sha256_of(cached) == file.sha256):
        _download(file, cached)
    return cached


def sha256_of(path: Path) -> str:
    """Gives the checksum of a file as 64 hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _local_copy(file: RemoteFile) -> Path | None:
    folder = os.environ.get("KPHYS_DATA") and os.path.expanduser(os.environ["KPHYS_DATA"])
    if not folder:
        return None
    if not Path(folder).is_dir():
        raise ValueError(f"`KPHYS_DATA` must name a folder, got {folder!r}: correct this variable, or unset it.")
    path = Path(folder) / (file.local_name or file.name)
    if not path.is_file():
        return None
    expected, found = file.local_sha256 or file.sha256, sha256_of(path)
    if found != expected:
        raise ValueError(
            f"{path} has the sha256 {found}, expected {expected}: replace the file by the original, or unset "
            "KPHYS_DATA to download it."
        )
    return path


def _cache_folder() -> Path:
    home = os.environ.get("KERAS_HOME") or "~/.keras"
    return Path(home).expanduser() / "datasets" / "kphys"


def _download(file: RemoteFile, target: Path) -> None:
    with _workplace(file, target.parent) as folder:
        path = _transfer(file, folder)
        found = sha256_of(path)
        if found != file.sha256:
            raise ValueError(
                f"{file.url} gave {path.stat().st_size} bytes with the sha256 {found}, expected {file.sha256}; "
                f"nothing was kept. Try again: if it stays so, something on the way changes the file. {_mend(file)}"
            )
        os.replace(path, target)


@contextlib.contextmanager
def _workplace(file: RemoteFile, cache: Path) -> Iterator[Path]:
    """Makes a folder inside the cache, so that the finished file can be renamed into place, and removes it."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=f"{file.name}.", dir=cache)
    except OSError as error:
        raise _cache_error(file, cache, error) from error
    with folder as path:
        yield Path(path)


def _transfer(file: RemoteFile, folder: Path) -> Path:
    from keras.utils import get_file

    try:
        with _time_limit():
            # Keras takes an absolute sub-folder as it stands; it would put others under /tmp if it cannot write.
            return Path(get_file(file.name, origin=file.url, cache_subdir=str(folder)))
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _CACHE_ERRORS:
            raise _cache_error(file, folder.parent, error) from error
        # Keras wraps what went wrong in a bare Exception; what it wrapped says more.
        reason = error.__context__ or error
        reason = getattr(reason, "reason", reason)
        raise OSError(
            f"{file.url} could not be downloaded ({type(reason).__name__}: {reason}); nothing was kept. "
            f"Try again. {_mend(file)}"
        ) from error


@contextlib.contextmanager
def _time_limit() -> Iterator[None]:
    """Ends a transfer that stands still: `urllib`, which Keras calls, would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_STALLED_AFTER if before is None else before)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _cache_error(file: RemoteFile, cache: Path, error: OSError) -> OSError:
    return OSError(
        f"{file.name} could not be written to {cache} ({error.strerror}): make room or give permission there, or set "
        f"KERAS_HOME to another folder. {_mend(file)}"
    )


def _mend(file: RemoteFile) -> str:
    return f"Without a network, set KPHYS_DATA to a folder that holds {file.local_name or file.name}."
