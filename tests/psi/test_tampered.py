"""Messages per row that are wrong, in every protocol: of another length, in another order, of another wave or run,
missing or too many. What can be refused is refused before anything is made of it; what a semi-honest protocol cannot
see makes people vanish from the result and never adds one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest

from fedspark.buckets import BucketFile
from fedspark.errors import FedsparkError, Mismatch, NotReady, PeerError, Replayed, Tampered
from fedspark.exchange.mailbox import Mailbox
from fedspark.exchange.manifest import Address
from fedspark.psi import ot, sizes
from fedspark.psi.align import Alignment
from fedspark.run import Run
from tests.federation import Federation
from tests.psi.dishonest import (
    MESSAGES,
    PER_ROW,
    LaterRun,
    Place,
    Rows,
    folder_of,
    objects_instead,
    people_of,
    recorded,
    remember_set_ups,
    rows_changed,
    sent_instead,
)
from tests.psi.people import assert_intersection, names, options, role_of, source, staged

GUEST, HOST = names(0, 40), names(10, 60)
TABLES = {"guest": staged(GUEST, label=True), "host": staged(HOST)}
COMMON = set(GUEST) & set(HOST)
BUCKET_ROWS, WAVES = 16, 4


@pytest.fixture(autouse=True)
def waves_of_one_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ot, "BUCKETS_PER_PART", 1)
    monkeypatch.setattr(sizes, "WAVE_PARTS", 1)
    remember_set_ups(monkeypatch)


def play(federation: Federation, protocol: str) -> tuple[dict[str, Alignment], dict[str, BaseException]]:
    def half(name: str) -> Callable[[Run], Alignment]:
        return lambda run: role_of(run, protocol)(run, options(BUCKET_ROWS, protocol), source(TABLES[name]))

    return federation.play_out("psi", {name: half(name) for name in TABLES})


def the_error(federation: Federation, protocol: str) -> FedsparkError:
    """The one error of this play; nobody has an alignment that was made of the wrong message."""
    results, errors = play(federation, protocol)
    (error,) = errors.values()
    assert isinstance(error, FedsparkError)
    assert errors.keys().isdisjoint(results)
    return error


def at_wave(protocol: str, tag: str, wave: int) -> Place:
    """Where part number ``wave`` of a message lies: in a wave of its own, but for ``matched``, which has all."""
    return Place(tag, 0, wave) if tag == "matched" else Place(tag, wave, 0)


def instead_at(place: Place, change: Callable[[Rows], Rows]) -> Callable[[Place, bytes], bytes]:
    return lambda at, data: rows_changed(data, change) if at == place else data


def assert_nobody_was_added(federation: Federation, protocol: str, wrong: Place, detects: str | None) -> None:
    """Either the receiver refuses the message (with ``detects``), or exactly the people of its part vanish, on both
    sides.
    """
    results, errors = play(federation, protocol)
    if detects is not None:
        (error,) = errors.values()
        assert isinstance(error, PeerError)
        assert detects in error.message
        assert not results
        return
    assert errors == {}
    kept = people_of(federation, results)
    assert kept["guest"] == kept["host"]
    assert set(kept["guest"]) == COMMON - people_in(protocol, wrong.wave)


@cache
def people_in(protocol: str, part: int) -> frozenset[str]:
    """The common people in one part when all goes well."""
    federation = Federation()
    results, errors = play(federation, protocol)
    assert errors == {}
    assert_intersection(federation, results, TABLES)
    workspace, path = federation.run("guest", "psi").workspace, results["guest"].path(part)
    found = frozenset(BucketFile(workspace.read(path)).read_all(["key"])["key"].to_pylist())
    assert 0 < len(found) < len(COMMON)
    return found


# ---- another length --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("protocol", "tag"), MESSAGES)
@pytest.mark.parametrize("difference", [-1, 1])
def test_a_part_with_a_row_less_or_more_is_refused_and_nothing_follows(
    monkeypatch: pytest.MonkeyPatch, protocol: str, tag: str, difference: int
):
    place = at_wave(protocol, tag, 1)
    sent_instead(monkeypatch, instead_at(place, lambda rows: rows[:-1] if difference < 0 else [*rows, rows[-1]]))
    federation = Federation()
    error = the_error(federation, protocol)
    assert isinstance(error, Mismatch)
    assert f"message {tag!r} is refused" in error.message
    assert "were agreed" in error.message
    sent = {name.rpartition("/psi/")[2] for name in federation.objects(federation.exchange) if "manifest" in name}
    if tag != "matched":
        assert not any("result" in name or "matched" in name for name in sent)
    if tag in ("table", "blinded"):
        answer = {"rsa": "signed", "ecdh": "evaluated", "ot": "tags"}[protocol]
        assert any(name.startswith(f"0000/{answer}.") for name in sent)
        assert not any(name.startswith(f"0001/{answer}.") for name in sent)


@pytest.mark.parametrize(("protocol", "tag"), MESSAGES)
@pytest.mark.parametrize("parts", [0, 2])
def test_a_wave_with_other_parts_than_agreed_is_refused(
    monkeypatch: pytest.MonkeyPatch, protocol: str, tag: str, parts: int
):
    original = Mailbox.commit

    def commit(self: Mailbox, address: Address, receipts: Any, *more: Any) -> None:
        receipts = list(receipts)
        if address.tag == tag and address.round == at_wave(protocol, tag, 1).wave:
            outgoing = self.outgoing(address)
            if parts:
                receipts.append(outgoing.write(len(receipts), b"one more"))
            else:
                for part in range(len(receipts)):
                    outgoing.ref.open().delete(f"{outgoing.folder}/part-{part:05d}-000")
                receipts = []
        original(self, address, receipts, *more)

    monkeypatch.setattr(Mailbox, "commit", commit)
    error = the_error(Federation(), protocol)
    assert isinstance(error, PeerError)
    agreed = WAVES if tag == "matched" else 1
    found = (agreed + 1) if parts else 0
    assert f"{tag!r} of {PER_ROW[protocol][tag]} has {found} parts, and {agreed} were agreed" in error.message


# ---- another order, another wave, another run ------------------------------------------------------------------------

# What the receiver (or the sender itself, for its own blinded rows) notices; None: it cannot, and its people vanish.
PERMUTED = {
    ("rsa", "tags"): "do not ascend",
    ("rsa", "blinded"): "does not belong",
    ("rsa", "signed"): "does not belong",
    ("ecdh", "tags"): "do not ascend",
    ("ecdh", "blinded"): None,
    ("ecdh", "evaluated"): None,
    ("ot", "table"): None,
    ("ot", "tags"): "do not ascend",
}
REPEATED = {key: None if key[1] == "tags" else rule for key, rule in PERMUTED.items()}
FOREIGN = {**REPEATED, ("rsa", "blinded"): "is refused", ("rsa", "signed"): "is refused"}


def cases(rules: dict[tuple[str, str], str | None]) -> list[Any]:
    return [pytest.param(*key, rule, id="-".join(key)) for key, rule in rules.items()]


@pytest.mark.parametrize(("protocol", "tag", "detects"), cases(PERMUTED))
def test_rows_in_another_order_are_refused_or_match_nobody(
    monkeypatch: pytest.MonkeyPatch, protocol: str, tag: str, detects: str | None
):
    wrong = at_wave(protocol, tag, 1)
    people_in(protocol, 1)
    sent_instead(monkeypatch, instead_at(wrong, lambda rows: [*rows[1:], rows[0]]))
    assert_nobody_was_added(Federation(), protocol, wrong, detects)


@pytest.mark.parametrize(("protocol", "tag", "detects"), cases(REPEATED))
def test_a_wave_that_says_what_the_wave_before_said_is_refused_or_matches_nobody(
    monkeypatch: pytest.MonkeyPatch, protocol: str, tag: str, detects: str | None
):
    wrong = at_wave(protocol, tag, 2)
    people_in(protocol, 2)
    said: dict[Place, bytes] = {}

    def again(place: Place, data: bytes) -> bytes:
        said[place] = data
        return said[at_wave(protocol, tag, 1)] if place == wrong else data

    sent_instead(monkeypatch, again)
    assert_nobody_was_added(Federation(), protocol, wrong, detects)


@cache
def said_in_another_run(protocol: str) -> dict[Place, bytes]:
    with pytest.MonkeyPatch.context() as patch:
        contents = recorded(patch)
        _, errors = play(LaterRun(), protocol)
        assert errors == {}
    return contents


@pytest.mark.parametrize(("protocol", "tag", "detects"), cases(FOREIGN))
def test_a_wave_that_was_said_in_another_run_is_refused_or_matches_nobody(
    monkeypatch: pytest.MonkeyPatch, protocol: str, tag: str, detects: str | None
):
    wrong, foreign = at_wave(protocol, tag, 1), said_in_another_run(protocol)
    people_in(protocol, 1)
    sent_instead(monkeypatch, lambda place, data: foreign[place] if place == wrong else data)
    assert_nobody_was_added(Federation(), protocol, wrong, detects)


@pytest.mark.parametrize("protocol", sorted(PER_ROW))
def test_a_host_keeps_nobody_but_people_of_its_own_whatever_the_guest_marks(
    monkeypatch: pytest.MonkeyPatch, protocol: str
):
    """Who is common is the guest's word: of the host's rows it may mark any so many, and only dummies give it away."""
    wrong, refused = at_wave(protocol, "matched", 1), 0
    for shift in (1, 2, 3, 5):
        with monkeypatch.context() as patch:
            sent_instead(patch, instead_at(wrong, lambda rows, shift=shift: [*rows[shift:], *rows[:shift]]))
            federation = Federation()
            results, errors = play(federation, protocol)
        if errors:
            (error,) = errors.values()
            assert "'matched' of guest is refused: it marks" in str(error)
            refused += 1
        else:
            kept = people_of(federation, results)
            assert set(kept["guest"]) == COMMON
            assert set(kept["host"]) < set(HOST)
            assert len(set(kept["host"])) == len(COMMON)
    assert refused


# ---- objects that the store shows in a wrong place -------------------------------------------------------------------


def in_wrong_places() -> Iterator[Any]:
    for protocol, tags in PER_ROW.items():
        for tag in tags:
            for what in ("a message of another run", "a message of another wave", "parts of another wave"):
                if tag != "matched" or what == "a message of another run":
                    yield pytest.param(protocol, tag, what, id=f"{protocol}-{tag}-{what.replace(' ', '-')}")


@pytest.mark.parametrize(("protocol", "tag", "what"), list(in_wrong_places()))
def test_what_the_store_shows_in_a_wrong_place_is_refused(
    monkeypatch: pytest.MonkeyPatch, protocol: str, tag: str, what: str
):
    sender = PER_ROW[protocol][tag]
    receiver = "host" if sender == "guest" else "guest"
    at = Address("psi", at_wave(protocol, tag, 1).wave, tag, sender, receiver)
    federation, later = Federation(), another_run(protocol)

    def shown() -> dict[str, bytes]:
        if what == "a message of another run":
            return folder_of(later, at)
        objects = folder_of(federation, dataclasses.replace(at, round=0))
        return objects if what == "a message of another wave" else without_manifest(objects)

    objects_instead(monkeypatch, at, shown)
    error = the_error(federation, protocol)
    assert isinstance(error, Tampered | Replayed | Mismatch), error
    assert at.path in error.message


def without_manifest(objects: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in objects.items() if name != "manifest"}


@cache
def another_run(protocol: str) -> Federation:
    """The same parties, with the same identities and tables, in a run that ended well."""
    later = LaterRun()
    _, errors = play(later, protocol)
    assert errors == {}
    return later


# ---- waves that are missing or too many ------------------------------------------------------------------------------


@pytest.mark.parametrize(("protocol", "tag"), MESSAGES)
def test_a_wave_that_never_comes_is_waited_for_by_name(monkeypatch: pytest.MonkeyPatch, protocol: str, tag: str):
    missing = at_wave(protocol, tag, 1).wave
    original = Mailbox.commit

    def commit(self: Mailbox, address: Address, *arguments: Any) -> None:
        if (address.tag, address.round) != (tag, missing):
            original(self, address, *arguments)

    monkeypatch.setattr(Mailbox, "commit", commit)
    federation = Federation()
    ends: dict[str, NotReady] = {}
    seen = None
    while seen != (seen := len(federation.objects(federation.exchange))):
        for name, table in TABLES.items():
            run = federation.run(name, "psi", patience=0)
            try:
                role_of(run, protocol)(run, options(BUCKET_ROWS, protocol), source(table))
            except NotReady as end:
                ends[name] = end
    receiver = "host" if PER_ROW[protocol][tag] == "guest" else "guest"
    assert f"psi/{missing:04d}/{tag}.0/" in str(ends[receiver])


@pytest.mark.parametrize("protocol", sorted(PER_ROW))
def test_waves_beyond_the_plan_are_not_looked_at(protocol: str):
    federation = Federation()

    def half(name: str, peer: str) -> Callable[[Run], Alignment]:
        def role(run: Run) -> Alignment:
            for tag, sender in PER_ROW[protocol].items():
                if sender == name:
                    run.send(tag, run.roster[peer], b"one wave more", round=WAVES)
            return role_of(run, protocol)(run, options(BUCKET_ROWS, protocol), source(TABLES[name]))

        return role

    results = federation.play("psi", {"guest": half("guest", "host"), "host": half("host", "guest")})
    assert_intersection(federation, results, TABLES)
