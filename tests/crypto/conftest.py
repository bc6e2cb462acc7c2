"""Keys of the smallest allowed size, made once per session from fixed seeds."""

from __future__ import annotations

import pytest

from fedspark.crypto.paillier import PrivateKey
from fedspark.crypto.randomness import Stream, derive
from fedspark.crypto.rsa import RsaKey


@pytest.fixture(scope="session")
def rsa_key() -> RsaKey:
    return RsaKey.generate(Stream(derive(bytes(32), "tests", "rsa")))


@pytest.fixture(scope="session")
def private_key() -> PrivateKey:
    return PrivateKey.generate(Stream(derive(bytes(32), "tests", "paillier")))


@pytest.fixture(scope="session")
def other_private_key() -> PrivateKey:
    return PrivateKey.generate(Stream(derive(bytes(32), "tests", "paillier", "another")))
