"""Who takes part: roles, names, node ids and public identity keys."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from fedspark.errors import ConfigError

_IDENTITY_PREFIX = "ed25519:"


class Role(StrEnum):
    """What a party does in a pipeline."""

    GUEST = "guest"  # has the label and starts the work
    HOST = "host"  # adds columns
    ARBITER = "arbiter"  # holds a decryption key and no data


@dataclass(frozen=True)
class Party:
    """One party: ``name`` (unique in a pipeline), ``role`` and, once known, its raw 32-byte Ed25519 public key."""

    name: str
    role: Role
    identity: bytes = b""

    @property
    def node_id(self) -> str:
        """md5 of the node name in hex, the id that the field's products use for a node; not a security feature."""
        return hashlib.md5(self.name.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Roster:
    """All parties of a pipeline, in the order of the pipeline file: guest, hosts, arbiter."""

    parties: tuple[Party, ...]

    def __iter__(self) -> Iterator[Party]:
        return iter(self.parties)

    def __getitem__(self, name: str) -> Party:
        for party in self.parties:
            if party.name == name:
                return party
        names = ", ".join(party.name for party in self.parties)
        raise ConfigError(f"There is no party {name!r} in this pipeline; its parties are {names}.")

    @property
    def guest(self) -> Party:
        return next(party for party in self.parties if party.role is Role.GUEST)

    @property
    def hosts(self) -> tuple[Party, ...]:
        return tuple(party for party in self.parties if party.role is Role.HOST)

    @property
    def arbiter(self) -> Party | None:
        return next((party for party in self.parties if party.role is Role.ARBITER), None)

    @property
    def data_parties(self) -> tuple[Party, ...]:
        """Guest and hosts: the parties that have rows."""
        return (self.guest, *self.hosts)

    def others(self, me: Party) -> tuple[Party, ...]:
        return tuple(party for party in self.parties if party.name != me.name)


def identity_text(public_key: bytes) -> str:
    """The way a public identity key is written in a party file: ``ed25519:`` and 43 base64url characters."""
    return _IDENTITY_PREFIX + base64.urlsafe_b64encode(public_key).decode().rstrip("=")


def parse_identity(text: str) -> bytes:
    """Raw 32-byte Ed25519 public key from its written form; ConfigError when it is not one."""
    try:
        if not text.startswith(_IDENTITY_PREFIX):
            raise ValueError
        raw = base64.b64decode(text[len(_IDENTITY_PREFIX) :] + "=", altchars=b"-_", validate=True)
        if len(raw) != 32 or identity_text(raw) != text:
            raise ValueError
    except (ValueError, binascii.Error):
        raise ConfigError(
            f"{text!r} is not a public identity key.",
            remedy="Write it as 'fedspark keygen' printed it: ed25519: and 43 characters.",
        ) from None
    return raw
