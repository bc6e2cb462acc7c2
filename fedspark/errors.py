"""The exception tree, split by whose fault it is.

    FedsparkError
    |-- ConfigError       we wrote a party or pipeline file wrongly
    |-- TableError        our own table does not hold what the step needs
    |-- StoreError        our disk, object store, network or Spark installation failed
    |-- PolicyRefused     a limit of our own party file forbids going on
    |-- CryptoError       a key, ciphertext or parameter is unusable
    |-- NotReady          nobody's fault: the peer's message is not there yet; run again
    `-- PeerError         what a peer sent (or did not send) is wrong
        |-- Tampered      bytes are not the ones that the peer signed or sealed
        |   `-- Removed   what the peer signed for is not there, or not any more
        |-- Replayed      a valid object in the wrong place, or a second version of one
        |-- Mismatch      the peer's settings, keys or sizes differ from ours
        |-- Oversized     an object is larger than the agreed limits
        |-- Absent        the deadline passed and the peer's message never came
        `-- Stopped       the peer stopped the run and said so

Every message says what is wrong, where, which value, and what to do next. ``exit_code`` follows sysexits.h, so that a
scheduler can tell "try later" (75) from "call somebody".
"""

from __future__ import annotations


class FedsparkError(Exception):
    """Base of all errors that a user is meant to read.

    ``message`` is a paragraph in plain words; ``remedy`` (optional) the next thing to do.
    """

    exit_code = 1

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        if self.remedy is None:
            return self.message
        return f"{self.message}{'' if self.message.endswith(chr(10)) else ' '}{self.remedy}"  # after a list: a line

    def __reduce__(self) -> tuple[object, ...]:
        # Errors travel from executors to the driver, and default reduction loses keyword arguments.
        return (_rebuild, (type(self), self.message, self.remedy))


def _rebuild(kind: type[FedsparkError], message: str, remedy: str | None) -> FedsparkError:
    return kind(message, remedy=remedy)


class ConfigError(FedsparkError):
    """A configuration file, flag or environment is wrong: names file, key path, rule, value and nearest valid key."""

    exit_code = 78


class TableError(FedsparkError):
    """A table is not fit for the step: names source, column, number of offending rows and three masked examples."""

    exit_code = 65


class StoreError(FedsparkError):
    """Storage failed: names the URL, the object and the operation."""

    exit_code = 74


class PolicyRefused(FedsparkError):
    """A limit in our own party file forbids this: names the limit and both values."""

    exit_code = 77


class CryptoError(FedsparkError):
    """A key, ciphertext or encoding is out of its allowed range."""

    exit_code = 70


class NotReady(FedsparkError):
    """A message that we wait for has not come, and its deadline has not passed. Run the same command again."""

    exit_code = 75


class PeerError(FedsparkError):
    """A peer sent something wrong; nothing of it was used."""

    exit_code = 76


class Tampered(PeerError):
    """Bytes differ from what the peer signed or sealed."""


class Removed(Tampered):
    """An object that a signed manifest lists is not there, or not any more."""


class Replayed(PeerError):
    """A valid object in the wrong place, or another version of an object that was already accepted."""


class Mismatch(PeerError):
    """The peer's settings, versions, keys or sizes differ from ours."""


class Oversized(PeerError):
    """An object is larger than the agreed limits."""


class Absent(PeerError):
    """The deadline passed and the peer's message is not there."""


class Stopped(PeerError):
    """The peer stopped the run and said so."""
