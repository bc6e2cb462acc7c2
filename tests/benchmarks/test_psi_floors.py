"""The floor under ECDH: what it is told to multiply, where its library comes from, and who may ask for an engine."""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import psi
from benchmarks.harness import CHECKOUT, can_import
from benchmarks.ours import psi_ecdh
from tests.crypto.plain_curve import plain_multiply

SODIUM = "benchmarks.peers.sodium"


class FakeSodium:
    """X25519 of plain integers behind libsodium's names; ``products`` counts."""

    _name = "/somewhere/libsodium.so.23"

    def __init__(self, wrong: int = 0) -> None:
        self.products, self._wrong = 0, wrong

    def sodium_init(self) -> int:
        return 0

    def crypto_scalarmult(self, out: ctypes.Array, scalar: bytes, point: ctypes.Array) -> int:
        self.products += 1
        product = bytearray(plain_multiply(scalar, point.raw))
        product[0] ^= self._wrong
        out.raw = bytes(product)
        return 0


def sodium(monkeypatch: pytest.MonkeyPatch, library: FakeSodium) -> object:
    monkeypatch.setattr(ctypes, "CDLL", lambda place: library)
    return imported(monkeypatch)


def imported(monkeypatch: pytest.MonkeyPatch) -> object:
    """The floor's module, imported again; what was imported before comes back after the test."""
    monkeypatch.setitem(sys.modules, SODIUM, None)
    del sys.modules[SODIUM]
    return importlib.import_module(SODIUM)


def test_a_row_is_two_multiplications_because_an_id_pair_is_four(monkeypatch: pytest.MonkeyPatch):
    library = FakeSodium()
    work = sodium(monkeypatch, library).prepare("crypto", {"rows": 3})
    before = library.products
    done = work()
    assert (library.products - before, done.rows, done.bytes) == (6, 3, None)
    assert done.extra == {"library": "libsodium.so.23"}


def test_a_library_that_multiplies_wrongly_is_not_measured(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(AssertionError):
        sodium(monkeypatch, FakeSodium(wrong=1)).prepare("crypto", {"rows": 3})


def test_without_libsodium_the_floor_cannot_be_imported_and_so_is_absent(monkeypatch: pytest.MonkeyPatch):
    def nowhere(place: str) -> None:
        raise OSError(place)

    monkeypatch.setattr(ctypes, "CDLL", nowhere)
    with pytest.raises(ImportError, match="libsodium23"):
        imported(monkeypatch)


def test_a_module_of_the_benchmarks_is_found_from_any_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert can_import.__wrapped__(sys.executable, "benchmarks.worker")


@pytest.mark.parametrize("protocol", ["rsa", "ecdh", "ot"])
def test_a_protocol_has_its_own_floors_and_no_others(protocol: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    known = {
        "rsa": {"libcrypto-powers", "powmod-sec-powers"},
        "ecdh": {"libsodium-multiplications"},
        "ot": set(),
    }
    assert set(psi.FLOORS[protocol]) == known[protocol]
    other = "libcrypto-powers" if protocol == "ecdh" else "libsodium-multiplications"
    options = SimpleNamespace(
        protocol=protocol, peer=[other], rows=1, bits=2048, field_bits=2, bucket_rows=64, repeats=1
    )
    with pytest.raises(SystemExit, match="unknown peer"):
        psi._crypto(options, tmp_path)


def test_a_line_says_which_engine_multiplied():
    forced = {**os.environ, "FEDSPARK_KERNELS": "numpy"}
    script = (
        f"from {psi_ecdh.__name__} import prepare; import json; print(json.dumps(prepare('', {{'rows': 40}})().extra))"
    )
    run = subprocess.run([sys.executable, "-c", script], env=forced, cwd=CHECKOUT, capture_output=True, check=True)
    assert json.loads(run.stdout)["engine"] == "openssl"


def test_an_engine_is_asked_for_under_ecdh_only(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("FEDSPARK_KERNELS", "")
    lines = []
    monkeypatch.setattr(
        psi, "print_cases", lambda cases, repeats: lines.append((cases, os.environ["FEDSPARK_KERNELS"]))
    )
    floor = ["--phase", "crypto", "--peer", "libsodium-multiplications"]
    monkeypatch.setattr(sys, "argv", ["psi", "--protocol", "ecdh", *floor])
    psi.main()
    monkeypatch.setattr(sys, "argv", ["psi", "--protocol", "ecdh", "--engine", "openssl", *floor])
    psi.main()
    assert [kernels for _, kernels in lines] == ["", "numpy"]
    assert [case.peer.name for cases, _ in lines for case in cases] == ["libsodium multiplications"] * 2
    monkeypatch.setattr(sys, "argv", ["psi", "--protocol", "ot", "--engine", "openssl"])
    with pytest.raises(SystemExit):
        psi.main()
    assert "protocol ecdh" in capsys.readouterr().err
