"""The RSA full-domain hash against answers of other programs and of five lines."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedspark.crypto.rsa import RsaPublic, full_domain_hash

MODULUS = RsaPublic(2**2048 - 2**1024 - 1, 2048)

# Computed by OpenSSL 3.0 and bc 1.07:
#   prefixed() { printf "$(printf '%016x' ${#1} | sed 's/../\\x&/g')"; printf %s "$1"; }
#   { prefixed "fedspark rsa full-domain hash v1"; prefixed "run|psi"; printf %s "$id"; } |
#       openssl dgst -shake256 -xoflen 272 -r | cut -d' ' -f1 | tr a-f A-F       the dividend D
#   BC_LINE_LENGTH=0 bc <<< "obase=16; ibase=16; $D % $MODULUS"                  first and last 32 of 512 digits
ANSWERS = {
    "": ("fad5c231bc406bc240044517ef55cda4", "571d58cc41ef7704fe5452d00c57845c"),
    "person-1": ("db63616ab3b1f5287113429dd722b1ba", "335bf097d8163b6b717e750f01aa64e7"),
    "7|42": ("1bb7164289f78289b7c1f348c1efb3ab", "869a9e8b83f86c609546ac12bd0707ea"),
}


@pytest.mark.parametrize("text", ANSWERS)
def test_hashes_are_those_of_openssl_and_bc(text: str):
    (number,) = full_domain_hash(MODULUS, b"run|psi", [text])
    digits = f"{int(number):0512x}"
    assert (digits[:32], digits[-32:]) == ANSWERS[text]


@given(st.binary(max_size=40), st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_hashes_are_those_of_five_lines_of_hashlib(context: bytes, text: str):
    label = b"fedspark rsa full-domain hash v1"
    message = len(label).to_bytes(8, "big") + label + len(context).to_bytes(8, "big") + context + text.encode()
    for n, bits in ((MODULUS.n, 2048), (2**3071 + 9, 3072)):
        expected = int.from_bytes(hashlib.shake_256(message).digest(bits // 8 + 16), "big") % n
        assert full_domain_hash(RsaPublic(n, bits), context, [text]) == [expected]
