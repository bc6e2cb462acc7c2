"""The documents of the handshake: hello, ack and refusal; what they must say and what follows from them. Pure.

    hello    each party: role, ephemeral X25519 key, nonce, offer (everything on which all parties must agree)
    ack      each party: run id and transcript hash, once all hellos are there and agree
    refusal  a party that cannot agree: the class of its error and about whom, so that the others need not wait

run id     = SHA-256 over names and nonces of all parties transcript = SHA-256 over the signed hellos of all parties,
so over roles, identity and ephemeral keys, nonces and parameters
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from fedspark.errors import ConfigError, Mismatch, Tampered
from fedspark.exchange.seal import SealKeys, direction_keys
from fedspark.exchange.signed import open_signed, raw_public_key, sign
from fedspark.party import Party, Roster

PROTOCOL_VERSION = "2"
"""What messages mean, and what is kept of them for later runs. Parties must agree on it: raise it whenever a protocol
changes what it sends or how it computes it.
"""

LIMIT = 2**20
NONCE_BYTES = 32
_HEX32 = re.compile(r"[0-9a-f]{64}")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_SHOWN_KEYS, _SHOWN_CHARACTERS = 40, 120
_NEW_LABEL = "Start a new run label at all parties."


@dataclass(frozen=True)
class Hello:
    """What a party brings to a run: its ``role``, raw X25519 public key, 32-byte nonce, and its offer."""

    party: str
    role: str
    ephemeral: bytes
    nonce: bytes
    offer: Mapping[str, str] = field(default_factory=dict)

    def sign(self, identity: Ed25519PrivateKey) -> bytes:
        body = {
            "party": self.party,
            "role": self.role,
            "ephemeral": self.ephemeral.hex(),
            "nonce": self.nonce.hex(),
            "offer": dict(self.offer),
        }
        return sign("hello", body, identity)


def open_hello(data: bytes, party: Party, name: str) -> Hello:
    """The hello of ``party``.

    Mismatch with both keys when it is signed by another key than the pinned one, or of another role.
    """
    body = open_signed(data, "hello", party.identity, party.name, name, LIMIT, other_key=Mismatch)
    texts = ("party", "role", "ephemeral", "nonce")
    _check(body, {"version", "offer", *texts}, texts, name)
    offer = body["offer"]
    if not isinstance(offer, dict) or not all(isinstance(value, str) for value in offer.values()):
        raise Tampered(f"The hello {name} has an offer that is not a table of texts.")
    if not _HEX32.fullmatch(body["ephemeral"]) or not _HEX32.fullmatch(body["nonce"]):
        raise Tampered(f"The hello {name} has an ephemeral key or a nonce that is not 32 bytes in hex.")
    if body["party"] != party.name:
        raise Tampered(f"The hello {name} is that of {body['party']!r}, put in the place of {party.name}'s.")
    if body["role"] != party.role.value:
        raise Mismatch(
            f"{party.name} takes part as {body['role']!r}, our pipeline file says {party.role.value!r}.",
            remedy="Use the same pipeline file at all parties.",
        )
    return Hello(party.name, body["role"], bytes.fromhex(body["ephemeral"]), bytes.fromhex(body["nonce"]), offer)


def check_offer(mine: Hello, theirs: Hello) -> None:
    """Mismatch that names every key on which two hellos differ, with both values."""
    different = _differences(mine.offer, theirs.offer, "here", f"at {theirs.party}")
    if different:
        raise Mismatch(
            f"{mine.party} and {theirs.party} are not about to run the same thing: {different}.",
            remedy=f"Agree on one value of each. {_NEW_LABEL}",
        )


def check_own(mine: Hello, identity: Ed25519PrivateKey, party: Party, stored: bytes, name: str) -> None:
    """Raises the Mismatch (or Tampered) that explains why our own hello lies there with other content."""
    held = open_hello(stored, Party(party.name, party.role, raw_public_key(identity)), name)
    if (held.ephemeral, held.nonce) != (mine.ephemeral, mine.nonce):
        raise Mismatch(
            f"{party.name} said hello to this run before ({name}), with keys that its workspace no longer holds: "
            "the workspace was lost, or is not the one of that time.",
            remedy=f"Restore the workspace, or give up this run: {_NEW_LABEL}",
        )
    different = _differences(mine.offer, held.offer, "now", f"in {name}")
    raise Mismatch(
        f"{party.name} said hello to this run before with other parameters: {different}. "
        "What a run is cannot be changed.",
        remedy=f"Put the old values back to continue, or: {_NEW_LABEL}",
    )


def run_id(hellos: Mapping[str, Hello]) -> str:
    """64 hex digits that nobody could choose alone: the hash of the nonces of all parties."""
    return _hash(b"fedspark run", [(name.encode(), hellos[name].nonce) for name in sorted(hellos)]).hex()


def transcript_hash(signed_hellos: Mapping[str, bytes]) -> bytes:
    """32 bytes that are equal at two parties only if they saw the same hellos, signatures included."""
    return _hash(b"fedspark transcript", [(name.encode(), signed_hellos[name]) for name in sorted(signed_hellos)])


def sign_ack(party: str, run: str, transcript: bytes, identity: Ed25519PrivateKey) -> bytes:
    return sign("ack", {"party": party, "run": run, "transcript": transcript.hex()}, identity)


def check_ack(data: bytes, party: Party, run: str, transcript: bytes, name: str) -> None:
    """Mismatch when ``party`` confirmed another run or another transcript than ours."""
    body = open_signed(data, "ack", party.identity, party.name, name, LIMIT, other_key=Mismatch)
    texts = ("party", "run", "transcript")
    _check(body, {"version", *texts}, texts, name)
    if body["party"] != party.name:
        raise Tampered(f"The ack {name} is that of {body['party']!r}, put in the place of {party.name}'s.")
    if (body["run"], body["transcript"]) != (run, transcript.hex()):
        raise Mismatch(
            f"{party.name} confirmed another handshake than ours (theirs {body['transcript'][:16]}, "
            f"ours {transcript.hex()[:16]}): a hello was replaced between our looks.",
            remedy=_NEW_LABEL,
        )


def sign_refusal(party: str, reason: str, about: str, identity: Ed25519PrivateKey) -> bytes:
    """``reason`` is the name of an error class and ``about`` the party concerned: no values, they may be private."""
    return sign("refusal", {"party": party, "reason": reason, "about": about}, identity)


def open_refusal(data: bytes, party: Party, name: str) -> tuple[str, str]:
    """(reason, about) of a refusal that ``party`` signed."""
    body = open_signed(data, "refusal", party.identity, party.name, name, LIMIT, other_key=Mismatch)
    texts = ("party", "reason", "about")
    _check(body, {"version", *texts}, texts, name)
    if body["party"] != party.name or not _WORD.fullmatch(body["reason"]):
        raise Tampered(f"The refusal {name} is not one of {party.name}.")
    return body["reason"], body["about"]


def pinned_roster(roster: Roster, me: Party, identity: Ed25519PrivateKey) -> Roster:
    """The roster with our own public key in it.

    ConfigError when a key is missing, shared, or not the one of our private key.
    """
    own = raw_public_key(identity)
    if roster[me.name].identity not in (b"", own):
        raise ConfigError(
            f"The identity key of {me.name} is not the private half of the public key that we have for it.",
            remedy="Correct 'identity' in the party file, or our own entry in 'peers'.",
        )
    parties = tuple(Party(p.name, p.role, own) if p.name == me.name else p for p in roster)
    seen: dict[bytes, str] = {}
    for party in parties:
        if not party.identity:
            raise ConfigError(
                f"There is no key pinned for {party.name}.",
                remedy=f"Ask them for it and write peers.{party.name} in the party file.",
            )
        if party.identity in seen:
            raise ConfigError(
                f"{seen[party.identity]} and {party.name} have the same identity key; each party needs its own."
            )
        seen[party.identity] = party.name
    return Roster(parties)


def session_keys(
    hellos: Mapping[str, Hello], transcript: bytes, me: str, ephemeral: bytes
) -> dict[tuple[str, str], SealKeys]:
    """(sender, receiver) -> keys, for both directions between us and every other party.

    ``ephemeral``: our X25519 private key.
    """
    private = X25519PrivateKey.from_private_bytes(ephemeral)
    keys: dict[tuple[str, str], SealKeys] = {}
    for name, hello in hellos.items():
        if name == me:
            continue
        try:
            secret = private.exchange(X25519PublicKey.from_public_bytes(hello.ephemeral))
        except ValueError:
            raise Tampered(
                f"The ephemeral key in the hello of {name} is a point of low order, which no honest party sends."
            ) from None
        keys[me, name] = direction_keys(secret, transcript, me, name)
        keys[name, me] = direction_keys(secret, transcript, name, me)
    return keys


def _differences(ours: Mapping[str, str], theirs: Mapping[str, str], here: str, there: str) -> str:
    keys = [key for key in sorted({*ours, *theirs}) if ours.get(key) != theirs.get(key)]
    shown = [f"{key} is {_value(ours, key)} {here} and {_value(theirs, key)} {there}" for key in keys[:_SHOWN_KEYS]]
    return "; ".join(shown) + (f"; and {len(keys) - _SHOWN_KEYS} more" if len(keys) > _SHOWN_KEYS else "")


def _value(offer: Mapping[str, str], key: str) -> str:
    value = offer.get(key)
    if value is None:
        return "not set"
    return repr(value if len(value) <= _SHOWN_CHARACTERS else value[:_SHOWN_CHARACTERS] + "...")


def _check(body: Mapping[str, Any], keys: set[str], texts: tuple[str, ...], name: str) -> None:
    if body.keys() != keys or not all(isinstance(body[key], str) for key in texts):
        raise Tampered(f"The object {name} is signed, but its keys are not those of this format version.")


def _hash(purpose: bytes, items: list[tuple[bytes, bytes]]) -> bytes:
    digest = sha256(purpose)
    for item in items:
        for part in item:
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()
