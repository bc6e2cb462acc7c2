"""Object storage behind one small interface; the only module that knows obstore.

Everything the exchange and the workspace promise rests on one operation: ``create``, a put that fails when the name
is taken. It is atomic on all stores offered here. A local directory stages the bytes under a hidden name and links
them to the final name, so a process that dies leaves a stage file, never half an object; like most tools it leaves
flushing to the operating system, so a power cut can leave a young object short: of a message, its digest tells.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnknownConfigurationKeyError,
)
from obstore.store import AzureStore, GCSStore, LocalStore, MemoryStore, ObjectStore, S3Store

from fedspark.conf.secrets import is_reference, is_secret_key, resolve
from fedspark.conf.urls import absolute_url, local_path
from fedspark.errors import ConfigError, StoreError

_CLOUD: dict[str, type[S3Store] | type[GCSStore] | type[AzureStore]] = {
    "s3": S3Store,
    "s3a": S3Store,
    "gs": GCSStore,
    "az": AzureStore,
    "abfs": AzureStore,
    "abfss": AzureStore,
}

# Options of the HTTP client; every other option belongs to the store (endpoint, region, access_key_id, ...).
_CLIENT_OPTIONS = frozenset(
    {
        "allow_http",
        "allow_invalid_certificates",
        "connect_timeout",
        "proxy_ca_certificate",
        "proxy_excludes",
        "proxy_url",
        "read_timeout",
        "root_certificate",
        "timeout",
    }
)
# A create-only put is one request: 256 MiB must fit, at 4 Mbit/s and above.
_CLIENT_DEFAULTS: dict[str, Any] = {"timeout": "600s", "connect_timeout": "10s"}
_DEFAULT_RETRIES = 5
_RETRY_SECONDS = 120
_KEEP_ATTEMPTS = 5
_NAMES = 1000  # in one request; more are cut into as many by the stores themselves

_OS_ERRORS = (OSError, BaseError, ValueError)
_REQUEST = re.compile(
    r"^.*?Error performing (?:list request: Error performing )?([A-Z]+) ([^\s?]+)\S* in .*? - "
    r"(?:Server returned non-2xx status code: )?"
)
_RIGHTS = "Give this account the right to list, read, create and delete there."
_XML = re.compile(r"<(?:Code|Message)>([^<]*)</")


class Missing(StoreError):
    """There is no object of this name."""


class Unequal(StoreError):
    """The name is taken by an object with other content; nothing was written."""


@dataclass(frozen=True)
class StoreRef:
    """Where a store is: what configuration says and what task closures carry.

    ``options`` are (key, value) pairs; a value may be a secret reference (``env:NAME``, ``file:path``), looked up
    where the store is opened. Relative paths, also in ``url``, are taken from directory ``base``. A local directory
    is created, unless the option ``create`` is ``false`` (right for a mount point: an unmounted disk is then an
    error, not an empty exchange). ``memory://NAME`` lives in one process and is for tests.
    """

    url: str
    options: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    base: str = ""

    def open(self) -> Store:
        """The store, one per process and reference; ConfigError for a wrong URL or option, else StoreError."""
        key = (os.getpid(), self)
        with _LOCK:
            if key not in _OPENED:
                _OPENED[key] = _build(self)
            return _OPENED[key]


_OPENED: dict[tuple[int, StoreRef], Store] = {}
_MEMORY: dict[str, MemoryStore] = {}
_LOCK = threading.Lock()


class Store:
    """Objects by name, under one URL.

    Names are relative and POSIX (``a/b/c``). Errors are StoreError with URL, name and remedy.
    """

    def __init__(
        self,
        url: str,
        backend: ObjectStore,
        masked: tuple[str, ...] = (),
        one_by_one: Callable[[], ObjectStore] | None = None,
    ) -> None:
        self.url = url
        self._backend = backend
        self._masked = masked
        self._one_by_one = one_by_one  # the same store, deleting each object by a request of its own
        self._deleter = backend

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    def create(self, name: str, data: bytes) -> bool:
        """Write a new object; True if this call (or a retry inside it) wrote it, False if the name is taken.

        After a lost answer a store may say False to the very call that wrote: where equality counts, use ``keep``.
        """
        try:
            obstore.put(self._backend, name, data, mode="create")
        except AlreadyExistsError:
            return False
        except _OS_ERRORS as error:
            raise self._failed("writing", name, error) from None
        return True

    def keep(self, name: str, data: bytes) -> None:
        """Make sure that ``name`` holds ``data``.

        Written once, an equal rewrite is a no-op. Unequal when it holds anything else.
        """
        for _ in range(_KEEP_ATTEMPTS):
            if self.create(name, data):
                return
            held = self.size(name)
            if held is None:
                continue  # a concurrent writer was refused, or cleaned up: the name is free again
            if held == len(data) and self.read(name) == data:
                return
            raise Unequal(
                f"{name} in {self.url} was written before with other content, and what is written stays.",
                remedy="If the workspace of this run was lost or edited, start a new run label; otherwise report "
                "this: a step that runs twice must write the same bytes.",
            )
        raise StoreError(f"Writing {name} in {self.url} found the name neither free nor taken, {_KEEP_ATTEMPTS} times.")

    def replace(self, name: str, data: bytes) -> None:
        """Write or overwrite, atomically. For a party's own status files, never for messages."""
        try:
            obstore.put(self._backend, name, data, mode="overwrite", use_multipart=False)
        except _OS_ERRORS as error:
            raise self._failed("writing", name, error) from None

    def read(self, name: str) -> bytes:
        """The whole object; Missing when there is none."""
        try:
            return obstore.get(self._backend, name).bytes().to_bytes()
        except FileNotFoundError as error:
            raise self._missing(name) from error
        except _OS_ERRORS as error:
            raise self._failed("reading", name, error) from None

    def read_range(self, name: str, start: int, length: int) -> bytes:
        """At most ``length`` bytes from ``start``: fewer where the object ends. Missing when there is no object."""
        if length <= 0:
            return b""
        try:
            return obstore.get_range(self._backend, name, start=start, length=length).to_bytes()
        except FileNotFoundError as error:
            raise self._missing(name) from error
        except _OS_ERRORS as error:
            with contextlib.suppress(StoreError):
                if (self.size(name) or 0) <= start:
                    return b""
            raise self._failed("reading", name, error) from None

    def size(self, name: str) -> int | None:
        """Bytes of the object, None when there is none; nothing is downloaded."""
        try:
            return int(obstore.head(self._backend, name)["size"])
        except FileNotFoundError:
            return None
        except _OS_ERRORS as error:
            raise self._failed("looking at", name, error) from None

    def list(self, prefix: str = "") -> list[tuple[str, int]]:
        """(name, bytes) of all objects under the folder ``prefix``, sorted by name."""
        try:
            pages = obstore.list(self._backend, prefix=prefix.rstrip("/") or None)
            return sorted((item["path"], int(item["size"])) for page in pages for item in page)
        except FileNotFoundError:
            return []
        except _OS_ERRORS as error:
            raise self._failed("listing", prefix, error) from None

    def delete(self, name: str) -> None:
        """Remove the object if there is one."""
        try:
            self._delete([name])
        except FileNotFoundError:
            return
        except _OS_ERRORS as error:
            raise self._failed("deleting", name, error) from None

    def delete_many(self, names: Sequence[str]) -> None:
        """Remove those of the objects that are there, in few requests where the store takes many names at once."""
        try:
            for start in range(0, len(names), _NAMES):
                self._delete(names[start : start + _NAMES])
        except FileNotFoundError:  # a directory stops at the first that is gone already
            for name in names:
                self.delete(name)
        except _OS_ERRORS as error:
            raise self._failed("deleting", f"{len(names)} objects", error) from None

    def _delete(self, names: Sequence[str]) -> None:
        """One request for many names may be refused where one for each is not: policies allow objects, not requests."""
        deleter = self._deleter  # another thread may change it meanwhile
        try:
            obstore.delete(deleter, [*names])
        except BaseError as error:
            if deleter is not self._backend or self._one_by_one is None or not _is_refused(error):
                raise
            if self._deleter is deleter:
                self._deleter = self._one_by_one()
            obstore.delete(self._deleter, [*names])

    def probe(self, prefix: str = "") -> None:
        """Refuse (StoreError) a store in which a second create of one name succeeds: messages could be overwritten.

        So is one where this account is not told of what is not there yet, as whoever waits for a message must be.
        """
        name = f"{prefix}/.probe-{secrets.token_hex(8)}".lstrip("/")
        try:
            self.create(name, b"first")
            second = self.create(name, b"second")
            held = self.read(name)
            self.size(f"{name}-nothing")
        finally:
            with contextlib.suppress(StoreError):  # an account that may not delete can still exchange messages
                self.delete(name)
        if second or held != b"first":
            raise StoreError(
                f"{self.url} cannot carry messages: a second create of one name succeeded, so objects could "
                "be overwritten.",
                remedy="Use a store with conditional puts (If-None-Match: *): AWS S3, GCS, Azure, current Ceph or "
                "MinIO, or a directory.",
            )

    def _missing(self, name: str) -> Missing:
        return Missing(f"There is no object {name} in {self.url}.")

    def _failed(self, operation: str, name: str, error: BaseException) -> StoreError:
        """The error to be raised alone: what the client says may hold credentials, and is masked here."""
        reason = _masked(_reason(error), self._masked)
        remedy = _remedy(error)
        if operation in ("reading", "looking at") and isinstance(error, PermissionDeniedError):
            remedy += (
                " To an account that may list a bucket only with a prefix, what is not there yet is forbidden too: in "
                "the condition of its policy write StringLikeIfExists."
            )
        return StoreError(
            f"{operation.capitalize()} {name or 'objects'} in {self.url} failed: {reason}.", remedy=remedy
        )


def _is_refused(error: BaseException) -> bool:
    return isinstance(error, PermissionDeniedError) or "NotImplemented" in str(error)


def _masked(text: str, values: Sequence[str]) -> str:
    for value in values:
        text = text.replace(value, "***")
    return text


def _reason(error: BaseException) -> str:
    """What the client says in one line; of an answer in XML its code and message, of a URL no query (signatures)."""
    text = str(error).strip() or type(error).__name__
    line = _REQUEST.sub(r"\1 \2: ", text.splitlines()[0].partition("<")[0]).rstrip(".: ")
    said = ": ".join(dict.fromkeys(word.strip(" .") for word in _XML.findall(text) if word.strip(" .")))
    return f"{line} ({said})" if said else line


def _remedy(error: BaseException) -> str:
    text = str(error).lower()
    if "no space left" in text or "storagefull" in text or "quota" in text:
        return "Free space there, then run the same command again: it continues where it stopped."
    if "read-only" in text:
        return "The file system is mounted read-only: mount it writable or name another place."
    if isinstance(error, UnauthenticatedError) or "invalidaccesskey" in text or "signaturedoesnotmatch" in text:
        return "Check the access key and secret in the options of this URL."
    if isinstance(error, PermissionDeniedError) and "<code>" not in text:  # an answer without a body tells no more
        return f"Check the access key and secret in the options of this URL. If they are right: {_RIGHTS}"
    if isinstance(error, PermissionDeniedError) or "permission denied" in text or "accessdenied" in text:
        return _RIGHTS
    if "not a directory" in text or "file exists" in text or "is a directory" in text:
        return "A file stands where a directory is needed, or the reverse: move it away or name another place."
    if isinstance(error, FileNotFoundError) or "no such file" in text or "nosuchbucket" in text:
        return "Create the bucket or directory, or correct the URL."
    if "error sending request" in text or "timed out" in text or "timeout" in text:
        return "Check endpoint, network and proxy; then run the same command again."
    return "Check URL and options; then run the same command again."


def _build(ref: StoreRef) -> Store:
    try:
        url = absolute_url(ref.url, Path(ref.base or "."))
    except ValueError as error:
        raise ConfigError(f"The store URL {ref.url!r} {error}.") from None
    scheme = urlsplit(url).scheme.lower()
    if scheme == "memory":
        return Store(url, _MEMORY.setdefault(url, MemoryStore()))
    if scheme == "file":
        return Store(url, _local(url, dict(ref.options)))
    if scheme in _CLOUD:
        return _cloud(url, _CLOUD[scheme], ref)
    if scheme in ("hdfs", "webhdfs", "viewfs"):
        raise StoreError(
            f"{url} cannot be used here: HDFS has no put that fails when the name is taken, "
            "so a message could be overwritten.",
            remedy="Use s3://, gs://, az:// or a mounted directory (file:///...). Tables may be read from HDFS.",
        )
    raise ConfigError(
        f"The store URL {ref.url!r} has the unknown scheme {scheme!r}.",
        remedy="Known are file:///path, s3://bucket/prefix, gs://bucket/prefix and az://container/prefix.",
    )


def _local(url: str, options: dict[str, str]) -> LocalStore:
    create = options.pop("create", "true").lower() != "false"
    if options:
        raise ConfigError(
            f"A directory has no option {', '.join(map(repr, sorted(options)))} ({url}).",
            remedy="The only one is 'create': false refuses a directory that does not exist.",
        )
    path = local_path(url)
    assert path is not None, url
    try:
        if not create and not path.is_dir():
            raise FileNotFoundError(f"there is no directory {path}")
        return LocalStore(path, mkdir=create)
    except _OS_ERRORS as error:
        raise StoreError(f"Opening {url} failed: {_reason(error)}.", remedy=_remedy(error)) from error


def _cloud(url: str, kind: type[S3Store] | type[GCSStore] | type[AzureStore], ref: StoreRef) -> Store:
    values = {key: _value(value, ref.base) for key, value in ref.options}
    masked = tuple(
        value for key, value in values.items() if value and (is_secret_key(key) or is_reference(dict(ref.options)[key]))
    )
    retries = values.pop("max_retries", str(_DEFAULT_RETRIES))
    client = _CLIENT_DEFAULTS | {key: values.pop(key) for key in list(values) if key in _CLIENT_OPTIONS}

    def connect(**more: str) -> S3Store | GCSStore | AzureStore:
        return kind.from_url(
            url,
            config={**values, **more},  # type: ignore[arg-type]
            client_options=client,  # type: ignore[arg-type]
            retry_config={"max_retries": int(retries), "retry_timeout": timedelta(seconds=_RETRY_SECONDS)},
        )

    try:
        backend = connect()
    except UnknownConfigurationKeyError as error:
        raise ConfigError(f"An option of {url} is unknown: {_reason(error)}.") from None
    except _OS_ERRORS as error:
        reason = _masked(_reason(error), masked)
        raise ConfigError(
            f"The store {url} cannot be set up: {reason}.", remedy="Check the options of this URL."
        ) from None
    one_by_one = partial(connect, disable_bulk_delete="true") if kind is S3Store else None
    return Store(url, backend, masked, one_by_one)


def _value(text: str, base: str) -> str:
    return resolve(text, base or ".").decode() if is_reference(text) else text
