"""Several signed sums in one plaintext, so that a round decrypts few ciphertexts.

P = sum over j of g_j 2^(bits j) with |g_j| < 2^(bits-1). The mask covers the whole plaintext, uniform modulo n, so
slots need no gap: whoever decrypts sees a uniform number, and the owner of the mask gets P exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

from fedspark.crypto.paillier import Derived


def slots(bits: int, key_bits: int) -> int:
    """How many numbers of ``bits`` bits, sign included, one plaintext of a ``key_bits``-bit key holds."""
    return (key_bits - 2) // bits


def packed_rows(count: int, bits: int, key_bits: int) -> int:
    """Ciphertexts that hold ``count`` numbers."""
    return -(-count // slots(bits, key_bits))


def pack(column: Derived, bits: int) -> Derived:
    """[[P]] row by row from [[g]]: Horner's rule, ``bits`` squarings for each number."""
    public, width, raw = column.public, column.public.width, column.to_private()
    single = [Derived.from_private(public, raw[at : at + width], column.scale) for at in range(0, len(raw), width)]
    fitting, rows = slots(bits, public.bits), []
    for start in range(0, len(single), fitting):
        first, *lower = reversed(single[start : start + fitting])
        for next_lower in lower:
            first = first.multiply_plain([1 << bits]).add(next_lower)
        rows.append(first)
    return Derived.concatenate(rows)


def unpack(plain: Sequence[int], bits: int, count: int, key_bits: int) -> list[int]:
    """The ``count`` signed numbers that the plaintexts hold."""
    numbers: list[int] = []
    half = 1 << (bits - 1)
    for value in plain:
        left = int(value)
        for _ in range(min(slots(bits, key_bits), count - len(numbers))):
            low = (left + half) % (1 << bits) - half
            numbers.append(low)
            left = (left - low) >> bits
    return numbers
