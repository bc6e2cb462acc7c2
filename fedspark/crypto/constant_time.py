"""Powers with private exponents, whose run time and memory accesses do not depend on the exponent; and many powers
with one public exponent, whose sequence of products is that of the exponent, whatever the numbers are.

Two makers of the same bits: OpenSSL's ``BN_mod_exp_mont_consttime`` through ctypes (on processors with AVX-512 IFMA
its ``_x2`` form raises to two exponents at once, several times faster), and GMP's ``mpz_powm_sec`` where no OpenSSL 3
is found or it fails the self-test at load. Public exponents: OpenSSL's ``BN_mod_exp_mont``, else GMP's ``mpz_powm``.
Only the powers are constant-time: reducing the base and joining the halves by CRT use ordinary GMP arithmetic.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Protocol

import gmpy2
from gmpy2 import mpz

from fedspark.errors import CryptoError

# Versioned names only: macOS ends a process that loads an unversioned libcrypto.
_LIBRARIES = ("libcrypto.so.3", "libcrypto.3.dylib", "libcrypto-3-x64.dll", "libcrypto-3.dll")
_CONSTANT_TIME_FLAG = 0x04  # BN_FLG_CONSTTIME
_OPENSSL_3 = 0x30000000
_FAULTY_IFMA = 0x30000040  # OpenSSL 3.0.4: heap overflow in the AVX-512 IFMA power (CVE-2022-2274)


Half = tuple[mpz, mpz]
"""(secret exponent > 0, odd modulus > 1) of one of the two powers."""


class Powers(Protocol):
    """A maker of pairs of powers."""

    name: str

    def pairs(self, values: Iterable[mpz], first: Half, second: Half) -> Iterator[tuple[mpz, mpz]]:
        """(v^d1 mod m1, v^d2 mod m2) for every value v, with (d, m) = ``first`` and ``second``."""
        ...

    def public(self, values: Iterable[mpz], exponent: int, modulus: mpz) -> Iterator[mpz]:
        """v^exponent mod modulus for every value v."""
        ...


def power_pairs(values: Iterable[mpz], first: Half, second: Half) -> Iterator[tuple[mpz, mpz]]:
    """(v^d1 mod m1, v^d2 mod m2) for every value v, by the fastest sound maker on this machine.

    Raises CryptoError for an exponent below 1 or an even modulus.
    """
    for exponent, modulus in (first, second):
        _check(exponent, modulus)
    return fastest().pairs(values, first, second)


def public_powers(values: Iterable[mpz], exponent: int, modulus: mpz) -> Iterator[mpz]:
    """v^exponent mod modulus for every value v >= 0; exponent and modulus are public, the values may be secret.

    The same squarings and products for every value. Raises CryptoError for an exponent below 1 or an even modulus.
    """
    _check(exponent, modulus)
    return fastest().public(values, exponent, modulus)


def _check(exponent: int, modulus: mpz) -> None:
    if exponent <= 0 or modulus < 3 or modulus % 2 == 0:
        raise CryptoError("A modular power needs a positive exponent and an odd modulus.", remedy="Check the key.")


@cache
def fastest() -> Powers:
    """OpenSSL where it is found and agrees with GMP on known powers, else GMP. Decided once per process."""
    return next((library for library in map(_libcrypto, _LIBRARIES) if library is not None), GmpPowers())


class GmpPowers:
    """GMP's mpz_powm_sec (private exponents) and mpz_powm (public ones), present everywhere."""

    name = "gmp"

    def pairs(self, values: Iterable[mpz], first: Half, second: Half) -> Iterator[tuple[mpz, mpz]]:
        (d1, m1), (d2, m2) = first, second
        for value in values:
            yield gmpy2.powmod_sec(value % m1, d1, m1), gmpy2.powmod_sec(value % m2, d2, m2)

    def public(self, values: Iterable[mpz], exponent: int, modulus: mpz) -> Iterator[mpz]:
        for value in values:
            yield gmpy2.powmod(value, exponent, modulus)


class LibcryptoPowers:
    """OpenSSL's bignums through ctypes. Every number is allocated per batch, checked, and cleared when the batch
    ends.
    """

    name = "openssl"

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        pointer, number = ctypes.c_void_p, ctypes.c_int
        for name, result, arguments in (
            ("BN_new", pointer, []),
            ("BN_secure_new", pointer, []),
            ("BN_clear_free", None, [pointer]),
            ("BN_set_flags", None, [pointer, number]),
            ("BN_lebin2bn", pointer, [ctypes.c_char_p, number, pointer]),
            ("BN_bn2lebinpad", number, [pointer, ctypes.c_char_p, number]),
            ("BN_CTX_new", pointer, []),
            ("BN_CTX_free", None, [pointer]),
            ("BN_MONT_CTX_new", pointer, []),
            ("BN_MONT_CTX_set", number, [pointer] * 3),
            ("BN_MONT_CTX_free", None, [pointer]),
            ("BN_mod_exp_mont_consttime_x2", number, [pointer] * 11),
            ("BN_mod_exp_mont", number, [pointer] * 6),
        ):
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments

    def pairs(self, values: Iterable[mpz], first: Half, second: Half) -> Iterator[tuple[mpz, mpz]]:
        with ExitStack() as cleanup:
            context = self._made("BN_CTX_new", "BN_CTX_free", cleanup)
            halves = [self._half(d, m, context, cleanup) for d, m in (first, second)]
            (r1, b1, d1, n1, mont1, m1, size1), (r2, b2, d2, n2, mont2, m2, size2) = halves
            out1, out2 = ctypes.create_string_buffer(size1), ctypes.create_string_buffer(size2)
            power, load, store = (
                getattr(self._library, name)
                for name in ("BN_mod_exp_mont_consttime_x2", "BN_lebin2bn", "BN_bn2lebinpad")
            )
            for value in values:
                loaded = load((value % m1).to_bytes(size1, "little"), size1, b1) and load(
                    (value % m2).to_bytes(size2, "little"), size2, b2
                )
                if not (
                    loaded
                    and power(r1, b1, d1, n1, mont1, r2, b2, d2, n2, mont2, context) == 1
                    and store(r1, out1, size1) == size1
                    and store(r2, out2, size2) == size2
                ):
                    raise CryptoError("OpenSSL could not compute a private power (most often: out of memory).")
                yield mpz.from_bytes(out1.raw, "little"), mpz.from_bytes(out2.raw, "little")

    def public(self, values: Iterable[mpz], exponent: int, modulus: mpz) -> Iterator[mpz]:
        with ExitStack() as cleanup:
            context = self._made("BN_CTX_new", "BN_CTX_free", cleanup)
            result, base, e, n = (self._made("BN_new", "BN_clear_free", cleanup) for _ in range(4))
            self._load(mpz(exponent), e)
            size = self._load(modulus, n)
            montgomery = self._montgomery(n, context, cleanup)
            out = ctypes.create_string_buffer(size)
            power, load, store = (
                getattr(self._library, name) for name in ("BN_mod_exp_mont", "BN_lebin2bn", "BN_bn2lebinpad")
            )
            for value in values:
                if not (
                    load((value % modulus).to_bytes(size, "little"), size, base)
                    and power(result, base, e, n, context, montgomery) == 1
                    and store(result, out, size) == size
                ):
                    raise CryptoError("OpenSSL could not compute a public power (most often: out of memory).")
                yield mpz.from_bytes(out.raw, "little")

    def _half(
        self, exponent: mpz, modulus: mpz, context: int, cleanup: ExitStack
    ) -> tuple[int, int, int, int, int, mpz, int]:
        """Result, base, exponent, modulus, Montgomery context, and the modulus and its bytes again for Python."""
        size = -(-modulus.bit_length() // 8)
        result, base = (self._made("BN_new", "BN_clear_free", cleanup) for _ in range(2))
        d, n = self._secret(exponent, cleanup), self._secret(modulus, cleanup)
        return result, base, d, n, self._montgomery(n, context, cleanup), modulus, size

    def _montgomery(self, modulus: int, context: int, cleanup: ExitStack) -> int:
        montgomery = self._made("BN_MONT_CTX_new", "BN_MONT_CTX_free", cleanup)
        if self._library.BN_MONT_CTX_set(montgomery, modulus, context) != 1:
            raise CryptoError("OpenSSL refused a modulus.", remedy="Check the key.")
        return montgomery

    def _secret(self, value: mpz, cleanup: ExitStack) -> int:
        number = self._made("BN_secure_new", "BN_clear_free", cleanup)
        self._library.BN_set_flags(number, _CONSTANT_TIME_FLAG)
        self._load(value, number)
        return number

    def _load(self, value: mpz, number: int) -> int:
        """Put a value into OpenSSL's ``number``; returns how many bytes it has."""
        data = value.to_bytes(-(-value.bit_length() // 8), "little")
        if not self._library.BN_lebin2bn(data, len(data), number):
            raise CryptoError("OpenSSL could not load a number (most often: out of memory).")
        return len(data)

    def _made(self, make: str, free: str, cleanup: ExitStack) -> int:
        made: int | None = getattr(self._library, make)()
        if not made:
            raise CryptoError(f"OpenSSL could not allocate memory ({make}).")
        cleanup.callback(getattr(self._library, free), made)
        return made


def _libcrypto(name: str) -> LibcryptoPowers | None:
    """The library under this file name if it loads, has every function, is no faulty release and passes the
    self-test.
    """
    try:
        library = ctypes.CDLL(name)
        library.OpenSSL_version_num.restype = ctypes.c_ulong
        version = library.OpenSSL_version_num()
        if version < _OPENSSL_3 or version & ~0xF == _FAULTY_IFMA:
            return None
        powers = LibcryptoPowers(library)
    except (OSError, AttributeError):
        return None
    return powers if _agrees_with_gmp(powers) else None


def _agrees_with_gmp(powers: Powers) -> bool:
    """Compare with GMP at the sizes in use (RSA-2048 and -3072 primes, squares of Paillier primes) and at small and
    odd ones.
    """
    reference = GmpPowers()
    for bits in (64, 521, 1024, 1536, 2048):
        first = (mpz(2) ** bits // 3, mpz(2) ** bits - 105)
        second = (mpz(2) ** (bits - 1) // 5 + 1, mpz(2) ** bits - 1)
        values = [mpz(0), mpz(1), first[1] - 1, mpz(3) ** bits, mpz(7) ** (bits // 3)]
        try:
            if list(powers.pairs(values, first, second)) != list(reference.pairs(values, first, second)):
                return False
            for exponent in (1, 3, 65537):
                if list(powers.public(values, exponent, first[1])) != list(
                    reference.public(values, exponent, first[1])
                ):
                    return False
        except CryptoError:
            return False
    return True
