from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fedspark.crypto import engine_choice, private_files
from fedspark.crypto.engine_choice import agrees, chosen_kernels, engine_for_modulus
from fedspark.crypto.paillier_engine import Gmpy2Engine
from fedspark.crypto.private_files import DIGEST_BYTES, kept, kept_file, private_directory
from fedspark.crypto.vector.compiled import kernels, runnable
from fedspark.crypto.vector.kernels import KERNELS
from fedspark.crypto.vector.modulus import Modulus
from fedspark.crypto.vector.tables import shared_table
from fedspark.errors import CryptoError

vector = pytest.mark.skipif(not runnable(), reason="llvmlite is absent, or the processor has no AVX2")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "fedspark" / "kept"


@pytest.fixture
def choose(monkeypatch):
    """A fresh decision, not this process's."""
    monkeypatch.delenv("FEDSPARK_KERNELS", raising=False)
    return chosen_kernels.__wrapped__


# ---- which engine ----------------------------------------------------------------------------------------------------


@vector
def test_the_fastest_instruction_set_is_chosen(choose):
    assert choose().shape.name == runnable()[0]


def test_without_numba_the_engine_is_gmpy2_and_the_log_says_so_in_one_line(choose, monkeypatch, caplog, private_key):
    monkeypatch.setattr(engine_choice, "find_spec", lambda name: None)
    with caplog.at_level(logging.INFO, "fedspark.crypto.paillier"):
        assert choose() is None
    assert [record.getMessage() for record in caplog.records] == [
        "numba is not installed: Paillier computes with gmpy2, five to ten times more slowly."
    ]
    monkeypatch.setattr(engine_choice, "chosen_kernels", lambda: None)
    assert type(engine_for_modulus.__wrapped__(private_key.public.n)) is Gmpy2Engine
    assert engine_choice.owner_engine.__wrapped__(private_key.p, private_key.q).name == "gmpy2, owner"


def test_without_numba_kernels_that_were_asked_for_are_an_error(choose, monkeypatch):
    monkeypatch.setattr(engine_choice, "find_spec", lambda name: None)
    monkeypatch.setenv("FEDSPARK_KERNELS", "numba")
    with pytest.raises(CryptoError, match=r"FEDSPARK_KERNELS asks for numba"):
        choose()


def test_kernels_can_be_declined(choose, monkeypatch):
    monkeypatch.setenv("FEDSPARK_KERNELS", "numpy")
    assert choose() is None


@vector
def test_kernels_that_disagree_with_gmp_or_do_not_compile_are_passed_over(choose, monkeypatch, caplog):
    def broken(name):
        raise RuntimeError("no such instruction")

    for change in (("agrees", lambda made: False), ("kernels", broken)):
        with monkeypatch.context() as patch:
            patch.setattr(engine_choice, *change)
            assert choose() is None
    assert "they disagree with GMP" in caplog.text
    assert "no such instruction" in caplog.text


@vector
@pytest.mark.parametrize("kernel", sorted(KERNELS))
def test_a_kernel_that_does_nothing_is_noticed(kernel):
    class Faulty:
        def __getattr__(self, name):
            return (lambda *arguments: None) if name == kernel else getattr(kernels(runnable()[0]), name)

    assert agrees(kernels(runnable()[0]))
    assert not agrees(Faulty())


# ---- files -----------------------------------------------------------------------------------------------------------


def test_a_file_is_made_once_and_only_this_user_can_write_it(cache):
    made = []
    for _ in range(2):
        assert kept("a", lambda: made.append(1) or b"content") == b"content"
    assert made == [1]
    assert oct((cache / "a").stat().st_mode & 0o777) == "0o600"
    assert oct(cache.stat().st_mode & 0o777) == "0o700"
    assert [path.name for path in cache.iterdir()] == ["a"]


@pytest.mark.parametrize("damage", ["content", "digest", "short", "empty", "link", "writable"])
def test_a_damaged_or_foreign_file_is_made_again(cache, damage):
    kept("a", lambda: b"content")
    path, data = cache / "a", (cache / "a").read_bytes()
    if damage == "link":
        path.rename(cache / "b")
        path.symlink_to(cache / "b")
    elif damage == "writable":
        path.chmod(0o622)
    else:
        spoilt = {
            "content": data[:-1] + b"x",
            "digest": b"0" * 64 + data[64:],
            "short": data[:-2],
            "empty": b"",
        }
        path.write_bytes(spoilt[damage])
    assert kept("a", lambda: b"remade") == b"remade"
    assert path.read_bytes()[DIGEST_BYTES:] == b"remade"
    assert not path.is_symlink()


def test_a_directory_that_others_can_write_to_is_not_used(cache):
    kept("a", lambda: b"content")
    cache.chmod(0o777)
    assert private_directory() != cache


def test_where_no_file_can_be_kept_the_content_is_made_each_time(monkeypatch):
    monkeypatch.setattr(private_files, "private_directory", lambda: None)
    assert kept_file("a", lambda: b"content") == b"content"
    assert kept("a", lambda: b"content") == b"content"


def test_only_the_latest_files_of_a_kind_stay(cache):
    for number in range(5):
        path = kept_file(f"x-{number}", lambda: b"content", keep=("x-*", 2))
        os.utime(path, (number, number))
    kept("y", lambda: b"other")
    assert sorted(path.name for path in cache.iterdir()) == ["x-3", "x-4", "y"]


@vector
def test_code_is_compiled_once_for_all_processes(cache):
    # A process that finds the code loads it: the assembly is not parsed again.
    script = (
        "from fedspark.crypto.vector.compiled import kernels, runnable\n"
        "import llvmlite.binding as llvm\n"
        "parse, texts = llvm.parse_assembly, []\n"
        "llvm.parse_assembly = lambda text: texts.append(text) or parse(text)\n"
        "kernels(runnable()[0])\n"
        "print(any('define' in text for text in texts))\n"
    )
    run = [sys.executable, "-c", script]
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    told = [subprocess.run(run, env=environment, check=True, capture_output=True, text=True).stdout for _ in range(2)]
    assert told == ["True\n", "False\n"]


@vector
def test_the_table_of_nonces_is_one_file_for_all_processes_and_the_same_without(cache, monkeypatch, private_key):
    m = Modulus(kernels(runnable()[0]), Gmpy2Engine(private_key.public.n).n2)
    first, second = shared_table(m, m.n - 5, 8), shared_table(m, m.n - 5, 8)
    assert isinstance(first, np.memmap)
    assert isinstance(second, np.memmap)
    assert not second.flags.writeable
    assert len(list(cache.glob("nonces-*.table"))) == 1
    monkeypatch.setattr(private_files, "private_directory", lambda: None)
    alone = shared_table(m, m.n - 5, 8)
    assert not isinstance(alone, np.memmap)
    np.testing.assert_array_equal(alone, first)


@vector
def test_the_tables_of_an_owner_are_in_no_file(cache, private_key):
    made = engine_choice.VectorOwnerEngine(private_key.p, private_key.q, kernels(runnable()[0]))
    assert made._half_tables[0].shape[:2] == (128, 256)
    assert not list(cache.glob("nonces-*")) if cache.exists() else True
