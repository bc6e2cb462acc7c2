"""What people and reports see of the exchange."""

from __future__ import annotations

from dataclasses import replace

from fedspark.exchange.inbox import Entry, State, Traffic, inbox

PREFIX = "runs/bank/credit/first"


def test_traffic_sums_messages_and_bytes_by_tag_and_direction(exchange, address):
    back = replace(address, tag="d", sender="host", receiver="guest")
    for message in (address, replace(address, round=4), back):
        exchange.send(message)
    total = sum(size for name, size in exchange.store.list() if "/g.0/" in name)
    traffic = exchange.mailbox("guest").traffic()
    assert traffic[1] == Traffic("train", "g", "guest", "host", 2, total)
    assert [(t.tag, t.sender, t.receiver, t.messages) for t in traffic] == [
        ("d", "host", "guest", 1),
        ("g", "guest", "host", 2),
    ]
    assert exchange.mailbox("host").traffic() == traffic


def test_traffic_of_one_step_leaves_out_others_whose_name_begins_alike(exchange, address):
    for step in ("train", "train2", "psi"):
        exchange.send(replace(address, step=step))
    assert [t.step for t in exchange.mailbox("guest").traffic("train")] == ["train"]
    assert [t.step for t in exchange.mailbox("guest").traffic()] == ["psi", "train", "train2"]
    assert exchange.mailbox("guest").traffic("load") == []


def test_parts_that_are_just_being_removed_count_in_full(exchange, address):
    mailbox = exchange.mailbox("guest")
    mailbox.send(address, [b"one", b"two", b"three"])
    (before,) = mailbox.messages()
    exchange.store.delete(exchange.part(address))
    (during,) = mailbox.messages()
    sent = mailbox.traffic()
    mailbox.remove(address)
    assert [before.state, during.state, mailbox.messages()[0].state] == [State.VERIFIED, State.REMOVED, State.REMOVED]
    assert before.bytes == during.bytes == mailbox.messages()[0].bytes == sent[0].bytes
    assert mailbox.traffic() == sent


def test_the_inbox_lists_complete_unfinished_and_refused_messages(exchange, address, parties):
    unfinished, refused = replace(address, tag="h"), replace(address, tag="i")
    exchange.send(address, b"x")
    exchange.mailbox("guest").outgoing(unfinished).write(0, b"x")
    exchange.send(refused, b"x")
    exchange.edit(exchange.part(refused), lambda data: data[:-1])
    exchange.store.create(f"{exchange.folder(address).split('/train/')[0]}/stop/guest.json", b"not a message")
    size = sum(exchange.store.size(name) for name in (exchange.part(address), exchange.manifest(address)))

    entries = exchange.mailbox("host").messages()
    assert entries[0] == Entry(address, size, 1, State.VERIFIED)
    assert entries[1] == Entry(unfinished, 50, 1, State.WRITING)
    assert (entries[2].address, entries[2].state) == (refused, State.REFUSED)
    assert entries[2].reason.startswith("Tampered: ")
    assert "was cut" in entries[2].reason
    assert inbox(exchange.ref, PREFIX, parties, "host") == entries


def test_the_inbox_shows_ones_own_messages_only(exchange, address, parties):
    exchange.send(address)
    assert exchange.mailbox("arbiter").messages() == []
    assert inbox(exchange.ref, PREFIX, parties, "arbiter") == []
    assert len(inbox(exchange.ref, PREFIX, parties, "guest")) == 1


def test_a_message_of_a_stranger_is_refused_in_the_list(exchange, address, parties):
    exchange.send(address)
    strange = replace(address, sender="stranger")
    for name, _ in exchange.store.list(exchange.folder(address)):
        exchange.store.create(f"{exchange.folder(strange)}/{name.rsplit('/', 1)[1]}", exchange.store.read(name))
    entries = inbox(exchange.ref, PREFIX, parties, "host")
    assert [entry.state for entry in entries] == [State.VERIFIED, State.REFUSED]
    assert "stranger" in entries[1].reason


def test_a_message_of_another_run_does_not_count_as_traffic(exchange, address, session):
    exchange.send(address, session=session("guest", transcript=b"u" * 32))
    assert exchange.mailbox("host").traffic() == []
    assert exchange.mailbox("host").messages()[0].reason.startswith("Replayed")
