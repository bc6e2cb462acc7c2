"""Places: URLs as they are, plain paths as ``file://`` URLs from the directory of the party file."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")

OBJECT_STORES = ("file", "memory", "s3", "gs", "az")


def scheme(text: str) -> str:
    """Scheme of a URL, in lower case; empty for a plain path."""
    match = _SCHEME.match(text)
    return match.group(1).lower() if match else ""


def absolute_path(text: str, directory: Path) -> str:
    """``text`` as it is when it is a URL, else as an absolute path (globs are kept); ValueError for ``~``."""
    if scheme(text):
        return text
    if text.startswith("~"):
        raise ValueError("must not begin with '~', which is another directory for every user: write the whole path")
    return os.path.abspath(directory / text)


def absolute_url(text: str, directory: Path) -> str:
    """``text`` as a URL without a trailing slash: a plain path becomes a (percent-encoded) ``file:///`` URL.

    ValueError when it carries a password or a query, or is a ``file://`` URL with a host.
    """
    if not scheme(text):
        return Path(absolute_path(text, directory)).as_uri()
    parts = urlsplit(text)
    if parts.password is not None or parts.query:
        raise ValueError("must not carry a password or a query: put secrets into `options`, by reference")
    if scheme(text) == "file" and parts.netloc not in ("", "localhost"):
        raise ValueError("must have three slashes (file:///path); a path without file:// may be relative")
    return text if parts.path in ("", "/") else text.rstrip("/")


def local_path(url: str) -> Path | None:
    """Path of a ``file://`` URL, percent-decoded (Spark does not decode); None for other schemes."""
    return Path(unquote(urlsplit(url).path)) if scheme(url) == "file" else None


def contains(outer: str, inner: str) -> bool:
    """Whether ``inner`` is ``outer`` or lies under it, by name."""
    return (inner.rstrip("/") + "/").startswith(outer.rstrip("/") + "/")
