"""Whatever somebody with write access, or a dishonest sender, does to a message: it is refused. One test per attack."""

from __future__ import annotations

import json

import pytest

from fedspark.errors import Mismatch, Oversized, Replayed, Tampered
from fedspark.exchange.mailbox import Address, Limits
from fedspark.exchange.manifest import SealedObject
from fedspark.exchange.seal import seal
from fedspark.exchange.signed import sign

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


# ---- attacks on stop notices ---------------------------------------------------------------------------------------

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
