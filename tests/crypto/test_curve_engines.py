"""Which engine computes on Curve25519, and that the faster one's machine code has no jump that a secret decides."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from fedspark.crypto import curve_engines, curve_kernel
from fedspark.crypto.curve_engines import LibraryCurve, agree, fastest
from fedspark.crypto.curve_kernel import ifma_curve
from fedspark.errors import CryptoError

LIBRARY = LibraryCurve()


def needs_ifma(test: Callable[..., None]) -> Callable[..., None] | None:
    """Collect a test of the vector kernels only where they run."""
    return test if ifma_curve() is not None else None


def test_an_engine_that_computes_one_wrong_bit_is_not_used(monkeypatch: pytest.MonkeyPatch):
    class Wrong(LibraryCurve):
        name = "wrong"

        def map_hashes(self, hashes: np.ndarray) -> np.ndarray:
            points = super().map_hashes(hashes).copy()
            points[-1, 5] ^= 1
            return points

    assert agree(LIBRARY, LibraryCurve())
    assert not agree(Wrong(), LIBRARY)
    monkeypatch.setattr(curve_engines, "ifma_curve", Wrong)
    assert fastest.__wrapped__().name == "openssl"


@needs_ifma
def test_the_environment_declines_the_vector_kernels(monkeypatch: pytest.MonkeyPatch):
    for wanted, name in (("numpy", "openssl"), ("numba", "ifma"), ("", "ifma")):
        monkeypatch.setenv("FEDSPARK_KERNELS", wanted)
        assert fastest.__wrapped__().name == name


def test_kernels_that_nobody_knows_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FEDSPARK_KERNELS", "openssl")
    with pytest.raises(CryptoError, match="'openssl'"):
        fastest.__wrapped__()


def test_without_llvmlite_openssl_is_used(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "llvmlite.binding", None)
    assert ifma_curve() is None
    assert fastest.__wrapped__().name == "openssl"


@pytest.mark.parametrize("features", [{}, {"avx512f": True, "avx512dq": True}])
def test_without_the_instructions_openssl_is_used(monkeypatch: pytest.MonkeyPatch, features: dict[str, bool]):
    monkeypatch.setattr(
        curve_kernel, "import_module", lambda name: SimpleNamespace(get_host_cpu_features=lambda: features)
    )
    assert ifma_curve() is None


@needs_ifma
def test_the_machine_code_of_the_ladder_jumps_back_at_the_end_of_its_two_loops_and_nowhere_else():
    llvm = pytest.importorskip("llvmlite.binding")
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3
    )
    text = machine.emit_assembly(llvm.parse_assembly(curve_kernel.assembly()))
    ladder = text.split("\nladder:")[1].split(".Lfunc_end")[0]
    instructions = re.findall(r"^\t([a-z]\w*)", ladder, re.MULTILINE)
    assert sum(name.startswith("j") for name in instructions) == 2
    assert not {name for name in instructions if "gather" in name or name.startswith(("call", "div", "idiv"))}
    assert "vpmadd52luq" in instructions
