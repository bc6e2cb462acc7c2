"""What a peer sends wrongly is refused with the rule it breaks, and nothing of it is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fedspark.errors import FedsparkError, Mismatch, PeerError, PolicyRefused, TableError, Tampered
from fedspark.exchange.columns import pack_flags
from fedspark.psi import matching, ot
from fedspark.psi.agree import agree
from fedspark.run import Run
from tests.federation import Federation
from tests.psi.people import intersect, module_of, names, options, role_of, source, staged, tags_sent

GUEST, HOST = staged(names(0, 40), label=True), staged(names(20, 70))
TABLES = {"guest": GUEST, "host": HOST}


def honest_guest(run: Run) -> Any:
    return role_of(run)(run, options(), source(GUEST))


def error_of(federation: Federation, protocol: str, bucket_rows: int = 65536) -> FedsparkError:
    with pytest.raises(FedsparkError) as caught:
        intersect(federation, TABLES, bucket_rows, protocol)
    return caught.value


# ---- sizes and nonces ------------------------------------------------------------------------------------------------


def host_that_opens(opened: Callable[[str], Any], size: dict[str, Any] | None = None) -> Callable[[Run], None]:
    def host(run: Run) -> None:
        original = run.send

        def send(tag: str, to: Any, payload: Any, **more: Any) -> None:
            changed = {**payload, **({"nonce": opened(payload["nonce"])} if tag == "nonce" else size or {})}
            original(tag, to, changed, **more)

        object.__setattr__(run, "send", send)
        agree(run, source(HOST), value_bytes=256, bucket_rows=65536)

    return host


def test_a_nonce_chosen_after_the_commitment_is_refused():
    federation = Federation()
    with pytest.raises(Tampered, match="does not open the commitment"):
        federation.play("psi", {"guest": honest_guest, "host": host_that_opens(lambda nonce: "00" * 32)})
    assert tags_sent(federation) == {"size", "nonce"}


def test_a_commitment_binds_the_rows_that_are_announced():
    federation = Federation()
    with pytest.raises(Tampered, match="does not open"):
        federation.play("psi", {"guest": honest_guest, "host": host_that_opens(lambda nonce: nonce, {"rows": 51})})


@pytest.mark.parametrize("nonce", ["00" * 31, "no hex", 7, None])
def test_a_malformed_nonce_is_refused(nonce: Any):
    with pytest.raises(Mismatch, match="'nonce' of host is malformed"):
        Federation().play("psi", {"guest": honest_guest, "host": host_that_opens(lambda _: nonce)})


@pytest.mark.parametrize(
    "size", [{"rows": -1}, {"rows": 5.0}, {"rows": True}, {"part_rows": 0}, {"shows": 1}, {"more": 1}]
)
def test_a_malformed_size_is_refused(size: dict[str, Any]):
    with pytest.raises(Mismatch, match="'size' of host is malformed"):
        Federation().play("psi", {"guest": honest_guest, "host": host_that_opens(lambda nonce: nonce, size)})


def test_a_table_that_changes_during_a_run_is_refused():
    federation = Federation()
    intersect(federation, TABLES)
    with pytest.raises(TableError, match="not the one that this run began with"):
        intersect(federation, {**TABLES, "guest": staged(names(0, 41), label=True)})


# ---- values ----------------------------------------------------------------------------------------------------------


def test_tags_that_are_not_sorted_are_refused(monkeypatch: pytest.MonkeyPatch, protocol: str):
    module, name = (ot.tags, "seal") if protocol == "ot" else (matching, "sort_tags")
    original = getattr(module, name)

    def sort_tags(*arguments: Any) -> Any:
        tags, order = original(*arguments)
        return tags[::-1], order[::-1]

    monkeypatch.setattr(module, name, sort_tags)
    error = error_of(Federation(), protocol)
    assert isinstance(error, PeerError)
    assert "do not ascend" in error.message


def test_a_part_with_fewer_values_than_agreed_is_refused(monkeypatch: pytest.MonkeyPatch, protocol: str):
    original = module_of(protocol).pack_values
    monkeypatch.setattr(module_of(protocol), "pack_values", lambda name, values: original(name, values[1:]))
    if protocol == "ot":  # what the guest stores for itself is complete
        monkeypatch.setattr(ot, "_stored", lambda files, part, tables: tables)
    error = error_of(Federation(), protocol)
    assert isinstance(error, Mismatch)
    rows = {"rsa": 40, "ecdh": 40, "ot": 1510}[protocol]
    assert f"has {rows - 1:,} rows, and {rows:,} were agreed" in error.message


# ---- the result ------------------------------------------------------------------------------------------------------


def test_a_dummy_that_is_called_a_common_person_is_refused(monkeypatch: pytest.MonkeyPatch, protocol: str):
    def tell_part(context: Any, outgoing: Any, part: int) -> Any:
        joining, host = context
        flags = np.ones(joining.plan.values_per_part(host), np.bool_)
        return outgoing.write(part, pack_flags("matched", flags)), None

    monkeypatch.setattr(matching, "tell_part", tell_part)
    error = error_of(Federation(), protocol, bucket_rows=16)
    assert isinstance(error, PeerError)
    assert "it marks" in error.message


def test_a_result_that_differs_from_what_was_marked_is_refused(monkeypatch: pytest.MonkeyPatch, protocol: str):
    def tell_part(context: Any, outgoing: Any, part: int) -> Any:
        joining, host = context
        flags = np.zeros(joining.plan.values_per_part(host), np.bool_)
        return outgoing.write(part, pack_flags("matched", flags)), None

    monkeypatch.setattr(matching, "tell_part", tell_part)
    error = error_of(Federation(), protocol)
    assert isinstance(error, Mismatch)
    assert "but marked 0 of our people" in error.message


def test_a_guest_with_too_few_common_people_refuses_before_it_tells_the_host(protocol: str):
    federation = Federation(policy={"guest": {"min_intersection": 21}})
    error = error_of(federation, protocol)
    assert isinstance(error, PolicyRefused)
    assert "20 people are common to all parties; this party's limit min_intersection is 21" in error.message
    assert not {"matched", "result"} & tags_sent(federation)


def test_a_host_with_too_few_common_people_refuses_to_go_on(protocol: str):
    federation = Federation(policy={"host": {"min_intersection": 21}})
    error = error_of(federation, protocol)
    assert isinstance(error, PolicyRefused)
    assert "min_intersection is 21" in error.message


def test_a_guest_with_more_ids_than_a_host_allows_is_refused_before_the_salt_is_known(protocol: str):
    federation = Federation(policy={"host": {"max_peer_rows": 39}})
    error = error_of(federation, protocol)
    assert isinstance(error, PolicyRefused)
    assert "guest brings 40 ids; this party's limit max_peer_rows is 39" in error.message
    assert tags_sent(federation) <= {"size", "nonce"}
