"""Columns of Paillier ciphertexts that can be sent only when that is safe.

``Ciphertexts`` are fresh or re-randomised and have ``to_bytes``. Whatever arithmetic makes of them is ``Derived``,
which has no way to bytes for a peer: its randomness is a product of numbers that the peer may know (whoever made
[[a]] divides it out of [[a + b]] and reads b). ``Derived.for_receiver`` and ``Derived.for_owner`` turn it into
``Ciphertexts`` by one fresh nonce per row, and ask who receives: a receiver without the key cannot tell a short nonce
from a full one (Damgard, Jurik, Nielsen 2010), the key's owner could.

One public scale (fraction bits) belongs to a whole column. Columns refuse to be pickled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Self, cast

import numpy as np
import numpy.typing as npt

from fedspark.crypto.paillier_engine import Cells, Factors, Matrix
from fedspark.crypto.paillier_keys import PublicKey, engine_for
from fedspark.crypto.randomness import Stream, content_digest
from fedspark.crypto.residues import residue_rows, to_residues
from fedspark.errors import CryptoError

Plaintexts = Sequence[int] | npt.NDArray[np.int64] | npt.NDArray[np.uint8]

_ASK_PEER = "Nothing was used; ask the peer to send it again."


class Column:
    """What ``Ciphertexts`` and ``Derived`` share: ``public``, ``scale``, a length, and arithmetic whose results are
    ``Derived``.
    """

    __slots__ = ("_cells", "public", "scale")

    def __init__(self, public: PublicKey, cells: Cells, scale: int) -> None:
        if isinstance(scale, bool) or not isinstance(scale, int) or scale < 0:
            raise CryptoError(
                f"A scale is a number of fraction bits from 0 up, got {scale!r}.", remedy="Pass an integer."
            )
        self.public = public
        self.scale = scale
        self._cells = cells

    def __len__(self) -> int:
        return len(self._cells)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(rows={len(self)}, bits={self.public.bits}, scale={self.scale})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError(
            "Ciphertexts are not pickled: to a peer use to_bytes(), between own tasks Derived.to_private()."
        )

    def content_digest(self) -> bytes:
        """32 bytes that stand for key, scale and every ciphertext: the content part of a stream's label."""
        return content_digest([self.public.n, self.scale, self._cells.tobytes()])

    def add(self, other: Column) -> Derived:
        """[[a + b]] row by row. Raises CryptoError unless key, scale and length are the same."""
        self._same_kind(other)
        if len(other) != len(self):
            raise CryptoError(
                f"Columns of {len(self)} and {len(other)} rows cannot be added.", remedy="Use the same rows."
            )
        return self._derived(engine_for(self.public).add(self._cells, other._cells))

    def add_plain(self, values: Plaintexts) -> Derived:
        """[[a + m]] row by row, for integers m at this column's scale in (-n/2, n/2)."""
        self._same_rows(values, "numbers to add")
        return self._derived(engine_for(self.public).add_plain(self._cells, residue_rows(values, self.public.n)))

    def multiply_plain(self, values: Sequence[int] | npt.NDArray[np.int64], scale: int = 0) -> Derived:
        """[[a k]] row by row, for signed integers k with ``scale`` fraction bits, which add to this column's."""
        self._same_rows(values, "factors")
        factors: Factors
        if isinstance(values, np.ndarray) and np.can_cast(values.dtype, np.int64):
            factors = values.astype(np.int64)
        else:
            factors = [int(value) for value in values]
            to_residues(factors, self.public.n)
        return self._derived(engine_for(self.public).multiply_plain(self._cells, factors), scale)

    def total(self) -> Derived:
        """[[sum of all rows]], one row."""
        return self._derived(engine_for(self.public).total(self._cells))

    def linear(self, matrix: Matrix, bits: int = 16, scale: int = 0) -> Derived:
        """X^T [[a]] for X = ``matrix`` int64[N, F] (or narrower integers) with ``scale`` fraction bits: F rows, by
        bucket multi-exponentiation.

        ``bits`` is the agreed size of the entries, -2^(bits-1) <= x < 2^(bits-1), from 2 to 62 (``FixedPoint.bits``);
        never taken from the data, whose magnitude the run time would then tell. Entries are offset to be unsigned,
        and the offset is removed under encryption by one power of the total (Pippenger 1976 for the buckets). Raises
        CryptoError with the count of entries that do not fit.
        """
        entries = np.asarray(matrix)
        if entries.ndim != 2 or len(entries) != len(self) or not np.can_cast(entries.dtype, np.int64):
            raise CryptoError(
                f"The matrix must be int64[{len(self)}, F], got {entries.dtype}{list(entries.shape)}.",
                remedy="Encode floats with FixedPoint, and pass one row for each ciphertext.",
            )
        if not 2 <= bits <= 62:
            raise CryptoError(f"Matrix entries have 2 to 62 bits, got bits={bits}.", remedy="Use FixedPoint.bits.")
        limit = 1 << (bits - 1)
        if entries.size and not (-limit <= int(entries.min()) and int(entries.max()) < limit):
            wrong = sum(int(np.count_nonzero((rows < -limit) | (rows >= limit))) for rows in entries.astype(np.int64))
            raise CryptoError(
                f"{wrong} of {entries.size} matrix entries do not fit into {bits} bits with sign.",
                remedy="Agree on a larger bound for the columns, or clip them.",
            )
        return self._derived(engine_for(self.public).linear(self._cells, _signed(entries), bits), scale)

    def _derived(self, cells: Cells, more_scale: int = 0) -> Derived:
        return Derived(self.public, cells, self.scale + more_scale)

    def _same_kind(self, other: Column) -> None:
        if other.public != self.public:
            raise CryptoError("Two columns are encrypted under different keys.", remedy="Use one key per computation.")
        if other.scale != self.scale:
            raise CryptoError(
                f"Two columns have scales of {self.scale} and {other.scale} fraction bits.",
                remedy="Multiply one by a power of two.",
            )

    def _same_rows(self, values: Plaintexts, what: str) -> None:
        if len(values) != len(self):
            raise CryptoError(
                f"{len(values)} {what} do not match {len(self)} ciphertexts.", remedy="Pass one for each row."
            )


class Ciphertexts(Column):
    """Ciphertexts that may be sent: fresh (``encrypt``), re-randomised (``Derived.for_...``) or received
    (``from_bytes``).
    """

    __slots__ = ()

    def to_bytes(self) -> bytes:
        """The rows one after the other, ``public.width`` little-endian bytes each."""
        return self._cells.tobytes()

    @classmethod
    def from_bytes(cls, public: PublicKey, data: bytes, scale: int) -> Ciphertexts:
        """A received column. Raises CryptoError for a broken length and for rows outside 1..n^2-1 or not coprime to
        n.
        """
        cells = _cells(public, data)
        row = engine_for(public).refused(cells)
        if row is not None:
            raise CryptoError(
                f"Ciphertext {row} of {len(cells)} is not in 1..n^2-1 or not coprime to n.", remedy=_ASK_PEER
            )
        return cls(public, cells, scale)


class Derived(Column):
    """The result of arithmetic on ciphertexts: to compute on, to decrypt if the key is ours, or to re-randomise and
    send.
    """

    __slots__ = ()

    @staticmethod
    def combine(parts: Iterable[Column]) -> Derived:
        """[[a + b + ...]] row by row over partial sums of one key, scale and length. Raises CryptoError for none at
        all.
        """
        columns = list(parts)
        if not columns:
            raise CryptoError("There are no partial sums to combine.", remedy="A message of no parts has no sum.")
        result = columns[0]._derived(columns[0]._cells)
        for column in columns[1:]:
            result = result.add(column)
        return result

    @staticmethod
    def concatenate(parts: Iterable[Column]) -> Derived:
        """The rows of several columns of one key and scale, one below the other. Raises CryptoError for none at all."""
        columns = list(parts)
        if not columns:
            raise CryptoError("There are no columns to concatenate.", remedy="Pass at least one.")
        for column in columns[1:]:
            columns[0]._same_kind(column)
        return columns[0]._derived(np.concatenate([column._cells for column in columns]))

    def for_receiver(self, stream: Stream) -> Ciphertexts:
        """Re-randomised with one short nonce hs^r per row, for a receiver that does NOT own the key."""
        return Ciphertexts(self.public, engine_for(self.public).obfuscate(self._cells, stream), self.scale)

    def for_owner(self, stream: Stream) -> Ciphertexts:
        """Re-randomised with rho^n, rho uniform in Z_n*, for the owner of the key. A full power per row: send few
        rows.
        """
        return Ciphertexts(self.public, engine_for(self.public).obfuscate_fully(self._cells, stream), self.scale)

    def to_private(self) -> bytes:
        """The rows as they are, for this party's own tasks and workspace. NEVER sent: not re-randomised."""
        return self._cells.tobytes()

    @classmethod
    def from_private(cls, public: PublicKey, data: bytes, scale: int) -> Self:
        """What ``to_private`` of this party wrote. Only the length is checked."""
        return cls(public, _cells(public, data), scale)


def encrypt(public: PublicKey, values: Plaintexts, scale: int, stream: Stream) -> Ciphertexts:
    """Fresh encryptions (1 + m n) hs^r of signed integers in (-n/2, n/2) with ``scale`` fraction bits; sendable as
    they are. Arrays are the fast way: int64[N], or uint8[N, bits / 8] of little-endian residues below n.

    The stream's label must contain the content (``content_digest``). Raises CryptoError for a number out of range.
    """
    return Ciphertexts(public, engine_for(public).encrypt(residue_rows(values, public.n), stream), scale)


def _signed(entries: npt.NDArray[np.integer]) -> Matrix:
    """The same numbers with a sign and no wider than they are; what has no sign becomes int64."""
    return cast(Matrix, entries) if entries.dtype.kind == "i" else entries.astype(np.int64)


def _cells(public: PublicKey, data: bytes) -> Cells:
    if len(data) % public.width:
        raise CryptoError(
            f"{len(data)} bytes are no column of {public.width}-byte ciphertexts of a {public.bits}-bit key.",
            remedy=_ASK_PEER,
        )
    return np.frombuffer(data, dtype=np.uint8).reshape(-1, public.width)
