"""Kernels of this machine: compiled once, kept as object code in a directory of this user, loaded by ctypes.

llvmlite (it comes with numba; optional) compiles in 0.13 s of CPU time; later processes load what it made and compare
it with GMP (``engine_choice``) in 0.03 s.
The file's name is the digest of the assembly, the instruction set and the LLVM version, and the file begins with the
digest of its content, so what is damaged or of another version is compiled again. ctypes releases the interpreter
lock while a kernel runs.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from hashlib import sha256
from importlib import import_module
from typing import Any

from fedspark.crypto.private_files import kept
from fedspark.crypto.vector.code import SHAPES, Shape
from fedspark.crypto.vector.kernels import KERNELS, assembly

_KEPT = 8


class Kernels:
    """The functions of ``kernels.KERNELS`` for one instruction set, as attributes."""

    def __init__(self, shape: Shape, llvm: Any) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self.shape = shape
        text, triple = assembly(shape), llvm.get_process_triple()
        machine = llvm.Target.from_triple(triple).create_target_machine(
            cpu=shape.cpu, features=",".join(f"+{feature}" for feature in shape.features), opt=3, reloc="pic", jit=True
        )
        label = "\0".join([text, triple, shape.cpu, *shape.features, *map(str, llvm.llvm_version_info)])

        def translate() -> bytes:
            module = llvm.parse_assembly(text)
            module.verify()
            return bytes(machine.emit_object(module))

        name = f"paillier-{shape.name}-{sha256(label.encode()).hexdigest()[:32]}.o"
        code = kept(name, translate, keep=("paillier-*.o", _KEPT))
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(f'target triple = "{triple}"'), machine)
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        for name, (arguments, _) in KERNELS.items():
            address = self._engine.get_function_address(name)
            if not address:
                raise RuntimeError(f"the compiled code has no function {name}")
            setattr(self, name, ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * len(arguments))(address))

    def __getattr__(self, name: str) -> Any:  # for mypy: kernels are set by name
        raise AttributeError(name)


def runnable() -> list[str]:
    """Names of the instruction sets that this machine has, the fastest first; none without llvmlite."""
    if sys.byteorder != "little" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return []
    try:
        features = import_module("llvmlite.binding").get_host_cpu_features()
    except (ImportError, OSError, RuntimeError):
        return []
    wanted = {shape.name: {*shape.features, "avx2", "bmi2"} for shape in SHAPES}
    return [name for name, flags in wanted.items() if all(features.get(flag) for flag in flags)]


@cache
def kernels(name: str) -> Kernels:
    """The kernels for an instruction set of ``runnable()``. Raises ImportError, OSError or RuntimeError."""
    return Kernels(next(shape for shape in SHAPES if shape.name == name), import_module("llvmlite.binding"))
