"""The floor under RSA: nothing but the private modular powers of the same rows, by one constant-time primitive.

``libcrypto``: BN_mod_exp_mont_consttime_x2 on numbers that are already OpenSSL's, both halves of the CRT in one call.
``powmod_sec``: GMP's mpz_powm_sec through gmpy2, the primitive of those without OpenSSL. No hash, no reduction, no
joining of the halves, no check. An id of each party costs the host two powers (its own id and the guest's blinded
one), so the mean of both parties is one power per row.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import gmpy2

from benchmarks.worker import Work
from fedspark.crypto.constant_time import Half, LibcryptoPowers, fastest
from fedspark.crypto.randomness import Stream, derive
from fedspark.crypto.rsa import EXPONENT, RsaKey


def prepare(case: str, config: dict[str, str | int]) -> Callable[[], Work]:
    """Work of one private power (both halves) per row."""
    rows, key = int(config["rows"]), RsaKey.generate(Stream(derive(bytes(range(32)), "key")), int(config["bits"]))
    d = gmpy2.invert(EXPONENT, (key.p - 1) * (key.q - 1))
    halves = (d % (key.p - 1), key.p), (d % (key.q - 1), key.q)
    powers = _libcrypto if config["primitive"] == "libcrypto" else _powmod_sec
    return lambda: powers(rows, *halves)


def _powmod_sec(count: int, first: Half, second: Half) -> Work:
    (d1, p), (d2, q) = first, second
    base1, base2, power = p // 3, q // 3, gmpy2.powmod_sec
    for _ in range(count):
        power(base1, d1, p)
        power(base2, d2, q)
    return Work(count)


def _libcrypto(count: int, first: Half, second: Half) -> Work:
    maker = fastest()
    if not isinstance(maker, LibcryptoPowers):
        raise RuntimeError("no usable libcrypto on this machine; measure powmod_sec instead")
    with ExitStack() as cleanup:
        context = maker._made("BN_CTX_new", "BN_CTX_free", cleanup)
        arguments: list[int] = []
        for exponent, modulus in (first, second):
            result, base, d, n, montgomery, *_ = maker._half(exponent, modulus, context, cleanup)
            maker._load(modulus // 3, base)
            arguments += [result, base, d, n, montgomery]
        power = maker._library.BN_mod_exp_mont_consttime_x2
        for _ in range(count):
            power(*arguments, context)
    return Work(count)
