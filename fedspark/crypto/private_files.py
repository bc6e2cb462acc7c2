"""Files that only this user can write, shared by this user's processes: compiled code, tables of public numbers.

They lie below XDG_CACHE_HOME (or ~/.cache), else below the temporary directory. A directory is not used if others can
write to it, or could put another one in its place: every directory above it belongs to root or this user, and only
this user can write to it or it is sticky. A file begins with the SHA-256 of the rest, appears by an atomic rename and
is never changed; one that does not match is made again. It is opened once, and what was checked is what is used.
Nothing secret is kept here.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

DIGEST_BYTES = 64
"""What stands before the content: its digest in hexadecimal."""

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_ABANDONED_SECONDS = 3600.0  # writing takes less than one


# ---- the directory ---------------------------------------------------------------------------------------------------


def private_directory() -> Path | None:
    """A directory that this user owns and nobody else can write to or replace, or None."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    for base, name in ((home, "fedspark"), (tempfile.gettempdir(), f"fedspark-{os.getuid()}")):
        if not os.path.isabs(base):  # it would depend on where the process was started; a ~ that nobody expanded too
            continue
        with contextlib.suppress(OSError):
            root = Path(os.path.realpath(base))
            path = root / name / "kept"
            # Before anything is made there, and again with what was made.
            if (
                _trusted(*root.parents, root)
                and _made(path)
                and _trusted(*path.parents)
                and _private(path.parent, path)
            ):
                return path
    return None


def _made(path: Path) -> bool:
    for directory in reversed((path, *path.parents)):
        if not os.path.lexists(directory):
            directory.mkdir(mode=0o700, exist_ok=True)
    return os.access(path, os.W_OK | os.X_OK)


def _trusted(*directories: Path) -> bool:
    """Whether nobody but root and this user can put something else in the place of what lies in them. One that does
    not exist yet will be this user's.
    """
    for directory in directories:
        with contextlib.suppress(FileNotFoundError):
            status = directory.lstat()
            shared = status.st_mode & _OTHERS_WRITE and not status.st_mode & stat.S_ISVTX
            if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (0, os.getuid()) or shared:
                return False
    return True


def _private(*directories: Path) -> bool:
    for directory in directories:
        status = directory.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & _OTHERS_WRITE:
            return False
    return True


# ---- files -----------------------------------------------------------------------------------------------------------


def kept(name: str, make: Callable[[], bytes], keep: tuple[str, int] | None = None) -> bytes:
    """The content of the file ``name``; where it is not there or damaged, what ``make`` makes, kept if it can be."""
    directory = private_directory()
    if directory is None:
        return make()
    with contextlib.suppress(OSError), _open(directory / name) as file:
        data = file.read()
        if data[:DIGEST_BYTES] == _hexadecimal(data[DIGEST_BYTES:]):
            return data[DIGEST_BYTES:]
    content = make()
    with contextlib.suppress(OSError):
        _write(directory / name, content, keep).close()
    return content


def kept_file(name: str, make: Callable[[], bytes], keep: tuple[str, int] | None = None) -> BinaryIO | bytes:
    """The file ``name`` (content from byte 64 on), checked and open, for the caller to close; or the content itself
    where no file can be kept.

    ``keep`` is a pattern of names and how many files of it stay, the latest ones.
    """
    directory = private_directory()
    if directory is None:
        return make()
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        file = stack.enter_context(_open(directory / name))
        if _is_sound(file):
            stack.pop_all()
            return file
    content = make()
    try:
        return _write(directory / name, content, keep)
    except OSError:
        return content


def _open(path: Path) -> BinaryIO:
    """For reading. OSError for a link, and for what others may have written."""
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & _OTHERS_WRITE:
        file.close()
        raise PermissionError(f"{path} is not this user's own file")
    return file


def _is_sound(file: BinaryIO) -> bool:
    expected, digest = file.read(DIGEST_BYTES), sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return expected == digest.hexdigest().encode()


def _hexadecimal(content: bytes) -> bytes:
    return sha256(content).hexdigest().encode()


def _write(path: Path, content: bytes, keep: tuple[str, int] | None) -> BinaryIO:
    """The new file, still open."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    file = os.fdopen(handle, "w+b")
    try:
        os.fchmod(handle, 0o600)
        file.write(_hexadecimal(content))
        file.write(content)
        file.flush()
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            file.close()
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _forget(path.parent, keep)
    return file


def _forget(directory: Path, keep: tuple[str, int] | None) -> None:
    """All but the latest files of a pattern, and what processes that were killed while they wrote have left. Who has
    a file mapped keeps what is in it.
    """
    old = [path for path in directory.glob(".*") if _written(path) < time.time() - _ABANDONED_SECONDS]
    if keep:
        old += sorted(directory.glob(keep[0]), key=_written)[: -keep[1]]
    for path in old:
        with contextlib.suppress(OSError):
            path.unlink()


def _written(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:  # another process was faster
        return 0.0
