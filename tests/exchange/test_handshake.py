"""All parties arrive at one session, or all of them stop and say why."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, replace

import pytest

from fedspark.errors import (
    Absent,
    ConfigError,
    FedsparkError,
    Mismatch,
    NotReady,
    Oversized,
    Stopped,
    StoreError,
    Tampered,
)
from fedspark.exchange.handshake import open_session
from fedspark.exchange.hello import Hello, run_id, sign_ack, sign_refusal, transcript_hash
from fedspark.exchange.mailbox import Address, Mailbox, Waiting
from fedspark.exchange.seal import SealKeys
from fedspark.exchange.signed import sign
from fedspark.exchange.store import Store, StoreRef
from fedspark.party import Party, Role, Roster, identity_text

PREFIX = "runs/bank/credit/first"
OFFER = {"pipeline": "1f" * 32, "steps.train.l2": "0.001", "fedspark": "0.1.0"}


@dataclass
class Table:
    """Parties about to shake hands, each with its own idea of offer and roster."""

    ref: StoreRef
    roster: Roster
    identities: dict
    clock: object

    def join(self, name, waiting=None, *, offer=OFFER, roster=None, fresh=b"e", identity=None, me=None):
        roster = roster or self.roster
        return open_session(
            self.ref,
            PREFIX,
            me or roster[name],
            identity or self.identities[name],
            roster,
            (fresh + name.encode()).ljust(32, b"."),
            (b"n" + fresh + name.encode()).ljust(32, b"."),
            offer,
            waiting or self.clock.waiting(),
        )

    def all(self, **changes):
        """Everybody joins at once; (session or error) by party. ``changes``: party -> arguments."""
        results: dict = {}

        def run(name):
            try:
                results[name] = self.join(name, Waiting(30.0, last_poll=0.05), **changes.get(name, {}))
            except FedsparkError as error:
                results[name] = error

        threads = [threading.Thread(target=run, args=(party.name,)) for party in self.roster]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    def say_hello(self, *names):
        """Leave the hellos of ``names``, as if they had come and gone."""
        for name in names:
            with pytest.raises((NotReady, Stopped)):
                self.join(name)

    @property
    def store(self):
        return self.ref.open()

    def edit(self, name, change):
        self.store.replace(f"{PREFIX}/{name}", change(self.store.read(f"{PREFIX}/{name}")))


@pytest.fixture
def table(memory, parties, identities, clock):
    return Table(memory, parties, identities, clock)


# ---- agreement -----------------------------------------------------------------------------------------------------


def test_all_parties_arrive_at_one_run_and_matching_keys(table):
    sessions = table.all()
    assert len({(s.run_id, s.transcript) for s in sessions.values()}) == 1
    assert len(sessions["guest"].run_id) == 64
    pairs = [("guest", "host"), ("host", "guest"), ("host", "arbiter"), ("arbiter", "guest")]
    for sender, receiver in pairs:
        assert sessions[sender].keys[sender, receiver] == sessions[receiver].keys[sender, receiver]
    distinct = {keys.mac for s in sessions.values() for keys in s.keys.values()}
    assert len(distinct) == 6
    assert ("host", "arbiter") not in sessions["guest"].keys


def test_messages_flow_after_the_handshake(table):
    sessions = table.all()
    address = Address("psi", 0, "y", "guest", "host")
    Mailbox(table.ref, PREFIX, sessions["guest"], Waiting(0)).send(address, [b"hello"])
    assert Mailbox(table.ref, PREFIX, sessions["host"], Waiting(0)).receive(address).read(0) == b"hello"


def test_a_restarted_party_arrives_at_the_same_session(table):
    before = table.all()
    objects = {name: table.store.read(name) for name, _ in table.store.list()}
    again = table.join("host")
    assert (again.run_id, again.transcript, again.keys) == (
        before["host"].run_id,
        before["host"].transcript,
        before["host"].keys,
    )
    assert {name: table.store.read(name) for name, _ in table.store.list()} == objects


def test_every_nonce_key_and_parameter_enters_run_or_transcript():
    hello = Hello("guest", "guest", b"e" * 32, b"n" * 32, {"a": "1"})
    other = Hello("host", "host", b"f" * 32, b"m" * 32, {"a": "1"})
    assert run_id({"guest": hello, "host": other}) != run_id({"guest": replace(hello, nonce=b"x" * 32), "host": other})
    assert transcript_hash({"a": b"1", "b": b"23"}) != transcript_hash({"a": b"12", "b": b"3"})
    assert transcript_hash({"b": b"1", "a": b"2"}) == transcript_hash({"a": b"2", "b": b"1"})


def test_a_session_shows_no_key(table):
    session = table.all()["guest"]
    assert "keys" not in repr(session)
    assert "identity=<" not in repr(session)
    assert all(isinstance(keys, SealKeys) for keys in session.keys.values())


# ---- disagreement --------------------------------------------------------------------------------------------------


def test_a_difference_stops_all_parties_and_each_names_every_key_with_both_values(table):
    offer = {**OFFER, "steps.train.l2": "0.01", "steps.train.rounds": "7"}
    del offer["fedspark"]
    errors = table.all(host={"offer": offer})
    assert {name: type(error) for name, error in errors.items()} == dict.fromkeys(errors, Mismatch)
    assert "steps.train.l2 is '0.01' here and '0.001' at" in errors["host"].message
    for name in ("guest", "arbiter"):
        text = errors[name].message
        assert "steps.train.l2 is '0.001' here and '0.01' at host" in text
        assert "steps.train.rounds is not set here and '7' at host" in text
        assert "fedspark is '0.1.0' here and not set at host" in text
        assert "pipeline" not in text


def test_a_wrong_pinned_key_is_named_with_both_keys_and_the_others_are_told(table, identities):
    wrong = identities["arbiter"].public_key().public_bytes_raw()
    pinned = Roster(
        tuple(replace(p, identity=wrong) if p.name == "host" else p for p in table.roster if p.name != "arbiter")
    )
    two = Table(table.ref, Roster(tuple(p for p in table.roster if p.name != "arbiter")), table.identities, table.clock)
    errors = two.all(guest={"roster": pinned})
    assert isinstance(errors["guest"], Mismatch)
    assert identity_text(wrong) in errors["guest"].message
    assert identity_text(table.roster["host"].identity) in errors["guest"].message
    assert isinstance(errors["host"], Stopped)
    assert "guest refused the handshake: Mismatch about host" in errors["host"].message


def test_a_refusal_is_taken_back_when_the_cause_is_gone(table, identities):
    wrong = identities["arbiter"].public_key().public_bytes_raw()
    guest, host, _ = table.roster
    two = Table(table.ref, Roster((guest, host)), table.identities, table.clock)
    errors = two.all(guest={"roster": Roster((guest, replace(host, identity=wrong)))})
    assert isinstance(errors["guest"], Mismatch)
    sessions = two.all()
    if isinstance(sessions["host"], Stopped):  # it looked before the guest had taken its refusal back
        sessions = two.all()
    assert sessions["guest"].run_id == sessions["host"].run_id
    assert not [name for name, _ in table.store.list() if "refused" in name]


def test_another_role_is_refused(table):
    table.say_hello("host")
    roster = Roster(tuple(replace(p, role=Role.ARBITER) if p.name == "host" else p for p in table.roster))
    with pytest.raises(Mismatch, match="host takes part as 'host', our pipeline file says 'arbiter'"):
        table.join("guest", roster=roster)


def test_a_lost_workspace_is_told_to_start_a_new_label(table):
    table.say_hello("guest")
    with pytest.raises(Mismatch, match=r"workspace was lost.*Start a new run label at all parties"):
        table.join("guest", fresh=b"x")


def test_parameters_changed_since_our_hello_are_named(table):
    table.say_hello("guest")
    with pytest.raises(Mismatch, match=r"steps.train.l2 is '0.1' now and '0.001' in runs/.*/hello/guest.json"):
        table.join("guest", offer={**OFFER, "steps.train.l2": "0.1"})


# ---- attacks -------------------------------------------------------------------------------------------------------


def test_a_changed_hello_is_refused(table):
    table.say_hello("host")
    table.edit("hello/host.json", lambda data: data.replace(b"0.001", b"0.002"))
    with pytest.raises(Tampered, match=r"signature of .*hello/host.json is wrong"):
        table.join("guest")


def test_a_hello_in_the_place_of_another_is_refused(table):
    table.say_hello("host")
    table.edit("hello/host.json", lambda _: sign_ack("host", "", b"", table.identities["host"]))
    with pytest.raises(Tampered, match="not a signed hello"):
        table.join("guest")
    forged = Hello("arbiter", "host", b"e" * 32, b"n" * 32, OFFER).sign(table.identities["host"])
    table.edit("hello/host.json", lambda _: forged)
    with pytest.raises(Tampered, match="is that of 'arbiter'"):
        table.join("guest")


@pytest.mark.parametrize(
    "change", [{"offer": {"a": 1}}, {"offer": []}, {"nonce": "00"}, {"ephemeral": "zz" * 32}, {"party": 1}, {"more": 1}]
)
def test_a_signed_hello_of_another_form_is_refused(table, change):
    body = {"party": "host", "role": "host", "ephemeral": "00" * 32, "nonce": "00" * 32, "offer": {}, **change}
    table.store.create(f"{PREFIX}/hello/host.json", sign("hello", body, table.identities["host"]))
    with pytest.raises(Tampered, match=r"hello/host\.json"):
        table.join("guest")


def test_an_oversized_hello_is_refused_unread(table, monkeypatch):
    table.store.create(f"{PREFIX}/hello/host.json", b"x" * (2**20 + 1))
    monkeypatch.setattr(Store, "read_range", lambda *_: pytest.fail("downloaded"))
    with pytest.raises(Oversized, match=r"host\.json has 1048577 bytes"):
        table.join("guest")


def test_an_ephemeral_key_of_low_order_is_refused(table):
    guest, host, _ = table.roster
    two = Table(table.ref, Roster((guest, host)), table.identities, table.clock)
    hello = Hello("host", "host", bytes(32), b"n" * 32, OFFER).sign(table.identities["host"])
    table.store.create(f"{PREFIX}/hello/host.json", hello)
    with pytest.raises(Tampered, match="hello of host is a point of low order"):
        two.join("guest")


def test_a_hello_replaced_between_the_looks_of_two_parties_is_noticed(table):
    """The store shows host one hello of the arbiter and guest another (both signed: the arbiter is dishonest)."""
    table.say_hello("guest", "host")
    second = Hello("arbiter", "arbiter", b"f" * 32, b"n" * 32, OFFER).sign(table.identities["arbiter"])
    table.say_hello("arbiter")  # acknowledges its first hello
    with pytest.raises(NotReady):
        table.join("host")  # so does host
    table.edit("hello/arbiter.json", lambda _: second)
    with pytest.raises(Mismatch, match="confirmed another handshake than ours"):
        table.join("guest")
    with pytest.raises(Mismatch, match="confirmed another handshake than ours"):
        table.join("host")  # its own earlier ack tells


def test_a_forged_ack_or_refusal_is_refused(table):
    guest, host, _ = table.roster
    two = Table(table.ref, Roster((guest, host)), table.identities, table.clock)
    two.say_hello("host")
    table.store.create(f"{PREFIX}/ack/host.json", sign_ack("host", "r", b"t", table.identities["arbiter"]))
    with pytest.raises(Mismatch, match=r"ack/host.json is signed by"):
        two.join("guest")
    table.store.delete(f"{PREFIX}/hello/host.json")
    table.store.create(f"{PREFIX}/refused/host.json", json.dumps({"reason": "x"}).encode())
    with pytest.raises(Tampered, match="not a signed refusal"):
        two.join("guest")
    forged = sign_refusal("host", "see http://evil.example", "", table.identities["host"])
    table.edit("refused/host.json", lambda _: forged)
    with pytest.raises(Tampered, match="is not one of host"):
        two.join("guest")


# ---- waiting and configuration -------------------------------------------------------------------------------------


def test_a_peer_that_is_not_there_yet_is_not_ready(table, clock):
    noted = []
    with pytest.raises(NotReady, match="hello of host"):
        table.join("guest", clock.waiting(limit=10, on_not_ready=noted.append))
    assert [(n.object, n.peer) for n in noted] == [(f"{PREFIX}/hello/host.json", "host")]


def test_a_peer_that_never_comes_is_absent(table, clock):
    with pytest.raises(Absent, match="hello of host never came"):
        table.join("guest", clock.waiting(limit=10_000, deadline=100))


def test_a_mismatch_is_told_while_another_party_is_awaited(table, clock):
    table.say_hello("arbiter")
    with pytest.raises(Mismatch, match="at arbiter"):
        table.join("guest", clock.waiting(limit=10), offer={"pipeline": "other"})


def test_a_store_without_create_only_puts_carries_no_handshake(table, monkeypatch):
    monkeypatch.setattr(Store, "create", lambda self, name, data: self.replace(name, data) or True)
    with pytest.raises(StoreError, match="cannot carry messages"):
        table.join("guest")
    assert table.store.list() == []


def test_a_private_key_that_is_not_ours_is_a_configuration_error(table):
    with pytest.raises(ConfigError, match="identity key of guest is not the private half"):
        table.join("guest", identity=table.identities["host"])


def test_every_peer_needs_a_pinned_key_of_its_own(table):
    guest, host, arbiter = table.roster
    with pytest.raises(ConfigError, match="no key pinned for host"):
        table.join("guest", roster=Roster((guest, Party("host", Role.HOST), arbiter)))
    with pytest.raises(ConfigError, match="host and arbiter have the same identity key"):
        table.join("guest", roster=Roster((guest, host, replace(arbiter, identity=host.identity))))


def test_our_own_key_need_not_be_in_the_roster(table):
    guest, host, arbiter = table.roster
    sessions = table.all(guest={"roster": Roster((Party("guest", Role.GUEST), host, arbiter))})
    assert sessions["guest"].roster == table.roster
    assert guest.identity


def test_a_nonce_has_32_bytes(table):
    with pytest.raises(ValueError, match="32 bytes"):
        open_session(
            table.ref,
            PREFIX,
            table.roster.guest,
            table.identities["guest"],
            table.roster,
            b"e" * 32,
            b"n",
            {},
            Waiting(0),
        )
