"""Files that only this user can write, shared by this user's processes: compiled code, tables of public numbers.

They lie below XDG_CACHE_HOME (or ~/.cache), else below the temporary directory. A directory that others can write to
is not used. A file begins with the SHA-256 of the rest, appears by an atomic rename and is never changed; one that
does not match is made again. Nothing secret is kept here.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

DIGEST_BYTES = 64
"""What stands before the content: its digest in hexadecimal."""


def private_directory() -> Path | None:
    """A directory that this user owns and nobody else can write to, or None."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    for parent in (Path(home) / "fedspark", Path(tempfile.gettempdir()) / f"fedspark-{os.getuid()}"):
        path = parent / "kept"
        with contextlib.suppress(OSError):
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.mkdir(mode=0o700, exist_ok=True)
            if all(_private(directory) for directory in (parent, path)) and os.access(path, os.W_OK | os.X_OK):
                return path
    return None


def kept(name: str, make: Callable[[], bytes], keep: tuple[str, int] | None = None) -> bytes:
    """The content of the file ``name``; where it is not there or damaged, what ``make`` makes, kept if it can be."""
    path = kept_file(name, make, keep)
    if isinstance(path, Path):
        try:
            data = path.read_bytes()
        except OSError:  # another process kept newer ones
            return make()
        return data[DIGEST_BYTES:] if _sound(memoryview(data)) else make()
    return path


def kept_file(name: str, make: Callable[[], bytes], keep: tuple[str, int] | None = None) -> Path | bytes:
    """The file ``name`` (content from byte 64 on), checked; or the content itself where no file can be kept.

    ``keep`` is a pattern of names and how many files of it stay, the latest ones.
    """
    directory = private_directory()
    if directory is None:
        return make()
    path = directory / name
    if _file_is_sound(path):
        return path
    content = make()
    try:
        _write(path, content)
        if keep:
            _forget(directory, *keep)
    except OSError:
        return content
    return path


def _forget(directory: Path, pattern: str, count: int) -> None:
    """Who has a file mapped keeps what is in it."""
    for path in sorted(directory.glob(pattern), key=lambda path: path.stat().st_mtime)[:-count]:
        path.unlink(missing_ok=True)


def _file_is_sound(path: Path) -> bool:
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
            return False
        with path.open("rb") as file:
            expected, digest = file.read(DIGEST_BYTES), sha256()
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError:
        return False
    return expected == digest.hexdigest().encode()


def _sound(data: memoryview) -> bool:
    return bytes(data[:DIGEST_BYTES]) == sha256(data[DIGEST_BYTES:]).hexdigest().encode()


def _write(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(sha256(content).hexdigest().encode())
            file.write(content)
        os.chmod(temporary, 0o600)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _private(directory: Path) -> bool:
    status = directory.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022
