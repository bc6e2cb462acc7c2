"""What is the OT extension's own: messages of the plain generator, one table for a pad, set-ups that are refused."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fedspark.crypto.ot import kernels as all_kernels
from fedspark.crypto.ot import kernels_numpy
from fedspark.crypto.ot.codewords import BucketLabel
from fedspark.crypto.ot.oprf import Pads, Receiver
from fedspark.crypto.ot.parameters import Parameters
from fedspark.crypto.ot.vole import ReceiverKeys, SenderKeys
from fedspark.crypto.randomness import content_digest
from fedspark.errors import FedsparkError, Mismatch, PeerError, StoreError
from fedspark.exchange.columns import Values, pack_values, unpack_values
from fedspark.psi import ot, sizes
from fedspark.psi.align import PartFiles
from tests.crypto.ot.reference import Reference
from tests.federation import Federation
from tests.psi.people import assert_intersection, intersect, names, options, role_of, source, staged, tags_sent
from tests.psi.test_intersection import TwiceRunner, everything

TABLES = {"guest": staged(names(0, 40), label=True), "host": staged(names(20, 70))}


def play(federation: Federation, bucket_rows: int = 65536) -> Any:
    return intersect(federation, TABLES, bucket_rows, "ot")


def error_of(federation: Federation) -> FedsparkError:
    with pytest.raises(FedsparkError) as caught:
        play(federation)
    return caught.value


def changed(monkeypatch: pytest.MonkeyPatch, place: Any, name: str, change: Callable[[Any], Any]) -> None:
    """``place.name`` returns something else from now on."""
    original = getattr(place, name)
    monkeypatch.setattr(place, name, lambda *arguments: change(original(*arguments)))


def spied(monkeypatch: pytest.MonkeyPatch, name: str) -> list[tuple[tuple[Any, ...], Any]]:
    """Arguments and result of every call of ``vole.name`` from now on."""
    calls: list[tuple[tuple[Any, ...], Any]] = []
    original = getattr(ot.vole, name)

    def call(*arguments: Any) -> Any:
        calls.append((arguments, original(*arguments)))
        return calls[-1][1]

    monkeypatch.setattr(ot.vole, name, call)
    return calls


# ---- messages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field_bits", [1, 2, 4])
def test_every_field_gives_the_same_people(field_bits: int):
    federation, settings = Federation(), options(32, "ot").model_copy(update={"field_bits": field_bits})
    results = federation.play(
        "psi",
        {name: lambda run, table=table: role_of(run, "ot")(run, settings, source(table))
         for name, table in TABLES.items()},
    )  # fmt: skip
    assert_intersection(federation, results, TABLES)
    host = federation.run("host", "psi")
    columns = host.receive("table", host.roster.guest).read(0)
    assert len(columns) // {1: 58, 2: 36, 4: 24}[field_bits] >= 1340


def test_messages_are_those_of_the_plain_generator(monkeypatch: pytest.MonkeyPatch):
    def choose(field_bits: int, buckets: int, receiver: int, sender: int) -> Parameters:
        return Parameters(field_bits, 288, 20, 45, 8, buckets, receiver, sender)

    monkeypatch.setattr(ot, "choose", choose)
    answered, finished = spied(monkeypatch, "answer"), spied(monkeypatch, "finish")
    monkeypatch.setattr(PartFiles, "remove", lambda self, parts: None)  # to see what the run worked on
    federation = Federation()
    play(federation)
    ((_, context, *_), (receiver, _)), (_, sender) = answered[0], finished[0]

    digests = {}
    for name in TABLES:
        files = ot.part_files(federation.run(name, "psi"), "prepared").read(0)
        digests[name] = files.read_all()["digest"].to_pylist()
    plain = Reference(2, 288, 20, 45, 8, context, 0, 0)
    table, _ = plain.table(digests["guest"])
    u, _ = plain.receiver_pads([[leaf.tobytes() for leaf in leaves] for leaves in receiver.seeds])
    sent = [a ^ b for a, b in zip(u, table, strict=True)]
    delta = sender.delta.tolist()
    q = plain.sender_shares([[leaf.tobytes() for leaf in leaves] for leaves in sender.seeds], delta, sent)

    guest, host = federation.run("guest", "psi"), federation.run("host", "psi")
    received = unpack_values(host.receive("table", host.roster.guest).read(0), "table", 105, 36)
    tags = unpack_values(guest.receive("tags", guest.roster["host"]).read(0), "tags", 50, 8)
    assert [int.from_bytes(row.tobytes(), "little") for row in received] == sent
    assert [row.tobytes() for row in tags] == sorted(plain.sender_output(q, delta, x) for x in digests["host"])


@pytest.mark.parametrize(("together", "parts"), [(2, 4), (16, 1)])
def test_a_part_may_hold_several_buckets(monkeypatch: pytest.MonkeyPatch, together: int, parts: int):
    monkeypatch.setattr(ot, "BUCKETS_PER_PART", together)
    monkeypatch.setattr(sizes, "PARTS", 1)  # as with tables of millions of rows, which have parts enough
    federation = Federation(hosts=2)
    tables = {
        "guest": staged(names(0, 100), label=True),
        "host1": staged(names(20, 110)),
        "host2": staged(names(0, 100)[::3]),
    }
    results = intersect(federation, tables, 16, "ot")
    assert (results["guest"].parts, results["guest"].buckets_per_part) == (parts, 8 // parts)
    assert_intersection(federation, results, tables)


def test_numpy_and_compiled_kernels_leave_equal_bytes(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("numba")
    left = []
    for kernels in (kernels_numpy, all_kernels.compiled()):
        monkeypatch.setattr(ot.kernels, "suited", lambda rows, kernels=kernels: kernels)
        federation = Federation()
        play(federation, 32)
        left.append(everything(federation))
    assert left[0] == left[1]


# ---- one table for a pad ---------------------------------------------------------------------------------------------


def test_no_pad_masks_two_tables_even_if_every_task_runs_twice(monkeypatch: pytest.MonkeyPatch):
    masked: dict[tuple[bytes, bytes, int, int], set[str]] = {}
    uses = []

    class Watched(Receiver):
        def __init__(self, parameters: Parameters, keys: ReceiverKeys, kernels: Any) -> None:
            super().__init__(parameters, keys, kernels)
            self.seeds = content_digest([keys.seeds.tobytes()])

        def pads(self, label: BucketLabel) -> Pads:
            pads = super().pads(label)
            original, key = pads.mask, (self.seeds, label.context, label.bucket, label.attempt)

            def mask(table: Values) -> Values:
                uses.append(key)
                masked.setdefault(key, set()).add(hashlib.sha256(table.tobytes()).hexdigest())
                return original(table)

            pads.mask = mask  # type: ignore[method-assign]
            return pads

    monkeypatch.setattr(ot, "Receiver", Watched)
    tables = {**TABLES, "host1": TABLES["host"], "host2": staged(names(0, 60))}
    del tables["host"]
    intersect(Federation(hosts=2, runner=TwiceRunner), tables, 16, "ot")
    assert len(uses) == 2 * len(masked) == 2 * 2 * 4
    assert {len(contents) for contents in masked.values()} == {1}
    assert len({seeds for seeds, *_ in masked}) == len({context for _, context, *_ in masked}) == 2


class Killed(BaseException):
    """The process is gone: no ``except`` of the program sees it."""


def test_another_table_after_a_restart_is_refused_before_anything_is_masked(monkeypatch: pytest.MonkeyPatch):
    federation, unbroken = Federation(), Federation()
    encode, pads = ot.encode, Receiver.pads

    def dying(self: Receiver, label: BucketLabel) -> Pads:
        raise Killed

    def forbidden(self: Receiver, label: BucketLabel) -> Pads:
        raise AssertionError("a pad was made for another table")

    monkeypatch.setattr(Receiver, "pads", dying)
    with pytest.raises(Killed):
        play(federation)
    assert any("/tables-host/" in name for name in federation.objects(federation.files("guest")))

    monkeypatch.setattr(Receiver, "pads", forbidden)
    monkeypatch.setattr(ot, "encode", lambda par, label, digests, kernels: encode(par, label, digests[1:], kernels))
    error = error_of(federation)
    assert isinstance(error, StoreError)
    assert "was written before with other content" in error.message
    assert "table" not in tags_sent(federation)

    monkeypatch.setattr(Receiver, "pads", pads)
    monkeypatch.setattr(ot, "encode", encode)
    play(federation)
    play(unbroken)
    assert everything(federation) == everything(unbroken)


# ---- messages that are wrong -----------------------------------------------------------------------------------------


NO_ELEMENT = b"\xff" * 32


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        pytest.param(lambda message: message[:-1], "18431 bytes instead of 18432", id="short"),
        pytest.param(lambda message: message + bytes(32), "18464 bytes instead of 18432", id="long"),
        pytest.param(lambda message: NO_ELEMENT + message[32:], "not", id="no element"),
        pytest.param(lambda message: bytes(32) + message[32:], "", id="neutral element"),
    ],
)
def test_wrong_transfers_are_refused_and_no_table_is_sent(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[bytes], bytes], rule: str
):
    changed(monkeypatch, ot.vole, "start", lambda made: (made[0], change(made[1])))
    federation = Federation()
    error = error_of(federation)
    assert isinstance(error, PeerError)
    assert "The message 'transfers' of host is refused: " in error.message
    assert rule in error.message
    assert not {"seeds", "table"} & tags_sent(federation)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        pytest.param(lambda message: message[:-1], "9247 bytes instead of 9248", id="short"),
        pytest.param(lambda message: NO_ELEMENT + message[32:], "not", id="no element"),
    ],
)
def test_wrong_seeds_are_refused_and_no_tag_is_sent(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[bytes], bytes], rule: str
):
    changed(monkeypatch, ot.vole, "answer", lambda made: (made[0], change(made[1])))
    federation = Federation()
    error = error_of(federation)
    assert isinstance(error, PeerError)
    assert "The message 'seeds' of guest is refused: " in error.message
    assert rule in error.message
    assert "tags" not in tags_sent(federation)


@pytest.mark.parametrize(("party", "tag"), [("host", "transfers"), ("guest", "seeds")])
def test_other_sizes_than_ours_are_refused(monkeypatch: pytest.MonkeyPatch, party: str, tag: str):
    original = ot._meta

    def meta(parameters: Parameters) -> dict[str, dict[str, int]]:
        sizes = original(parameters)
        if threading.current_thread().name == party:
            sizes["sizes"]["tag_bytes"] = 6
        return sizes

    monkeypatch.setattr(ot, "_meta", meta)
    federation = Federation()
    error = error_of(federation)
    assert isinstance(error, Mismatch)
    assert "is for other sizes" in error.message
    assert "tags" not in tags_sent(federation)


def other_run(seed: str = "another") -> Federation:
    earlier = Federation(seed=seed)
    play(earlier)
    return earlier


def test_a_table_that_is_permuted_or_of_another_run_matches_nobody(monkeypatch: pytest.MonkeyPatch):
    """No check finds it, and none is needed: the host's tags are then F of another key, equal to nothing."""
    host = other_run().run("host", "psi")
    foreign = unpack_values(host.receive("table", host.roster.guest).read(0), "table", 1510, 36)
    for wrong in (lambda table: np.roll(table, 1, axis=0), lambda table: foreign):
        with monkeypatch.context() as patch:
            changed(patch, Pads, "mask", wrong)
            assert "0 people are common" in error_of(Federation()).message


def test_tables_of_two_buckets_that_change_places_match_nobody(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ot, "BUCKETS_PER_PART", 16)
    monkeypatch.setattr(ot, "_stored", lambda files, part, tables: tables)  # what is stored does not change places
    original = ot.pack_values

    def swapped(name: str, values: Values) -> bytes:
        return original(name, np.roll(values, len(values) // 2, axis=0) if name == "table" else values)

    monkeypatch.setattr(ot, "pack_values", swapped)
    with pytest.raises(FedsparkError, match="0 people are common"):
        play(Federation(), 32)


def test_seeds_of_another_run_match_nobody(monkeypatch: pytest.MonkeyPatch):
    host = other_run().run("host", "psi")
    foreign = host.receive("seeds", host.roster.guest).read(0)
    changed(monkeypatch, ot.vole, "answer", lambda made: (made[0], foreign))
    assert "0 people are common" in error_of(Federation()).message


@pytest.mark.parametrize("width", [6, 8])
def test_tags_and_tables_of_another_width_are_refused(monkeypatch: pytest.MonkeyPatch, width: int):
    def tag_part(tagging: Any, outgoing: Any, part: int) -> Any:
        rows = tagging.pair.plan.values_per_part("host")
        return outgoing.write(part, pack_values("tags", np.ones((rows, width), np.uint8))), None

    monkeypatch.setattr(ot, "tag_part", tag_part)
    assert f"its type is fixed_size_binary[{width}]" in error_of(Federation()).message


def test_tags_of_another_run_match_nobody(monkeypatch: pytest.MonkeyPatch):
    guest = other_run().run("guest", "psi")
    foreign = unpack_values(guest.receive("tags", guest.roster["host"]).read(0), "tags", 50, 7)
    changed(monkeypatch, ot.tags, "seal", lambda made: (foreign, made[1]))
    assert "0 people are common" in error_of(Federation()).message


def test_nothing_that_a_task_carries_shows_a_key():
    seeds = np.arange(64, dtype=np.uint8).reshape(1, 4, 16)
    receiver, sender = ReceiverKeys(seeds), SenderKeys(np.array([3], np.uint8), seeds)
    pair: Any = None
    masking, tagging = ot.Masking(pair, receiver, pair, pair), ot.Tagging(pair, sender, pair, pair)
    assert not any("[" in text or "seeds" in text for text in map(repr, (receiver, sender, masking, tagging)))
