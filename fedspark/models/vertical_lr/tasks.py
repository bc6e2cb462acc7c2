"""The part tasks of a round: what a party does with ciphertexts of one part, and what it writes.

Contexts travel to executors: they hold references, public values and one subkey per kind of randomness, which a task
binds to its part and to the content: a retried task writes the same bytes, other content would get other randomness.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fedspark.crypto.paillier import Ciphertexts, Column, Derived, PublicKey, encrypt
from fedspark.crypto.randomness import Stream, content_digest, derive
from fedspark.errors import CryptoError, Mismatch
from fedspark.exchange.columns import pack_values, unpack_values
from fedspark.exchange.mailbox import Incoming, Outgoing, Receipt
from fedspark.models.vertical_lr.design import Design, Matrix, read_design_part
from fedspark.models.vertical_lr.encoding import Encoding
from fedspark.models.vertical_lr.maths import Floats, Int64s
from fedspark.psi.align import PartFiles
from fedspark.run import Run, Workspace

CIPHERTEXT = "c"
FAN_IN = 16
"""A task, and at last the driver, adds up the sums of so many parts."""


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


# ---- sums over parts, added up by a tree -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Partials:
    """Encrypted sums over single parts, in the own workspace; never sent as they are."""

    workspace: Workspace
    folder: str

    def write(self, part: int, column: Column) -> None:
        derived = Derived.combine([column])
        self.workspace.keep(self._path(part), derived.to_private())

    def combined(self, parts: range, public: PublicKey, scale: int) -> Derived:
        """The sums over these parts."""
        return Derived.combine(
            Derived.from_private(public, self.workspace.read(self._path(part)), scale) for part in parts
        )

    def total(self, run: Run, title: str, parts: int, public: PublicKey, scale: int) -> Derived:
        """The sums over all parts: by tasks, ``FAN_IN`` parts each, until the driver has no more than that."""
        if parts <= FAN_IN:
            return self.combined(range(parts), public, scale)
        merging = Merging(self, Partials(self.workspace, f"{self.folder}+"), parts, public, scale)
        groups = -(-parts // FAN_IN)
        run.parts(title, merge_group, groups, merging)
        return merging.target.total(run, title, groups, public, scale)

    def _path(self, part: int) -> str:
        return f"{self.folder}/part-{part:05d}.bin"


@dataclass(frozen=True)
class Merging:
    """Context of `merge_group`."""

    source: Partials
    target: Partials
    parts: int
    public: PublicKey
    scale: int


def merge_group(merging: Merging, group: int) -> None:
    """Add up the sums of one group of parts."""
    parts = range(group * FAN_IN, min(merging.parts, (group + 1) * FAN_IN))
    merging.target.write(group, merging.source.combined(parts, merging.public, merging.scale))


# ---- what every task starts from -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rows:
    """The training rows of a party at one trial point: ``v`` per unit of its columns, the intercept last."""

    files: PartFiles
    v: tuple[float, ...]
    public: PublicKey
    encoding: Encoding

    @classmethod
    def at(cls, design: Design, v: Floats, public: PublicKey, encoding: Encoding) -> Rows:
        return cls(design.files, tuple((v * design.units).tolist()), public, encoding)

    def read(self, part: int) -> tuple[Matrix, Int64s]:
        """The rows of one part, and their encoded u/4."""
        matrix = read_design_part(self.files, part)
        return matrix, self.encoding.predictor(matrix.x, np.array(self.v))

    def sums(self, d: Column, matrix: Matrix, intercept: bool) -> Derived:
        """[[X'd]] slot by slot, not yet aligned, with the intercept last."""
        layout = self.encoding.layout
        sums = layout.weighted_sums(d, matrix.x) if matrix.x.shape[1] else None
        if not intercept:
            assert sums is not None  # a host has features
            return sums
        ones = layout.plain_sums(d)
        return ones if sums is None else beside(sums, ones, layout.slots)


def beside(left: Derived, right: Derived, slots: int) -> Derived:
    """Two groups of features, slot by slot."""
    both = []
    for side in (left, right):
        raw, size = side.to_private(), len(side) // slots * side.public.width
        both.append([raw[at : at + size] for at in range(0, len(raw), size)])
    raw = b"".join(part for pair in zip(*both, strict=True) for part in pair)
    return Derived.from_private(left.public, raw, left.scale)


# ---- message u: host -> guest ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Predicting:
    """Context of `encrypt_predictor`; with ``squares`` the sum of u^2 travels along, for the loss."""

    rows: Rows
    squares: bool
    key: bytes = field(repr=False)


def encrypt_predictor(context: Predicting, outgoing: Outgoing, part: int) -> tuple[Receipt, Any]:
    """[[u/4]] of the training rows of one part and, below them, [[sum u^2 / 8]]."""
    _, u = context.rows.read(part)
    public, encoding = context.rows.public, context.rows.encoding
    columns = [encoding.encrypt(public, u, _stream(context.key, "u", part, u.astype("<i8").tobytes()))]
    if context.squares:
        square = encoding.squares(u)
        columns.append(encrypt(public, [square], encoding.loss_fraction, _stream(context.key, "squares", part, square)))
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


def send_residuals(context: Residuals, part: int) -> tuple[list[Receipt], int]:
    """[[d]] of one part to every host, re-randomised for each; keeps [[X'd]] and, with one host, its addends of the
    loss, of which the guest's own, a plain integer, is returned.
    """
    matrix, u = context.rows.read(part)
    public, encoding = context.rows.public, context.rows.encoding
    squares = [(1, encoding.loss_fraction)] if context.loss is not None else []
    count = encoding.layout.ciphertexts(len(u))
    columns = [
        from_message(message.read(part), message.address.sender, public, (count, encoding.fraction), *squares)
        for message in context.received
    ]
    hosts = Derived.combine(column[0] for column in columns)
    d = encoding.residuals(hosts, encoding.residual(u, matrix.y), matrix.weights)
    digest = d.content_digest()
    receipts = [
        outgoing.write(part, to_message(d.for_receiver(Stream(derive(key, part, digest)))))
        for outgoing, key in zip(context.sent, context.keys, strict=True)
    ]
    context.gradient.write(part, context.rows.sums(d, matrix, intercept=True))
    if context.loss is None:
        return receipts, 0
    context.loss.write(part, host_loss(encoding, hosts, matrix.y, columns[0][1]))
    return receipts, encoding.offset * int(matrix.y.sum()) - encoding.squares(u)


def host_loss(encoding: Encoding, u: Column, y: Int64s, squares: Ciphertexts) -> Derived:
    """The one host's addends -sum yu/2, slot by slot and not aligned, then sum u^2/8, with ``loss_fraction`` bits."""
    crossed = encoding.labels.weighted_sums(u, -y[:, None])
    # u/4 with f fraction bits is u/2 with f - 1.
    halved = Derived.from_private(u.public, crossed.to_private(), encoding.loss_fraction)
    return Derived.concatenate([halved, squares])


# ---- a host's sums over d --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Summing:
    """Context of `sum_residuals`."""

    rows: Rows
    received: Incoming
    gradient: Partials


def sum_residuals(context: Summing, part: int) -> None:
    """Keeps [[X'd]] of one part."""
    matrix, encoding = read_design_part(context.rows.files, part), context.rows.encoding
    message, count = context.received, encoding.layout.ciphertexts(len(matrix.x))
    (d,) = from_message(message.read(part), message.address.sender, context.rows.public, (count, encoding.d_fraction))
    context.gradient.write(part, context.rows.sums(d, matrix, intercept=False))


def _stream(key: bytes, purpose: str, part: int, content: bytes | int) -> Stream:
    return Stream(derive(key, purpose, part, content_digest([content])))
