"""No number chooses a branch or an address in the kernels that see secret ones: shown on what LLVM reads and writes."""

from __future__ import annotations

import re

import pytest

from fedspark.crypto.vector.code import SHAPES, Shape
from fedspark.crypto.vector.compiled import runnable
from fedspark.crypto.vector.kernels import KERNELS, assembly

BY_DIGITS = {"fixed", "buckets"}  # one-time exponents and a party's own matrix are addresses there

everywhere = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)


def functions(shape: Shape) -> dict[str, str]:
    found = re.findall(r"^define (?:internal )?void @(\w+)\((.*?^)}", assembly(shape), re.M | re.S)
    assert {name for name, _ in found} == {*KERNELS, "product", "square"}
    return dict(found)


@everywhere
def test_vectors_never_become_words_and_so_neither_branches_nor_addresses(shape):
    # Addresses and conditions are words; a word comes from arithmetic on words, from the modulus' header or from
    # arguments. Numbers are only ever loaded as vectors.
    for name, body in functions(shape).items():
        assert not re.search(r"extractelement|bitcast|ptrtoint|icmp \w+ <|vector\.reduce", body), name
        made_of_words = re.findall(r"(%\w+) = load i\d+, ptr (%\w+)", body)
        header = {"%m", *re.findall(r"(%\w+) = getelementptr i8, ptr %m, i64 \d+$", body, re.M)}
        others = [pointer for _, pointer in made_of_words if pointer not in header]
        assert bool(others) == (name in BY_DIGITS), name
        for condition in re.findall(r"br i1 (%\w+)", body):
            assert re.search(rf"{re.escape(condition)} = icmp slt i64 ", body)


@everywhere
@pytest.mark.skipif(not runnable(), reason="llvmlite is absent, or the processor has no AVX2")
def test_the_compiler_adds_no_branch_on_a_vector(shape):
    llvm = pytest.importorskip("llvmlite.binding")
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_triple("x86_64-unknown-linux-gnu")
    features = ",".join(f"+{feature}" for feature in shape.features)
    code = target.create_target_machine(cpu=shape.cpu, features=features, opt=3, reloc="pic", jit=True).emit_assembly(
        llvm.parse_assembly(assembly(shape))
    )
    for name in {*KERNELS, "product", "square"} - BY_DIGITS:
        body = code[code.index(f"\n{name}:") :]
        body = body[: body.index(".Lfunc_end")]
        assert re.search(r"%[yz]mm|call", body), name
        assert not re.search(r"vptest|vmovmsk|kortest|kmov|ktest|vpgather|vpmaskmov|vpextr|%k[0-7]", body), name
