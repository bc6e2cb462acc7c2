"""A column in a message: the form is checked before a value is looked at."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from fedspark.errors import CryptoError, Mismatch, PeerError
from fedspark.exchange.columns import from_peer, pack_flags, pack_values, unpack_flags, unpack_values

VALUES = np.arange(60, dtype=np.uint8).reshape(5, 12)


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_values_and_flags_arrive_as_they_were_sent(rows: int):
    values, flags = VALUES[:rows], np.arange(rows) % 2 == 0
    assert np.array_equal(unpack_values(pack_values("tags", values), "tags", rows, 12), values)
    assert np.array_equal(unpack_flags(pack_flags("matched", flags), "matched", rows), flags)


def test_several_batches_are_one_column():
    column = pa.chunked_array([pa.array([row.tobytes()], pa.binary(12)) for row in VALUES])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, pa.schema([("tags", pa.binary(12))])) as writer:
        writer.write_table(pa.table({"tags": column}))
    assert np.array_equal(unpack_values(bytes(sink.getvalue()), "tags", 5, 12), VALUES)


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"not arrow at all", "not an Arrow stream"),
        (pack_values("tags", VALUES)[:100], "not an Arrow stream"),
        (pack_values("other", VALUES), "columns are"),
        (pack_values("tags", VALUES[:4]), "has 4 rows, and 5 were agreed"),
        (pack_values("tags", VALUES[:, :8]), "type is"),
        (_stream(pa.table({"tags": pa.array([None] * 5, pa.binary(12))})), "5 of its values are null"),
    ],
)
def test_a_column_of_another_form_is_refused_with_the_rule(data: bytes, rule: str):
    with pytest.raises(Mismatch, match=rule):
        unpack_values(data, "tags", 5, 12)


def test_what_crypto_refuses_in_a_message_is_the_peers_error():
    with pytest.raises(PeerError, match="'signed' of host is refused: residue in row 3"), from_peer("signed", "host"):
        raise CryptoError("residue in row 3")
