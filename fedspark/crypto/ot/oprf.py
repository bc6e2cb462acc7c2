"""An oblivious pseudorandom function on the digests of a bucket, from OT extension: no public-key work per id.

Kolesnikov, Kumaresan, Rosulek, Trieu, "Efficient Batched Oblivious PRF with Applications to PSI" (CCS 2016, eprint
2016/799) with two later improvements: the receiver's values lie in a linear key-value store instead of a cuckoo table
(PaXoS, eprint 2020/193: one output per id, no order to hide), and the extension works over F_{2^f} (SoftSpokenOT,
eprint 2022/192: f = 2 or 4 divides the bytes by 1.6 or 2.4). Per bucket, with u, v, w of ``vole.py`` and the
codeword C(x) of a digest:

    receiver   D = table with decode(D, y) = C(y) for its y         encode     stored create-only, then
               U = u + D                                            Pads.mask  sent: row_bytes for each of the rows
               F(y) = H(decode(v, y))                               Pads.outputs
    sender     Q = w + Delta U = v + Delta D
               F(x) = H(decode(Q, x) + Delta C(x))                  Sender.outputs

decode is linear, so F(x) = H(decode(v, x) + Delta (decode(D, x) + C(x))): equal for x = y, and for an x outside the
table a hash with at least 128 secret bits of Delta in its input.

Semi-honest security. *The sender* sees U only, and u is uniform to it (it misses one seed per coordinate; AES as PRF):
it learns nothing about D, so neither the ids nor how the table was solved. *The receiver* sees hashes of its own rows
and, as tags, F(x) for the sender's x: for x outside its set the codeword differs from decode(D, x) in 128 / f
coordinates or more except with 2^-40 over the run (``parameters.py``), so to evaluate H it must guess 128 bits of
Delta; H as random oracle, N targets for each bucket's own label, typical rows have 1.8 to 3 times as many secret bits
("d-Hamming correlation robust" in KKRT16). Delta is one for the run: a receiver that deviates from the protocol could
probe it (no consistency check), and is not covered.

H is BLAKE2s-128, its salt and personalisation being HKDF of (context, bucket, attempt, set); set is 0, for one table.
Everything is a function of keys, label and content: run twice, it gives equal bytes, with numpy or numba.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedspark.crypto.ot import kernels as all_kernels
from fedspark.crypto.ot import okvs, vole
from fedspark.crypto.ot.codewords import BucketLabel, Cells, cells, check_digests, codewords
from fedspark.crypto.ot.kernels import Kernels
from fedspark.crypto.ot.parameters import Parameters
from fedspark.crypto.ot.vole import ReceiverKeys, SenderKeys
from fedspark.errors import CryptoError

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]

_SET = 0


def encode(parameters: Parameters, label: BucketLabel, digests: Bytes, kernels: Kernels | None = None) -> Bytes:
    """Receiver: the table uint8[rows, row_bytes] that decodes to the codewords of ``digests``.

    ``digests`` is uint8[N, 16], ascending and without repetition, N up to ``receiver_capacity``. The table hides
    nothing: it belongs into this party's workspace, create-only, and what is stored there is what gets masked. Raises
    CryptoError for other digests and, once in 2^40 runs, for a table that has no solution.
    """
    check_digests(digests, parameters.receiver_capacity)
    table = okvs.solve(
        parameters,
        cells(parameters, label, digests),
        codewords(parameters, label, digests),
        kernels or all_kernels.fastest(),
    )
    return np.ascontiguousarray(table.view(np.uint8)[:, : parameters.row_bytes])


class Receiver:
    """The receiver's streams in one process. ``pads`` for each bucket."""

    def __init__(self, parameters: Parameters, keys: ReceiverKeys, kernels: Kernels | None = None) -> None:
        self._parameters = parameters
        self._streams = vole.Streams(parameters, keys.seeds)
        self._kernels = kernels or all_kernels.fastest()

    def pads(self, label: BucketLabel) -> Pads:
        """u and v of one bucket: rows x (f + 1) codewords of memory, twice that while they are made."""
        parameters, kernels = self._parameters, self._kernels
        total, planes = self._streams.columns(label, with_sum=True)
        assert total is not None
        mask = kernels.columns_to_rows(total).view(np.uint8)[: parameters.rows, : parameters.row_bytes]
        return Pads(parameters, label, mask, kernels.columns_to_rows(planes)[: parameters.rows], kernels)


class Pads:
    """The receiver's pads of one bucket and attempt: made by ``Receiver.pads``."""

    def __init__(
        self, parameters: Parameters, label: BucketLabel, mask: Bytes, shares: Words, kernels: Kernels
    ) -> None:
        self._parameters, self._label, self._kernels = parameters, label, kernels
        self._mask: Bytes | None = mask
        self._shares = shares

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("Pads are not sent to another process: make them there.")

    def mask(self, table: Bytes) -> Bytes:
        """U = u + D for the stored table, uint8[rows, row_bytes]; once: a second call raises CryptoError.

        Over processes the caller sees to the same: only the table stored for this bucket and attempt is ever masked.
        """
        _check_table(self._parameters, table, "stored table")
        if self._mask is None:
            raise CryptoError(
                "A pad masks one table, and this one has done so.",
                remedy="Send the first message again; other content needs a new attempt that both parties agree on.",
            )
        mask, self._mask = self._mask, None
        return mask ^ table

    def outputs(self, digests: Bytes) -> Bytes:
        """F of the receiver's own digests, uint8[N, tag_bytes], in their order."""
        check_digests(digests, self._parameters.receiver_capacity)
        at = cells(self._parameters, self._label, digests)
        return _hashes(self._parameters, self._label, self._shares, at, None, self._kernels)


class Sender:
    """The sender's streams in one process. ``outputs`` for each bucket."""

    def __init__(self, parameters: Parameters, keys: SenderKeys, kernels: Kernels | None = None) -> None:
        self._parameters = parameters
        self._streams = vole.Streams(parameters, keys.seeds, keys.delta)
        self._planes = vole.planes_of(parameters, keys.delta)
        self._kernels = kernels or all_kernels.fastest()

    def outputs(self, label: BucketLabel, digests: Bytes, message: Bytes) -> Bytes:
        """F of the sender's own digests, uint8[N, tag_bytes], in their order, from U uint8[rows, row_bytes].

        Raises CryptoError for a message of another shape and for digests that are not ascending or above the agreed
        capacity. The outputs stay here: what is sent is ``tags.seal`` of them.
        """
        parameters, kernels = self._parameters, self._kernels
        _check_table(parameters, message, "received table")
        check_digests(digests, parameters.sender_capacity)
        _, planes = self._streams.columns(label, with_sum=False)
        shares = kernels.columns_to_rows(planes)[: parameters.rows]
        received = np.zeros((parameters.rows, parameters.words), np.uint64)
        received.view(np.uint8)[:, : parameters.row_bytes] = message
        kernels.add_product(shares, received, self._planes)
        product = codewords(parameters, label, digests), self._planes
        return _hashes(parameters, label, shares, cells(parameters, label, digests), product, kernels)


def _hashes(
    parameters: Parameters,
    label: BucketLabel,
    shares: Words,
    at: Cells,
    product: tuple[Words, Words] | None,
    kernels: Kernels,
) -> Bytes:
    dense = okvs.subset_sums(shares[3 * parameters.third :])
    hashes = kernels.hash_decoded(shares, at.positions, at.selected, dense, product, label.key("row hash", _SET)[:16])
    return np.ascontiguousarray(hashes[:, : parameters.tag_bytes])


def _check_table(parameters: Parameters, table: Bytes, what: str) -> None:
    shape = (parameters.rows, parameters.row_bytes)
    if table.shape != shape or table.dtype != np.uint8:
        raise CryptoError(
            f"The {what} of a bucket is uint8{list(shape)}, got {table.dtype}{list(table.shape)}.",
            remedy="Nothing was used; both parties must agree on the sizes of the run.",
        )
