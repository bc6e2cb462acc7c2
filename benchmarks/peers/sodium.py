"""The floor under ECDH: nothing but the multiplications of the same rows, by libsodium's crypto_scalarmult.

The system's libsodium, else the one in PyNaCl's wheel; where there is neither, importing this fails. An id pair costs
four multiplications (the guest blinds and unblinds, the host multiplies its own id and the guest's), so the mean of
both parties is two per row. No hash, no map to the curve, no check of a point. Some 0.25 us of each are ctypes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.worker import Work

_SYSTEM = ("libsodium.so.23", "libsodium.so.26", "libsodium.23.dylib", "libsodium.26.dylib", "libsodium.dll")
_PER_ROW = 2
# RFC 7748, section 5.2.
_SCALAR = bytes.fromhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")
_POINT = bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
_PRODUCT = "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"


def _places() -> Iterator[str]:
    yield from _SYSTEM
    wheel = find_spec("nacl._sodium") if find_spec("nacl") else None
    if wheel is not None and wheel.origin is not None:
        yield wheel.origin


def _loaded() -> ctypes.CDLL:
    for place in _places():
        try:
            library = ctypes.CDLL(place)
        except OSError:
            continue
        if library.sodium_init() >= 0:
            return library
    raise ImportError("no libsodium here: apt-get install libsodium23, or pip install pynacl")


_LIBRARY = _loaded()


def prepare(case: str, config: dict[str, Any]) -> Callable[[], Work]:
    """Work of two multiplications per row. Each takes the product before it, so that none can be left out."""
    rows, multiply = config["rows"], _LIBRARY.crypto_scalarmult
    one, other = ctypes.create_string_buffer(_POINT, 32), ctypes.create_string_buffer(32)
    assert multiply(other, _SCALAR, one) == 0
    assert other.raw.hex() == _PRODUCT

    def work() -> Work:
        for _ in range(rows * _PER_ROW // 2):
            multiply(one, _SCALAR, other)
            multiply(other, _SCALAR, one)
        return Work(rows, extra={"library": Path(_LIBRARY._name).name})

    return work
