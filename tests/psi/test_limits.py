"""What a peer announces, and what a task meets, must not end in an endless loop or a bare Python error."""

from __future__ import annotations

from typing import Any

import pytest

from fedspark.errors import Mismatch
from fedspark.party import Party, Role
from fedspark.psi import agree, sizes
from fedspark.run import Run
from tests.federation import Federation
from tests.psi.people import names, source, staged


@pytest.mark.parametrize("rows", [-1, sizes.MAX_ROWS + 1, 10**400])
def test_a_row_count_that_no_table_has_is_refused(rows: int) -> None:
    size = {"rows": rows, "snapshot": "s", "part_rows": 1, "commitment": "c", "shows": False}
    with pytest.raises(Mismatch, match="'size' of shop is malformed"):
        agree.Size.from_json(size, Party("shop", Role.HOST))


def test_more_parts_than_a_message_can_have_are_refused_before_anything_is_prepared() -> None:
    federation = Federation()
    table = source(staged(names(0, 5)))

    def lying(run: Run) -> Any:
        # A row count that the announced part limit turns into 2^38 parts.
        nonce, rows = run.subkey("nonce"), 1 << 39
        size = {"rows": rows, "snapshot": "s", "part_rows": 2, "shows": False}
        size["commitment"] = agree.commitment(run, run.me, nonce, rows, "s")
        run.send("size", run.roster.guest, size)
        run.send("nonce", run.roster.guest, {"nonce": nonce.hex(), "shapes": None})

    def honest(run: Run) -> Any:
        return agree.agree(run, table, value_bytes=256, bucket_rows=65536)

    with pytest.raises(Mismatch, match="parts; a message has 100,000 at most"):
        federation.play("psi", {"guest": honest, "host": lying})


def test_a_host_that_announces_more_ids_than_a_guest_allows_is_refused_before_anything_is_padded() -> None:
    federation = Federation(policy={"guest": {"max_peer_rows": 6}})
    tables = {"guest": source(staged(names(0, 5), label=True)), "host": source(staged(names(0, 7)))}

    def half(name: str) -> Any:
        return lambda run: agree.agree(run, tables[name], value_bytes=256, bucket_rows=65536)

    _, errors = federation.play_out("psi", {name: half(name) for name in tables})
    assert "host brings 7 ids; this party's limit max_peer_rows is 6" in errors["guest"].message
