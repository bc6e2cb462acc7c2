from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fedspark.crypto import engine_choice, private_files
from fedspark.crypto.engine_choice import agrees, chosen_kernels, engine_for_modulus
from fedspark.crypto.paillier_engine import Gmpy2Engine
from fedspark.crypto.private_files import DIGEST_BYTES, kept, kept_file, private_directory
from fedspark.crypto.vector import tables
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
def test_kernels_that_were_asked_for_and_do_not_run_are_an_error(choose, monkeypatch):
    def broken(name):
        raise RuntimeError("no such instruction")

    monkeypatch.setenv("FEDSPARK_KERNELS", "numba")
    assert choose() is not None
    cases = [
        ("agrees", lambda made: False, rf"{runnable()[0]}: they disagree with GMP"),
        ("kernels", broken, rf"{runnable()[-1]}: no such instruction"),
        ("runnable", list, r"the processor has no AVX2"),
    ]
    for name, change, words in cases:
        with monkeypatch.context() as patch:
            patch.setattr(engine_choice, name, change)
            with pytest.raises(CryptoError, match=rf"FEDSPARK_KERNELS asks for numba.*{words}"):
                choose()


@vector
@pytest.mark.parametrize("error", [ZeroDivisionError, OverflowError, ValueError, CryptoError])
def test_kernels_whose_numbers_lead_to_an_error_disagree(monkeypatch, error):
    def failing(*arguments):
        raise error("of a wrong number")

    monkeypatch.setattr(engine_choice.VectorEngine, "total", failing)
    assert not agrees(kernels(runnable()[0]))


@vector
def test_kernels_that_decrypt_wrongly_disagree(monkeypatch):
    right, seen = Modulus.enter_long, []  # of ciphertexts that are to be decrypted, and of nothing else
    with monkeypatch.context() as patch:
        patch.setattr(Modulus, "enter_long", lambda m, cells: seen.append(len(cells)) or right(m, cells))
        assert agrees(kernels(runnable()[0]))
        assert len(seen) == 2
    monkeypatch.setattr(Modulus, "enter_long", lambda m, cells: right(m, cells[::-1].copy()))
    assert not agrees(kernels(runnable()[0]))


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


def fallback(monkeypatch, tmp_path) -> Path:
    """Another temporary directory, that nobody but root and this user can change."""
    monkeypatch.setattr(private_files.tempfile, "gettempdir", lambda: str(tmp_path))
    return tmp_path / f"fedspark-{os.getuid()}" / "kept"


@pytest.mark.parametrize("base", ["cache", "./cache", "~/.cache"])
def test_a_place_that_depends_on_the_working_directory_is_not_used(base, monkeypatch, tmp_path):
    other = fallback(monkeypatch, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", base)
    assert private_directory() == other
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.parent.name]


@pytest.mark.parametrize(("mode", "used"), [(0o777, False), (0o770, False), (0o1777, True), (0o755, True)])
def test_a_directory_that_others_can_replace_is_not_used(mode, used, monkeypatch, tmp_path):
    open_to_all = tmp_path / "open"
    (open_to_all / "mine").mkdir(parents=True, mode=0o700)
    other = fallback(monkeypatch, tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(open_to_all / "mine"))
    open_to_all.chmod(mode)
    inside = open_to_all / "mine" / "fedspark" / "kept"
    assert private_directory() == (inside if used else other)
    assert inside.exists() == used


def test_a_directory_below_somebody_else_s_is_not_used(monkeypatch, tmp_path):
    other = fallback(monkeypatch, tmp_path)
    theirs, lstat = tmp_path / "theirs", Path.lstat
    (theirs / "mine").mkdir(parents=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(theirs / "mine"))

    def foreign(path):
        status = lstat(path)
        return os.stat_result([*status[:4], os.getuid() + 1, *status[5:]]) if path == theirs else status

    assert private_directory() == theirs / "mine" / "fedspark" / "kept"
    monkeypatch.setattr(Path, "lstat", foreign)
    assert private_directory() == other


def test_a_link_is_followed_to_the_directory_that_is_then_looked_at(monkeypatch, tmp_path):
    other = fallback(monkeypatch, tmp_path)
    (tmp_path / "open" / "mine").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "open" / "mine")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "link"))
    assert private_directory() == tmp_path / "open" / "mine" / "fedspark" / "kept"
    (tmp_path / "open").chmod(0o777)
    assert private_directory() == other


def test_directories_on_the_way_are_made_for_this_user_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a" / "b"))
    before = os.umask(0)
    try:
        made = private_directory()
    finally:
        os.umask(before)
    assert made == tmp_path / "a" / "b" / "fedspark" / "kept"
    assert [oct(path.stat().st_mode & 0o777) for path in [made, *made.parents][:4]] == ["0o700"] * 4


def test_what_was_checked_is_what_is_used(cache, monkeypatch):
    kept("a", lambda: b"content")
    opened = private_files._open

    def swapped(path):
        file = opened(path)
        path.unlink()
        path.write_bytes(b"something else")
        return file

    monkeypatch.setattr(private_files, "_open", swapped)
    assert kept("a", lambda: b"remade") == b"content"
    (cache / "a").unlink()
    monkeypatch.setattr(private_files, "_open", opened)
    kept("a", lambda: b"content")
    monkeypatch.setattr(private_files, "_open", swapped)
    with kept_file("a", lambda: b"remade") as file:
        assert np.memmap(file, np.uint8, "r", DIGEST_BYTES).tobytes() == b"content"


@pytest.mark.parametrize("link", ["link", "writable", "fifo"])
def test_a_file_that_is_not_this_user_s_own_is_neither_read_nor_mapped(cache, link):
    kept("b", lambda: b"content")
    path = cache / "a"
    if link == "link":
        path.symlink_to(cache / "b")
    elif link == "fifo":
        os.mkfifo(path)
    else:
        (cache / "b").rename(path)
        path.chmod(0o622)
    with kept_file("a", lambda: b"remade") as file:
        file.seek(DIGEST_BYTES)
        assert file.read() == b"remade"


def test_what_killed_writers_left_is_removed_and_what_others_are_writing_is_not(cache):
    kept("a", lambda: b"content")
    for name, age in ((".a.left", 7200), (".nonces-1.table.left", 7200), (".a.being-written", 60)):
        (cache / name).write_bytes(b"half")
        then = time.time() - age
        os.utime(cache / name, (then, then))
    kept("b", lambda: b"other")
    assert sorted(path.name for path in cache.iterdir()) == [".a.being-written", "a", "b"]


def test_where_no_file_can_be_kept_the_content_is_made_each_time(monkeypatch):
    monkeypatch.setattr(private_files, "private_directory", lambda: None)
    assert kept_file("a", lambda: b"content") == b"content"
    assert kept("a", lambda: b"content") == b"content"


def test_only_the_latest_files_of_a_kind_stay(cache):
    for number in range(5):
        kept_file(f"x-{number}", lambda: b"content", keep=("x-*", 2)).close()
        os.utime(cache / f"x-{number}", (number, number))
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
def test_a_table_of_another_layout_is_another_file(cache, monkeypatch, private_key):
    m = Modulus(kernels(runnable()[0]), Gmpy2Engine(private_key.public.n).n2)
    shared_table(m, m.n - 5, 8)
    monkeypatch.setattr(tables, "_LAYOUT", tables._LAYOUT + 1)
    shared_table(m, m.n - 5, 8)
    assert len(list(cache.glob("nonces-*.table"))) == 2


@vector
def test_the_tables_of_an_owner_are_in_no_file(cache, private_key):
    made = engine_choice.VectorOwnerEngine(private_key.p, private_key.q, kernels(runnable()[0]))
    assert made._half_tables[0].shape[:2] == (128, 256)
    assert not list(cache.glob("nonces-*")) if cache.exists() else True
