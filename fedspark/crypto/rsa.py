"""RSA full-domain-hash blind signatures: the keyed function under RSA private set intersection.

De Cristofaro and Tsudik, "Practical Private Set Intersection Protocols with Linear Complexity", Financial
Cryptography 2010 (figure 4), over Chaum's blind signature (CRYPTO 1982). The signer computes H(id)^d without seeing
the id:

    guest   y = H(id) r^e mod n       r uniform in Z_n*           full_domain_hash, Stream.units, blind
    host    s = y^d mod n             by CRT, checked by product  sign
    guest   s / r = H(id)^d mod n     (s / r)^e = H(id) checked   batch_inverse, unblind, check_signatures

A short r would let the signer test ids (y / H(guess) is then the e-th power of a small number), so blinds are
uniform. The hash covers all of Z_n. A modulus for which e-th roots do not always exist would let a dishonest host
sort blinded ids into classes; the ownership proof (8 roots of numbers that the host cannot choose) makes that fail
except with probability 2^-128.

Bulk functions take and return lists of residues; columns travel as uint8[N, bits/8], big-endian. Adversary:
semi-honest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import gmpy2
import numpy as np
import numpy.typing as npt
from gmpy2 import mpz

from fedspark.crypto.constant_time import power_pairs, public_powers
from fedspark.crypto.hashing import prefixed, utf8
from fedspark.crypto.moduli import check_key_bits, check_modulus, modulus_from_json
from fedspark.crypto.primes import product_of_primes
from fedspark.crypto.randomness import Stream
from fedspark.crypto.residues import all_units, batch_inverse, product
from fedspark.errors import CryptoError

__all__ = [
    "EXPONENT",
    "RsaKey",
    "RsaPublic",
    "batch_inverse",
    "blind",
    "check_public",
    "check_signatures",
    "from_array",
    "full_domain_hash",
    "prove",
    "sign",
    "to_array",
    "unblind",
    "verify_proof",
]

EXPONENT = 65537
"""The public exponent: a constant of the protocol, never read from a message."""

PROOF_ROOTS = 8
_WORTH_SCREENING = 1024  # rows; below, folding the cells costs more than it saves
_HASH_LABEL = b"fedspark rsa full-domain hash v1"
_PROOF_LABEL = b"fedspark rsa ownership proof v1"


@dataclass(frozen=True)
class RsaPublic:
    """A modulus ``n`` of exactly ``bits`` bits. From a peer: ``from_json``, then ``verify_proof``."""

    n: int = field(repr=False)
    bits: int

    @property
    def width(self) -> int:
        """Bytes of one residue on the wire."""
        return self.bits // 8

    def to_json(self) -> dict[str, str]:
        """The key as a flat JSON object with the modulus in hexadecimal."""
        return {"kind": "rsa", "bits": str(self.bits), "n": f"{self.n:x}"}

    @staticmethod
    def from_json(data: Mapping[str, object], bits: int) -> RsaPublic:
        """The key in a received object, checked against the agreed ``bits`` (``check_public``). Raises CryptoError."""
        public = RsaPublic(modulus_from_json(data, "rsa", bits), bits)
        check_public(public)
        return public


@dataclass(frozen=True)
class RsaKey:
    """The signer's key. Private numbers are left out of ``repr``."""

    public: RsaPublic
    p: mpz = field(repr=False)
    q: mpz = field(repr=False)

    @staticmethod
    def generate(stream: Stream, bits: int = 2048) -> RsaKey:
        """The key that belongs to ``stream``: the same stream gives the same key. ``bits`` is 2048, 3072 or 4096,
        else CryptoError.
        """
        check_key_bits(bits)
        p, q = product_of_primes(stream, bits, lambda r: gmpy2.gcd(r - 1, EXPONENT) == 1, lambda p, q: True)
        return RsaKey(RsaPublic(int(p * q), bits), p, q)


def check_public(public: RsaPublic) -> None:
    """Refuse (CryptoError) a modulus that is even, not of exactly the agreed bits, or has a prime factor below 2^16."""
    check_key_bits(public.bits)
    check_modulus(public.n, public.bits, "RSA")


def full_domain_hash(public: RsaPublic, context: bytes, ids: Sequence[str]) -> list[mpz]:
    """H(id) in [0, n) for every id: SHAKE-256 of (context, id) to |n| + 128 bits, reduced, so that it is uniform up
    to 2^-128.

    ``context`` names the run and the purpose. Raises CryptoError for an id that is not Unicode text.
    """
    return _hash(public, _HASH_LABEL, context, utf8(ids))


def _hash(public: RsaPublic, label: bytes, context: bytes, messages: Iterable[bytes]) -> list[mpz]:
    begun = hashlib.shake_256(prefixed(label) + prefixed(context))
    n, length = mpz(public.n), public.width + 16
    hashes = []
    for message in messages:
        shake = begun.copy()
        shake.update(message)
        hashes.append(mpz.from_bytes(shake.digest(length), "big") % n)
    return hashes


def blind(public: RsaPublic, hashes: Sequence[int], r: Sequence[int]) -> list[mpz]:
    """h r^e mod n row by row. ``r`` must come from ``Stream.units(n, N)`` and be used once. Raises CryptoError on
    unequal lengths.
    """
    _same_length(hashes, r)
    n = mpz(public.n)
    return [h * power % n for h, power in zip(hashes, public_powers(r, EXPONENT, n), strict=True)]


def unblind(public: RsaPublic, signatures: Sequence[int], inverses: Sequence[int]) -> list[mpz]:
    """s r^-1 mod n row by row, with the inverses of the blinds from ``batch_inverse(public.n, r)``."""
    _same_length(signatures, inverses)
    n = mpz(public.n)
    return [mpz(s) * i % n for s, i in zip(signatures, inverses, strict=True)]


def sign(key: RsaKey, values: Sequence[int]) -> list[mpz]:
    """v^d mod n for every value, by CRT with constant-time powers.

    One faulty CRT power would give away a factor of n (Boneh, DeMillo, Lipton, EUROCRYPT 1997), so nothing is returned
    before (product of all s)^e = product of all v mod n was checked: two products a row instead of 17 (screening:
    Bellare, Garay, Rabin, EUROCRYPT 1998). One wrong signature never passes; several pass only if what they are wrong
    by multiplies to 1 modulo n, for independent random faults with a probability of about 2^-1000. Two things do
    pass: faults that somebody injects so that they cancel, which are outside the adversary of this module, and right
    signatures in swapped rows, which give away nothing and which ``check_signatures`` finds. Raises CryptoError for
    values outside 1..n-1 and, after a check row by row, for powers that came out wrong.
    """
    n, p, q = mpz(key.public.n), key.p, key.q
    numbers = [mpz(value) for value in values]
    for row, value in enumerate(numbers):
        if not 0 < value < n:
            raise CryptoError(
                f"The number to sign in row {row} lies outside 1..n-1.", remedy="Read columns with from_array()."
            )
    d = gmpy2.invert(EXPONENT, (p - 1) * (q - 1))
    q_inverse = gmpy2.invert(q, p)
    halves = power_pairs(numbers, (d % (p - 1), p), (d % (q - 1), q))
    signatures = [b + q * ((a - b) * q_inverse % p) for a, b in halves]
    _check_powers(n, numbers, signatures)
    return signatures


def _check_powers(n: mpz, values: Sequence[mpz], signatures: Sequence[mpz]) -> None:
    """Refuse (CryptoError) signatures whose product is wrong. A value that is no unit would hide what is wrong in other
    rows from the product, and sends all of them to the check row by row.
    """
    expected = product(values, n)
    units = gmpy2.gcd(expected, n) == 1
    if units and gmpy2.powmod(product(signatures, n), EXPONENT, n) == expected:
        return
    wrong = _wrong_row(n, values, signatures)
    if wrong is not None or units:
        what = "The check of private RSA powers" if wrong is None else f"The private RSA power in row {wrong}"
        raise CryptoError(
            f"{what} came out wrong and nothing was released.",
            remedy="This machine computes faultily (memory, overclocking); run the step on another one.",
        )


def _wrong_row(n: mpz, values: Sequence[int], signatures: Sequence[int]) -> int | None:
    """The first row with s^e != v mod n."""
    powers = public_powers(signatures, EXPONENT, n)
    return next((row for row, (v, power) in enumerate(zip(values, powers, strict=True)) if power != v), None)


def check_signatures(
    public: RsaPublic, values: Sequence[int], signatures: Sequence[int], subsets: Stream | None = None
) -> None:
    """Refuse (CryptoError, with the first row) signatures with s^e != v mod n.

    With a stream of ``subsets``, 1024 rows and more are screened: (product of s)^e = product of v over each of 16
    random subsets of the rows (atomic random subset test: Bellare, Garay, Rabin, EUROCRYPT 1998), 4 products a row
    instead of 17. Whatever is wrong passes with a probability of at most 2^-16, also against an answerer who knows p
    and q and elements of small order: fix the choice of all rows but one wrong one, and at most one of the subsets
    with and without this row has the right product. The stream must be secret from whoever made the signatures and
    belong to these signatures alone.

    One product of all rows, enough against faults, is not enough against an answerer. It could multiply one answer
    by t and another by 1/t and list the tag of H(id)^d t beside that of H(id)^d: which of the two belongs to the
    intersection tells in which place of the guest's bucket the id stands. With every signature right, all that its
    choice of tags can do is to leave ids out or to ask for others.
    """
    _same_length(values, signatures)
    n = mpz(public.n)
    if subsets is not None and len(values) >= _WORTH_SCREENING and _subsets_agree(n, values, signatures, subsets):
        return
    wrong = _wrong_row(n, values, signatures)
    if wrong is not None:
        raise CryptoError(
            f"The signature in row {wrong} does not belong to what was sent.",
            remedy="Nothing was used; ask the peer.",
        )


def _subsets_agree(n: mpz, values: Sequence[int], signatures: Sequence[int], subsets: Stream) -> bool:
    """Whether values and signatures agree in 16 random subsets, drawn eight at a time: one byte a row. False also where
    a value that is no unit could hide something.
    """
    for _ in range(2):
        rows_in = subsets.bytes(len(values))
        expected = _subset_products(n, values, rows_in)
        if list(public_powers(_subset_products(n, signatures, rows_in), EXPONENT, n)) != expected:
            return False
        if not all_units(expected, n):
            return False
    return True


def _subset_products(n: mpz, values: Sequence[int], rows_in: bytes) -> list[mpz]:
    """Eight products mod n, the k-th over the rows whose byte has bit 7 - k: one product a row into the cell of its
    byte, then cells are folded, upper half onto lower half.
    """
    cells = [mpz(1)] * 256
    for value, cell in zip(values, rows_in, strict=True):
        cells[cell] = cells[cell] * value % n
    products = []
    while len(cells) > 1:
        lower, upper = cells[: len(cells) // 2], cells[len(cells) // 2 :]
        products.append(product(upper, n))
        cells = [a * b % n for a, b in zip(lower, upper, strict=True)]
    return products


def prove(key: RsaKey, context: bytes) -> bytes:
    """Proof that every number has an e-th root modulo n: the roots of 8 hashes of (n, e, context, i), 8 x bits/8
    bytes.
    """
    return to_array(key.public, sign(key, _challenges(key.public, context))).tobytes()


def verify_proof(public: RsaPublic, context: bytes, proof: bytes) -> None:
    """Refuse (CryptoError) a proof that ``prove`` did not make for this key and context. Call it before blinding
    anything.
    """
    if len(proof) != PROOF_ROOTS * public.width:
        raise CryptoError(
            f"The RSA ownership proof has {len(proof)} bytes instead of {PROOF_ROOTS * public.width}.",
            remedy="Ask the peer for it again.",
        )
    roots = from_array(public, np.frombuffer(proof, dtype=np.uint8).reshape(PROOF_ROOTS, public.width))
    try:
        check_signatures(public, _challenges(public, context), roots)
    except CryptoError:
        raise CryptoError(
            "The peer did not prove that its RSA key has the stated form for this run.",
            remedy="Do not send it blinded ids; have it make a new key.",
        ) from None


def _challenges(public: RsaPublic, context: bytes) -> list[mpz]:
    bound = prefixed(public.n.to_bytes(public.width, "big")) + prefixed(EXPONENT.to_bytes(4, "big")) + context
    return _hash(public, _PROOF_LABEL, bound, [i.to_bytes(1, "big") for i in range(1, PROOF_ROOTS + 1)])


def to_array(public: RsaPublic, values: Sequence[int]) -> npt.NDArray[np.uint8]:
    """Residues in [0, n) as uint8[N, bits/8], big-endian."""
    width = public.width
    joined = b"".join([value.to_bytes(width, "big") for value in values])
    return np.frombuffer(joined, dtype=np.uint8).reshape(-1, width)


def from_array(public: RsaPublic, array: npt.NDArray[np.uint8]) -> list[mpz]:
    """A received column uint8[N, bits/8] as residues in 1..n-1 and coprime to n, else CryptoError with the row."""
    width = public.width
    if array.ndim != 2 or array.dtype != np.uint8 or array.shape[1] != width:
        raise CryptoError(
            f"A column of residues is uint8[N, {width}], got {array.dtype}{list(array.shape)}.",
            remedy="Nothing was used; ask the peer.",
        )
    raw, n = array.tobytes(), mpz(public.n)
    values = [mpz.from_bytes(raw[i : i + width], "big") for i in range(0, len(raw), width)]
    wrong = next((row for row, value in enumerate(values) if not 0 < value < n), None)
    if wrong is None and not all_units(values, n):
        wrong = next(row for row, value in enumerate(values) if gmpy2.gcd(value, n) != 1)
    if wrong is not None:
        raise CryptoError(
            f"The residue in row {wrong} is not in 1..n-1 or shares a factor with n.",
            remedy="Nothing was used; ask the peer.",
        )
    return values


def _same_length(left: Sequence[object], right: Sequence[object]) -> None:
    if len(left) != len(right):
        raise CryptoError(
            f"Two columns of the same rows have {len(left)} and {len(right)} rows.", remedy="Pass both of one bucket."
        )
