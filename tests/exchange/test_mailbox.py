"""Messages arrive as they were sent, waits end, and nothing committed is rewritten."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import pytest

from fedspark.errors import Absent, NotReady, Oversized, Stopped, Tampered
from fedspark.exchange.mailbox import Address, Limits, Receipt
from fedspark.exchange.store import Unequal

# ---- what must work ------------------------------------------------------------------------------------------------


def test_a_message_arrives_with_its_parts_and_meta(exchange, address):
    exchange.send(address, b"first", b"", b"third")
    message = exchange.receive(address)
    assert [message.read(part) for part in range(message.parts)] == [b"first", b"", b"third"]
    assert message.meta == {"rows": 2}


def test_a_message_may_have_no_parts(exchange, address):
    exchange.mailbox("guest").send(address, [], {"stop": True})
    message = exchange.receive(address)
    assert (message.parts, message.meta) == (0, {"stop": True})


def test_json_content_is_read_strictly(exchange, address):
    exchange.send(address, b'{"a":[1,2.5]}', b'{"a":1,"a":2}', b"[NaN]", b"[1e999]", b"\xff", b"[" * 100_000)
    message = exchange.receive(address)
    assert message.json() == {"a": [1, 2.5]}
    for part in range(1, message.parts):
        with pytest.raises(Tampered, match="strict JSON"):
            message.json(part)


def test_a_wave_numbers_its_parts_as_its_writer_and_reader_do(exchange, address):
    mailbox, wave = exchange.mailbox("guest"), range(5, 8)
    outgoing = mailbox.outgoing(address, wave.start)
    mailbox.commit(address, [outgoing.write(part, b"%d" % part) for part in wave])
    message = exchange.mailbox("host").receive(address, wave.start)
    assert [message.read(part) for part in wave] == [b"5", b"6", b"7"]
    assert [exchange.receive(address).read(part) for part in range(3)] == [b"5", b"6", b"7"]


def test_parts_are_written_and_read_in_other_processes(exchange, address):
    mailbox = exchange.mailbox("guest")
    outgoing = pickle.loads(pickle.dumps(mailbox.outgoing(address)))
    receipts = [
        Receipt.from_json(json.loads(json.dumps(outgoing.write(part, b"x" * part).to_json()))) for part in (1, 0)
    ]
    mailbox.commit(address, receipts)
    message = pickle.loads(pickle.dumps(exchange.receive(address)))
    assert [message.read(part) for part in (0, 1)] == [b"", b"x"]


def test_no_key_is_shown_by_what_travels_in_closures(exchange, address):
    exchange.send(address)
    outgoing, incoming = exchange.mailbox("guest").outgoing(address), exchange.receive(address)
    assert "keys" not in repr(outgoing) + repr(incoming)


def test_a_large_part_is_split_into_objects_and_read_as_one(exchange, address):
    limits = Limits(object_bytes=1000)
    content = bytes(range(256)) * 12
    exchange.send(address, content, b"small", limits=limits)
    names = [name.rsplit("/", 1)[1] for name, _ in exchange.store.list(exchange.folder(address))]
    assert names == ["manifest", *(f"part-00000-{chunk:03d}" for chunk in range(4)), "part-00001-000"]
    message = exchange.receive(address, limits=limits)
    assert [message.read(part) for part in range(message.parts)] == [content, b"small"]


def test_a_message_is_committed_when_its_manifest_is_there(exchange, address):
    mailbox = exchange.mailbox("guest")
    receipt = mailbox.outgoing(address).write(0, b"x")
    assert not mailbox.committed(address)
    mailbox.commit(address, [receipt])
    assert mailbox.committed(address)


def test_sending_the_same_message_again_changes_nothing(exchange, address):
    exchange.send(address)
    before = {name: exchange.store.read(name) for name, _ in exchange.store.list("")}
    exchange.send(address)
    assert {name: exchange.store.read(name) for name, _ in exchange.store.list("")} == before


def test_a_message_is_never_rewritten_with_other_content(exchange, address):
    exchange.send(address, b"first")
    with pytest.raises(Unequal, match="written before with other content"):
        exchange.send(address, b"other")
    with pytest.raises(Unequal, match="manifest"):
        exchange.mailbox("guest").send(address, [b"first"], {"rows": 3})
    assert exchange.receive(address).read(0) == b"first"


def test_receipts_of_all_parts_are_needed_to_commit(exchange, address):
    mailbox = exchange.mailbox("guest")
    receipts = [mailbox.outgoing(address).write(part, b"x") for part in (0, 2)]
    with pytest.raises(ValueError, match="part-00002-000"):
        mailbox.commit(address, receipts)


def test_a_party_sends_in_its_own_name_and_receives_its_own_mail(exchange, address):
    with pytest.raises(ValueError, match="arbiter cannot send"):
        exchange.mailbox("arbiter").send(address, [b"x"])
    with pytest.raises(ValueError, match="arbiter cannot receive"):
        exchange.mailbox("arbiter").receive(address)


def test_what_we_send_keeps_to_the_limits(exchange, address):
    with pytest.raises(Oversized, match="Part 0"):
        exchange.send(address, b"x" * 1000, limits=Limits(part_bytes=1000))
    with pytest.raises(Oversized, match="manifest"):
        exchange.send(address, limits=Limits(manifest_bytes=100))


def test_nothing_in_the_exchange_holds_content_or_meta_in_clear(exchange, address):
    exchange.mailbox("guest").send(address, [b"patient-4711"], {"columns": ["diagnosis"]})
    everything = b"".join(exchange.store.read(name) for name, _ in exchange.store.list(""))
    assert b"4711" not in everything
    assert b"diagnosis" not in everything
    assert b"columns" not in everything


# ---- waiting and stopping ------------------------------------------------------------------------------------------


def test_receive_waits_until_the_manifest_is_there(exchange, address):
    exchange.mailbox("guest").outgoing(address).write(0, b"x")
    exchange.clock.at[5] = lambda: exchange.send(address, b"x")
    message = exchange.receive(address, waiting=exchange.clock.waiting(limit=60))
    assert message.read(0) == b"x"
    assert len(exchange.clock.slept) == 5


def test_a_message_that_does_not_come_in_time_is_not_ready_and_names_itself(exchange, address):
    noted = []
    waiting = exchange.clock.waiting(limit=30, on_not_ready=noted.append)
    with pytest.raises(NotReady, match="message 'g' of step 'train', round 3, from guest to host") as caught:
        exchange.receive(address, waiting=waiting)
    assert caught.value.exit_code == 75
    assert [(entry.object, entry.peer) for entry in noted] == [(exchange.manifest(address), "guest")]


def test_a_peer_that_never_comes_is_absent_after_the_deadline(exchange, address):
    waiting = exchange.clock.waiting(limit=10_000, deadline=7200)
    with pytest.raises(Absent, match=r"deadline of 2 hours is over.*Ask guest"):
        exchange.receive(address, waiting=waiting)


def test_a_stop_notice_ends_the_wait(exchange, address):
    exchange.mailbox("arbiter").stop("PolicyRefused")
    with pytest.raises(Stopped, match="arbiter stopped the run: PolicyRefused"):
        exchange.receive(address)


def test_a_message_that_is_there_is_taken_although_its_sender_stopped_later(exchange, address):
    exchange.send(address, b"x")
    exchange.mailbox("guest").stop("TableError")
    assert exchange.receive(address).read(0) == b"x"


def test_a_stop_notice_can_be_withdrawn_to_continue(exchange, address):
    exchange.mailbox("guest").stop("TableError")
    exchange.mailbox("guest").withdraw_stop()
    with pytest.raises(NotReady):
        exchange.receive(address)


def test_our_own_stop_notice_does_not_stop_us(exchange, address):
    exchange.mailbox("host").stop("TableError")
    with pytest.raises(NotReady):
        exchange.receive(address)


def test_a_stop_notice_says_no_more_than_the_class_of_the_error(exchange):
    with pytest.raises(ValueError, match="not the name of an error class"):
        exchange.mailbox("guest").stop("id 4711 is null")


def test_a_stop_notice_of_a_stranger_is_ignored(exchange, address):
    exchange.store.create(exchange.manifest(address).split("/train/")[0] + "/stop/stranger.json", b"x")
    with pytest.raises(NotReady):
        exchange.receive(address)


# ---- addresses -----------------------------------------------------------------------------------------------------


def test_an_address_is_its_path_and_back(address):
    repeated = replace(address, tag="scalars.2", attempt=4, round=12345)
    assert address.path == "train/0003/g.0/guest.host"
    assert repeated.path == "train/12345/scalars.2.4/guest.host"
    assert [Address.from_path(a.path) for a in (address, repeated)] == [address, repeated]
    assert [Address.from_path(path) for path in ("stop/guest.json", "train/00003/g.0/guest.host", "a/b")] == [None] * 3


@pytest.mark.parametrize(
    "change", [{"step": "a/b"}, {"tag": "../x"}, {"sender": "a.b"}, {"receiver": ""}, {"round": -1}]
)
def test_names_that_could_lead_elsewhere_are_refused(address, change):
    with pytest.raises(ValueError, match="Address"):
        replace(address, **change)
