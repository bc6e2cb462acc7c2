"""Messages arrive as they were sent, or are refused: one test per attack."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import pytest

from fedspark.errors import Absent, Mismatch, NotReady, Oversized, Replayed, Stopped, Tampered
from fedspark.exchange.mailbox import Address, Limits, Receipt
from fedspark.exchange.manifest import SealedObject
from fedspark.exchange.seal import seal
from fedspark.exchange.signed import sign
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


# ---- attacks on parts ----------------------------------------------------------------------------------------------


def test_a_tampered_part_is_refused_before_it_is_opened(exchange, address, monkeypatch):
    exchange.send(address)
    message = exchange.receive(address)
    exchange.edit(exchange.part(address), lambda data: data[:-1] + bytes([data[-1] ^ 1]))
    monkeypatch.setattr("fedspark.exchange.mailbox.unseal", lambda *_: pytest.fail("opened"))
    with pytest.raises(Tampered, match=r"part-00000-000 is not what its sender signed"):
        message.read(0)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_truncated_part_is_refused(exchange, address, moment):
    exchange.send(address)
    message = exchange.receive(address) if moment == "after" else None
    exchange.edit(exchange.part(address, 1), lambda data: data[:-1])
    with pytest.raises(Tampered, match="part-00001-000 was cut"):
        (message or exchange.receive(address)).read(1)


def test_an_oversized_part_is_refused_from_the_listing(exchange, address):
    exchange.send(address)
    exchange.edit(exchange.part(address), lambda data: data + b"x")
    with pytest.raises(Oversized, match=r"part-00000-000 has 55 bytes, its manifest says 54.*not read"):
        exchange.receive(address)


def test_a_part_that_grew_after_the_listing_is_refused_before_it_is_downloaded(exchange, address, monkeypatch):
    exchange.send(address)
    message = exchange.receive(address)
    exchange.edit(exchange.part(address), lambda data: data + b"x")
    monkeypatch.setattr(type(exchange.store), "read_range", lambda *_: pytest.fail("downloaded"))
    with pytest.raises(Oversized, match=r"part-00000-000 has 55 bytes, its manifest says 54.*not read"):
        message.read(0)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_missing_part_is_refused(exchange, address, moment):
    exchange.send(address)
    message = exchange.receive(address) if moment == "after" else None
    exchange.store.delete(exchange.part(address))
    with pytest.raises(Tampered, match="lacks 'part-00000-000'"):
        (message or exchange.receive(address)).read(0)


@pytest.mark.parametrize("name", ["part-00002-000", "part-00000-001", "notes.txt", "deeper/part-00000-000"])
def test_an_extra_object_is_refused(exchange, address, name):
    exchange.send(address)
    exchange.store.create(f"{exchange.folder(address)}/{name}", b"x")
    with pytest.raises(Tampered, match="does not list"):
        exchange.receive(address)


def test_swapped_parts_are_refused(exchange, address):
    exchange.send(address, b"one", b"two")
    one, two = exchange.part(address, 0), exchange.part(address, 1)
    first, second = exchange.store.read(one), exchange.store.read(two)
    exchange.store.replace(one, second)
    exchange.store.replace(two, first)
    message = exchange.receive(address)
    with pytest.raises(Tampered, match="part-00000-000 is not what its sender signed"):
        message.read(0)


def test_parts_that_the_sender_itself_swapped_do_not_open(exchange, address):
    exchange.send(address, b"one", b"two")
    one, two = exchange.part(address, 0), exchange.part(address, 1)
    first, second = exchange.store.read(one), exchange.store.read(two)
    exchange.store.replace(one, second)
    exchange.store.replace(two, first)
    exchange.resign(
        address, objects=(SealedObject.of("part-00000-000", second), SealedObject.of("part-00001-000", first))
    )
    with pytest.raises(Tampered, match="does not open"):
        exchange.receive(address).read(0)


FOREIGN = {
    "for somebody else": ({}, Address("train", 3, "g", "guest", "arbiter"), 0),
    "in another run": ({"run": "ab" * 32, "transcript": b"u" * 32}, Address("train", 3, "g", "guest", "host"), 0),
    "under another tag": ({}, Address("train", 3, "d", "guest", "host"), 0),
    "in another round": ({}, Address("train", 2, "g", "guest", "host"), 0),
    "in another step": ({}, Address("predict", 3, "g", "guest", "host"), 0),
    "in another attempt": ({}, Address("train", 3, "g", "guest", "host", 1), 0),
    "at another position": ({}, Address("train", 3, "g", "guest", "host"), 1),
    "by ourselves": ({}, Address("train", 3, "g", "host", "guest"), 0),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_foreign_part_does_not_open_even_when_the_sender_signs_for_it(exchange, address, session, case):
    changes, other, position = FOREIGN[case]
    outgoing = exchange.mailbox(other.sender, session(other.sender, **changes)).outgoing(other)
    foreign = seal(outgoing.keys, f"{outgoing.sealed_as}/part-00000-000", position, b"first")
    exchange.send(address, b"first")
    exchange.store.replace(exchange.part(address), foreign)
    exchange.resign(address, objects=(SealedObject.of("part-00000-000", foreign),))
    with pytest.raises(Tampered, match=r"Frame 0 of the object .*part-00000-000 does not open"):
        exchange.receive(address).read(0)


# ---- attacks on manifests ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [0, 1, 40, 250, -1])
def test_a_truncated_manifest_is_refused(exchange, address, kept):
    exchange.send(address)
    exchange.edit(exchange.manifest(address), lambda data: data[:kept])
    with pytest.raises(Tampered, match="manifest"):
        exchange.receive(address)


def test_a_manifest_with_a_changed_byte_is_refused_before_it_is_parsed(exchange, address, monkeypatch):
    exchange.send(address)
    exchange.edit(exchange.manifest(address), lambda data: data.replace(b'"bytes":54', b'"bytes":53'))
    monkeypatch.setattr("fedspark.exchange.signed.parse_json", lambda *_: pytest.fail("parsed"))
    with pytest.raises(Tampered, match=r"signature of .*manifest is wrong"):
        exchange.receive(address)


def test_an_unsigned_manifest_is_refused(exchange, address):
    exchange.send(address)
    exchange.edit(exchange.manifest(address), lambda data: data.partition(b"\n")[2])
    with pytest.raises(Tampered, match="not a signed manifest"):
        exchange.receive(address)


def test_a_manifest_signed_by_another_party_is_refused_with_both_keys(exchange, address, identities):
    exchange.send(address)
    forged = exchange.held(address).sign(identities["arbiter"])
    exchange.store.replace(exchange.manifest(address), forged)
    with pytest.raises(Tampered, match=r"signed by ed25519:.*pinned in our party file is ed25519:"):
        exchange.receive(address)


def test_a_document_of_another_kind_is_no_manifest(exchange, address, identities):
    exchange.send(address)
    exchange.store.replace(exchange.manifest(address), sign("stop", {"reason": "X"}, identities["guest"]))
    with pytest.raises(Tampered, match="not a signed manifest"):
        exchange.receive(address)


REPLAYS = {
    "round": Address("train", 2, "g", "guest", "host"),
    "step": Address("predict", 3, "g", "guest", "host"),
    "tag": Address("train", 3, "loss", "guest", "host"),
    "attempt": Address("train", 3, "g", "guest", "host", 1),
    "receiver": Address("train", 3, "g", "guest", "arbiter"),
}


@pytest.mark.parametrize("field", REPLAYS)
def test_a_manifest_of_another_place_is_refused_and_named(exchange, address, field):
    exchange.send(REPLAYS[field], b"old")
    for name, _ in exchange.store.list(exchange.folder(REPLAYS[field])):
        exchange.store.create(f"{exchange.folder(address)}/{name.rsplit('/', 1)[1]}", exchange.store.read(name))
    with pytest.raises(Replayed, match=r"put in the place of the message 'g' of step 'train', round 3"):
        exchange.receive(address)


def test_a_manifest_of_another_run_is_refused(exchange, address, session):
    other = "5f" * 8 + "00" * 24  # the folder is named by the first 16 digits only
    exchange.send(address, session=session("guest", run=other))
    with pytest.raises(Replayed, match="belongs to run"):
        exchange.receive(address)


def test_a_manifest_of_another_handshake_is_refused(exchange, address, session):
    exchange.send(address, session=session("guest", transcript=b"u" * 32))
    with pytest.raises(Replayed, match="another handshake"):
        exchange.receive(address)


def test_an_oversized_manifest_is_refused_before_it_is_downloaded(exchange, address, monkeypatch):
    exchange.send(address)
    exchange.edit(exchange.manifest(address), lambda data: data + b" " * 5000)
    monkeypatch.setattr(type(exchange.store), "read_range", lambda *_: pytest.fail("downloaded"))
    with pytest.raises(Oversized, match=r"manifest has \d+ bytes; 4000 are allowed. It was not read"):
        exchange.receive(address, limits=Limits(manifest_bytes=4000))


def test_a_manifest_that_announces_an_oversized_object_or_part_is_refused(exchange, address):
    exchange.send(address, b"x" * 900)
    with pytest.raises(Oversized, match="an object may have 500 at most"):
        exchange.receive(address, limits=Limits(object_bytes=500))
    with pytest.raises(Oversized, match="a part may have 500 at most"):
        exchange.receive(address, limits=Limits(part_bytes=500))


def test_a_second_version_of_an_accepted_manifest_is_refused(exchange, address):
    exchange.send(address)
    mailbox = exchange.mailbox("host")
    mailbox.receive(address)
    mailbox.receive(address)  # the same version again is fine
    exchange.resign(address, meta_sealed=b"other")
    with pytest.raises(Replayed, match="another version of one that was accepted before"):
        mailbox.receive(address)


def test_a_second_version_is_refused_after_a_restart_too(exchange, address, memory):
    workspace = memory.open()
    exchange.send(address)
    exchange.receive(address, remember=lambda path, digest: workspace.keep(f"accepted/{path}", digest))
    exchange.resign(address, meta_sealed=b"other")
    with pytest.raises(Replayed, match="accepted before"):
        exchange.receive(address, remember=lambda path, digest: workspace.keep(f"accepted/{path}", digest))


def test_a_manifest_of_a_later_version_names_it(exchange, address):
    exchange.send(address)
    exchange.edit(exchange.manifest(address), lambda data: data.replace(b"fedspark/1", b"fedspark/7", 1))
    with pytest.raises(Mismatch, match=r"version '7'.*understands version 1"):
        exchange.receive(address)


def test_a_meta_that_does_not_open_or_fit_is_refused(exchange, address):
    exchange.send(address, b"one", b"two")
    exchange.resign(address, meta_sealed=b"x" * 60)
    with pytest.raises(Mismatch, match="format version 120"):
        exchange.receive(address)
    exchange.resign(address, meta_sealed=b"\x01" + b"x" * 60)
    with pytest.raises(Tampered, match="manifest does not open"):
        exchange.receive(address)


def test_a_manifest_that_drops_a_part_contradicts_its_sealed_meta(exchange, address):
    exchange.send(address, b"one", b"two")
    exchange.resign(address, objects=exchange.held(address).objects[:1])
    exchange.store.delete(exchange.part(address, 1))
    with pytest.raises(Tampered, match="lists 1 parts, its sealed meta says 2"):
        exchange.receive(address)


def test_something_else_under_our_own_name_is_not_taken_for_our_message(exchange, address, identities):
    exchange.send(address)
    exchange.store.replace(exchange.manifest(address), exchange.held(address).sign(identities["host"]))
    with pytest.raises(Tampered, match="signed by"):
        exchange.mailbox("guest").committed(address)


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


STOP = {"party": "guest", "run": "5f" * 32, "transcript": (b"t" * 32).hex(), "reason": "TableError"}
FORGED_STOPS = {
    "unsigned": (lambda ids: json.dumps(STOP).encode(), Tampered),
    "signed by another party": (lambda ids: sign("stop", STOP, ids["arbiter"]), Tampered),
    "of another party": (lambda ids: sign("stop", {**STOP, "party": "arbiter"}, ids["guest"]), Replayed),
    "of another run": (lambda ids: sign("stop", {**STOP, "run": "00" * 32}, ids["guest"]), Replayed),
    "with a free text": (lambda ids: sign("stop", {**STOP, "reason": "\x1b[2J pay me"}, ids["guest"]), Tampered),
    "too large": (lambda ids: sign("stop", {**STOP, "reason": "x" * 70_000}, ids["guest"]), Oversized),
}


@pytest.mark.parametrize("case", FORGED_STOPS)
def test_a_forged_stop_notice_is_refused(exchange, address, identities, case):
    make, error = FORGED_STOPS[case]
    exchange.store.create(exchange.manifest(address).split("/train/")[0] + "/stop/guest.json", make(identities))
    with pytest.raises(error, match=r"stop.guest\.json"):
        exchange.receive(address)


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
