"""Secrets are named in configuration, never written there: ``env:NAME`` or ``file:path``."""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Collection, Mapping
from pathlib import Path

from fedspark.errors import ConfigError

_LOG = logging.getLogger(__name__)
_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:[^\n\0]+")
_SECRET_KEY = re.compile(
    r"(secret|password|passwd|passphrase|token|private[._-]?key|\bsas|_sas|_key_base64"
    r"|(secret|account|access|storage|master|encryption)[._-]?(access[._-]?)?key(\..+)?)$",
    re.IGNORECASE,
)
_LIMIT = 64 * 1024

REFERENCE_PATTERN = r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$"
MASK = "***"


def is_reference(text: str) -> bool:
    """Whether ``text`` has the form of a secret reference: ``env:NAME`` or ``file:path``."""
    return _REFERENCE.fullmatch(text) is not None


def is_secret_key(key: str) -> bool:
    """Whether a setting of this name holds a secret, so that its value must be a reference (``secret_access_key``)."""
    return _SECRET_KEY.search(key) is not None


def resolve(reference: str, base: Path | str) -> bytes:
    """The bytes that ``reference`` names, less one trailing newline; relative files are taken from directory ``base``.

    Raises ConfigError, which names the reference and never the content, when there is nothing there. A file that
    group or others may read is used, with a warning in the log.
    """
    if not is_reference(reference):
        raise ConfigError(
            f"A secret must be given by reference, and this is not one: {MASK!r} (masked).",
            remedy="Write env:NAME for an environment variable or file:path for a file.",
        )
    kind, _, rest = reference.partition(":")
    content = _from_environment(rest) if kind == "env" else _from_file(reference, Path(base) / rest)
    content = content.removesuffix(b"\n").removesuffix(b"\r")
    if not content:
        raise ConfigError(f"The secret {reference} is empty.", remedy="Put the secret there, or name another place.")
    return content


def resolve_settings(settings: Mapping[str, str], base: Path | str) -> dict[str, str]:
    """Settings with their secrets in clear, to be handed to a library at once and kept nowhere.

    ``env:`` is resolved at every key, ``file:`` only where the key holds a secret: elsewhere it is a URL for Spark.
    """
    return {
        key: resolve(value, base).decode() if is_reference(value) and _is_secret(key, value) else value
        for key, value in settings.items()
    }


def hide_from_java_log(values: Collection[str]) -> None:
    """Write *** for these secrets in what py4j logs at level DEBUG: all that goes to Java, and all that comes back.

    To be called before one of them is handed to Spark.
    """
    # py4j sends a text on one line, and logs it so.
    escaped = {value.replace("\\", "\\\\").replace("\r", "\\r").replace("\n", "\\n") for value in values}
    _HIDDEN.values |= {*values, *escaped} - {""}
    for name in _JAVA_LOGGERS:
        logging.getLogger(name).addFilter(_HIDDEN)  # once, however often


class _Hidden(logging.Filter):
    def __init__(self) -> None:
        super().__init__()
        self.values: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        for value in sorted(self.values, key=len, reverse=True):
            text = text.replace(value, MASK)
        record.msg, record.args = text, ()
        return True


_HIDDEN = _Hidden()
_JAVA_LOGGERS = ("py4j.clientserver", "py4j.java_gateway")


def _is_secret(key: str, value: str) -> bool:
    return value.startswith("env:") or is_secret_key(key)


def _from_environment(name: str) -> bytes:
    try:
        return os.fsencode(os.environ[name])
    except KeyError:
        raise ConfigError(
            f"The secret env:{name} is missing: there is no environment variable {name}.",
            remedy=f"Export {name} for this process (and, on a cluster, for driver and executors).",
        ) from None


def _from_file(reference: str, path: Path) -> bytes:
    content = read_small(path, f"secret {reference}")
    _warn_when_open(reference, path)
    return content


def read_small(path: Path, what: str) -> bytes:
    """Content of a key file of at most 64 KiB; ConfigError says ``what`` could not be read, where and why."""
    try:
        with path.open("rb") as file:
            content = file.read(_LIMIT + 1)
    except OSError as error:
        raise ConfigError(
            f"The {what} cannot be read from {path}: {error.strerror}.",
            remedy="Relative paths are taken from the directory of the party file; 'fedspark keygen' makes keys.",
        ) from None
    if len(content) > _LIMIT:
        raise ConfigError(f"The {what} in {path} is larger than 64 KiB.", remedy="Name the file that holds the key.")
    return content


def _warn_when_open(reference: str, path: Path) -> None:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return
    if mode & 0o077:
        _LOG.warning(
            "The secret %s can be read by other users (mode %04o). Close it with: chmod 600 %s", reference, mode, path
        )
