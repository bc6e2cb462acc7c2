"""The other library reads our ciphertexts and we read its: same keys, same plaintexts, same fixed point."""

from __future__ import annotations

import numpy as np
import phe
import pytest

from fedspark.crypto.encoding import FixedPoint
from fedspark.crypto.paillier import Ciphertexts, PrivateKey, encrypt
from fedspark.crypto.randomness import Stream, derive

HEX_DIGITS = 5  # phe counts fractions in powers of 16: its exponent -5 is our scale of 20 bits
FIXED = FixedPoint(4 * HEX_DIGITS, 1000.0)
FLOATS = [0.0, 1.0, -1.0, 0.5, -999.625, 1000.0]


@pytest.fixture(scope="module")
def peer(private_key: PrivateKey) -> tuple[phe.PaillierPublicKey, phe.PaillierPrivateKey]:
    public = phe.PaillierPublicKey(private_key.public.n)
    return public, phe.PaillierPrivateKey(public, int(private_key.p), int(private_key.q))


def stream(label: str) -> Stream:
    return Stream(derive(bytes(32), "test phe", label))


def ours(column: Ciphertexts) -> list[int]:
    data = column.to_bytes()
    return [
        int.from_bytes(data[i : i + column.public.width], "little") for i in range(0, len(data), column.public.width)
    ]


def test_phe_decrypts_our_integers(private_key, peer):
    half = (private_key.public.n - 1) // 2
    column = encrypt(private_key.public, [0, 7, -7, half, -half], 0, stream("integers"))
    assert [peer[1].raw_decrypt(c) for c in ours(column)] == [0, 7, private_key.public.n - 7, half, half + 1]


def test_phe_decrypts_our_floats_and_what_we_computed(private_key, peer):
    column = private_key.encrypt(FIXED.encode(FLOATS), FIXED.fraction_bits, stream("floats"))
    numbers = [phe.EncryptedNumber(peer[0], c, -HEX_DIGITS) for c in ours(column)]
    assert [peer[1].decrypt(number) for number in numbers] == FLOATS
    total = column.linear(np.full((len(FLOATS), 1), 3)).for_owner(stream("total"))
    assert peer[1].decrypt(phe.EncryptedNumber(peer[0], ours(total)[0], -HEX_DIGITS)) == 3 * sum(FLOATS)


def test_we_decrypt_what_phe_encrypted_and_computed(private_key, peer):
    numbers = [peer[0].encrypt(phe.EncodedNumber.encode(peer[0], x, precision=2.0**-20)) for x in FLOATS]
    numbers.append(numbers[3] + numbers[4])
    assert {number.exponent for number in numbers} == {-HEX_DIGITS}
    data = b"".join(number.ciphertext().to_bytes(private_key.public.width, "little") for number in numbers)
    received = Ciphertexts.from_bytes(private_key.public, data, FIXED.fraction_bits)
    assert FIXED.decode(private_key.decrypt(received)).tolist() == [*FLOATS, FLOATS[3] + FLOATS[4]]
    assert FIXED.decode(private_key.decrypt(received.total())).tolist() == [sum(FLOATS) + FLOATS[3] + FLOATS[4]]
