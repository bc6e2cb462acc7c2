"""The part tasks of a round: what a party does with ciphertexts of one part, and what it writes.

Contexts travel to executors: they hold references, public values and one subkey per kind of randomness, which a task
binds to its part and to the content: a retried task writes the same bytes, other content would get other randomness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fedspark.crypto.paillier import Ciphertexts, Column, Derived, PublicKey, encrypt
from fedspark.crypto.randomness import Stream, content_digest, derive
from fedspark.errors import CryptoError, Mismatch
from fedspark.exchange.columns import pack_values, unpack_values
from fedspark.exchange.mailbox import Incoming, Outgoing, Receipt
from fedspark.models.vertical_lr import maths
from fedspark.models.vertical_lr.design import Design, read_design_part
from fedspark.models.vertical_lr.maths import Floats
from fedspark.psi.align import PartFiles
from fedspark.run import Workspace

CIPHERTEXT = "c"


def to_message(*columns: Ciphertexts) -> bytes:
    """Ciphertexts, column below column, as one Arrow column of fixed width."""
    width = columns[0].public.width
    raw = b"".join(column.to_bytes() for column in columns)
    return pack_values(CIPHERTEXT, np.frombuffer(raw, np.uint8).reshape(-1, width))


def from_message(data: bytes, sender: str, public: PublicKey, *layout: tuple[int, int]) -> list[Ciphertexts]:
    """The columns of a message, (rows, fraction bits) each; Mismatch if a ciphertext is missing or out of range."""
    values = unpack_values(data, CIPHERTEXT, sum(rows for rows, _ in layout), public.width)
    columns, start = [], 0
    try:
        for rows, scale in layout:
            columns.append(Ciphertexts.from_bytes(public, values[start : start + rows].tobytes(), scale))
            start += rows
    except CryptoError as error:
        raise Mismatch(f"A message from {sender} is refused: {error.message}", remedy=error.remedy) from None
    return columns


@dataclass(frozen=True)
class Partials:
    """Encrypted sums over single parts, in the own workspace; never sent as they are."""

    workspace: Workspace
    pattern: str

    def write(self, part: int, column: Column) -> None:
        derived = Derived.combine([column])
        self.workspace.keep(self.pattern.format(part=part), derived.to_private())

    def total(self, parts: int, public: PublicKey, scale: int) -> Derived:
        """The sums over all parts."""
        stored = (self.workspace.read(self.pattern.format(part=part)) for part in range(parts))
        return Derived.combine(Derived.from_private(public, data, scale) for data in stored)


@dataclass(frozen=True)
class Rows:
    """The training rows of a party at one trial point ``v``: what every task of a round starts from."""

    files: PartFiles
    intercept: bool
    rows: tuple[int, ...]
    v: tuple[float, ...]
    public: PublicKey

    @classmethod
    def at(cls, design: Design, v: Floats, public: PublicKey) -> Rows:
        return cls(design.files, design.intercept, design.rows, tuple(v.tolist()), public)

    def read(self, part: int) -> tuple[maths.Int32s, maths.Int64s, maths.Int64s]:
        """X int32[N, F], u = X v int64[N] and y int64[N] (at a host empty) of one part."""
        x, y = read_design_part(self.files, part, self.intercept)
        return x, maths.predictor(x, np.array(self.v)), y

    @property
    def bits(self) -> int:
        """Agreed size of the entries of X."""
        return maths.x_bits(sum(self.rows))


# ---- message u: host -> guest ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Predicting:
    """Context of `encrypt_predictor`; with ``squares`` the sum of u^2 travels along, for the loss."""

    rows: Rows
    squares: bool
    key: bytes = field(repr=False)


def encrypt_predictor(context: Predicting, outgoing: Outgoing, part: int) -> tuple[Receipt, Any]:
    """[[u/4]] of every training row of one part and, below it, [[sum u^2 / 8]]."""
    _, u, _ = context.rows.read(part)
    public = context.rows.public
    columns = [encrypt(public, u, maths.D_FRACTION, _stream(context.key, "u", part, u.tolist()))]
    if context.squares:
        square = maths.sum_of_squares(u)
        columns.append(encrypt(public, [square], maths.LOSS_FRACTION, _stream(context.key, "squares", part, [square])))
    return outgoing.write(part, to_message(*columns)), None


# ---- message d: guest -> hosts ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Residuals:
    """Context of `send_residuals`: the hosts' predictors, and for every host its message and its own randomness."""

    rows: Rows
    received: tuple[Incoming, ...]
    sent: tuple[Outgoing, ...]
    gradient: Partials
    loss: Partials | None
    keys: tuple[bytes, ...] = field(repr=False)


def send_residuals(context: Residuals, part: int) -> list[Receipt]:
    """[[d]] of one part to every host, re-randomised for each; keeps [[X'd]] and, with one host, [[loss]]."""
    x, u, y = context.rows.read(part)
    rows, public = len(x), context.rows.public
    squares = [(1, maths.LOSS_FRACTION)] if context.loss is not None else []
    columns = [
        from_message(message.read(part), message.address.sender, public, (rows, maths.D_FRACTION), *squares)
        for message in context.received
    ]
    hosts = Derived.combine(column[0] for column in columns)
    d = hosts.add_plain(maths.own_residual(u, y))
    digest = d.content_digest()
    receipts = [
        outgoing.write(part, to_message(d.for_receiver(Stream(derive(key, part, digest)))))
        for outgoing, key in zip(context.sent, context.keys, strict=True)
    ]
    context.gradient.write(part, d.linear(x.astype(np.int64), context.rows.bits, maths.X_FRACTION))
    if context.loss is not None:
        weights = maths.loss_weights(u, y)[:, None]
        mixed = hosts.linear(weights, maths.LOSS_WEIGHT_BITS, maths.LOSS_WEIGHT_FRACTION)
        context.loss.write(part, mixed.add(columns[0][1]).add_plain([maths.own_loss(u, y)]))
    return receipts


# ---- a host's sums over d --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Summing:
    """Context of `sum_residuals`."""

    rows: Rows
    received: Incoming
    gradient: Partials


def sum_residuals(context: Summing, part: int) -> None:
    """Keeps [[X'd]] of one part."""
    x, _ = read_design_part(context.rows.files, part, context.rows.intercept)
    message = context.received
    (d,) = from_message(message.read(part), message.address.sender, context.rows.public, (len(x), maths.D_FRACTION))
    context.gradient.write(part, d.linear(x.astype(np.int64), context.rows.bits, maths.X_FRACTION))


def _stream(key: bytes, purpose: str, part: int, content: Sequence[int]) -> Stream:
    return Stream(derive(key, purpose, part, content_digest(content)))
