"""What a fork server imports and prepares once, before any party is born: its children start in milliseconds."""

from __future__ import annotations

from fedspark.crypto import curve_engines
from fedspark.psi import ecdh, ot, rsa_blind
from tests.faults import mortal

__all__ = ["ecdh", "mortal", "ot", "rsa_blind"]

curve_engines.fastest()
