"""What the party with the key can see: every slot that it gets is opened here with its key, as it could."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest

from fedspark.conf.options import TrainOptions
from fedspark.crypto.paillier import Derived, PrivateKey, PublicKey, encrypt
from fedspark.crypto.randomness import Stream, derive
from fedspark.crypto.row_slots import HIDING_BITS, RowSlots
from fedspark.models.vertical_lr import Trained, train
from fedspark.models.vertical_lr.encoding import Encoding
from fedspark.models.vertical_lr.side import Side
from fedspark.models.vertical_lr.tasks import from_message
from fedspark.run import Run
from tests.federation import Federation
from tests.models.aligned import STEPS, TRAIN, People, align, people
from tests.models.clear_engine import Cells, ClearEngine, without_secrecy

WIDTHS = {1: {"guest": 3, "host": 4}, 2: {"guest": 2, "host1": 2, "host2": 3}}
ROWS = 60

Blinded = list[bytes]


class Noting(ClearEngine):
    """Notes what gets which kind of nonce, and leaves it as it is."""

    short: ClassVar[Blinded] = []
    full: ClassVar[Blinded] = []

    def obfuscate(self, cells: Cells, stream: Stream) -> Cells:
        self.short.extend(rows_of(cells))
        return cells

    def obfuscate_fully(self, cells: Cells, stream: Stream) -> Cells:
        self.full.extend(rows_of(cells))
        return cells


def rows_of(cells: Cells) -> Blinded:
    return [row.tobytes() for row in cells]


class Watched:
    """A training on plaintexts in clear, and what parties were sent in it."""

    def __init__(self, table: People, hosts: int) -> None:
        self.federation = federation(hosts)
        options, alignments = TrainOptions(**{**TRAIN, "max_rounds": 4}), align(self.federation, table)
        with pytest.MonkeyPatch.context() as patch:
            without_secrecy(patch)
            patch.setattr("fedspark.crypto.paillier_keys.engine_for_modulus", Noting)
            patch.setattr(Noting, "short", [])
            patch.setattr(Noting, "full", [])
            roles = {
                p.name: lambda run, p=p: train(run, alignments.get(p.name), options) for p in self.federation.roster
            }
            results: dict[str, Trained] = self.federation.play("train", roles)
            self.short, self.full = Noting.short, Noting.full
        self.rounds = results["guest"].rounds + 1
        self.widths = {name: WIDTHS[hosts][name] + (name == "guest") for name in WIDTHS[hosts]}
        self.encoding = Encoding.agree(2048, int(table.training(TRAIN["validation"]).sum()), hosts + 1)
        self.n = arbiters_key(self.federation).n

    def sent(self, tag: str, sender: str, receiver: str, number: int) -> list[bytes]:
        """The ciphertexts of a message, which are plaintexts."""
        run = self.federation.run(receiver, "train")
        message = run.receive(tag, run.roster[sender], round=number)
        found = []
        for part in range(message.parts):
            with pa.ipc.open_stream(pa.BufferReader(message.read(part))) as reader:
                found.extend(reader.read_all()["c"].to_pylist())
        return found

    def sums(self) -> list[list[int]]:
        """The slots of every masked sum that the arbiter was sent."""
        return [
            slots_of(plain, self.encoding.layout, self.n)
            for number in range(self.rounds)
            for party in self.widths
            for plain in self.sent("g", party, "arbiter", number)
        ]

    def losses(self) -> list[list[int]]:
        """The slots of every masked loss that the arbiter was sent, without the one that it is to read."""
        layout = self.encoding.layout
        found = []
        for number in range(self.rounds):
            (plain,) = self.sent("loss", "guest", "arbiter", number)
            slots = slots_of(plain, layout, self.n)
            found.append(slots[: layout.slots - 1] + slots[layout.slots :])
        return found


def federation(hosts: int = 1) -> Federation:
    return Federation(hosts=hosts, steps=STEPS, policy={name: {"min_bin_rows": 5} for name in WIDTHS[hosts]})


def arbiters_key(f: Federation) -> PublicKey:
    run = f.run("guest", "train")
    return PublicKey.from_json(run.receive("key", run.roster["arbiter"]).json(), 2048)


def slots_of(plain: bytes | int, layout: RowSlots, n: int) -> list[int]:
    value = (int.from_bytes(plain, "little") if isinstance(plain, bytes) else plain) % n
    count = 2 * layout.slots - 1
    assert value >> (count * layout.slot_bits) <= 1  # a carry at most
    return [(value >> (at * layout.slot_bits)) % (1 << layout.slot_bits) for at in range(count)]


def closest(slots: Sequence[int], slot_bits: int) -> int:
    """log2 of the least distance, modulo 2^slot_bits, of two of these or of one of them and 0.

    Contents are below 2^(slot_bits - 41): a slot without mask lies so close to 0, two under one mask to each other.
    """
    points = sorted([0, *slots, 1 << slot_bits])
    return min(right - left for left, right in pairwise(points)).bit_length()


@pytest.fixture(scope="module")
def one_host() -> Watched:
    return Watched(people(ROWS, WIDTHS[1], seed=7), hosts=1)


@pytest.fixture(scope="module")
def two_hosts() -> Watched:
    return Watched(people(ROWS, WIDTHS[2], seed=7), hosts=2)


@pytest.fixture(params=["one_host", "two_hosts"])
def watched(request: pytest.FixtureRequest) -> Watched:
    result: Watched = request.getfixturevalue(request.param)
    return result


# ---- slots -----------------------------------------------------------------------------------------------------------


def test_every_slot_of_every_sum_has_a_mask_of_its_own(watched: Watched) -> None:
    sums, layout = watched.sums(), watched.encoding.layout
    assert len(sums) == watched.rounds * sum(watched.widths.values())
    assert layout.slots > 5
    assert closest([slot for slots in sums for slot in slots], layout.slot_bits) > layout.slot_bits - HIDING_BITS + 2


def test_every_slot_of_the_loss_but_the_one_to_read_has_a_mask_of_its_own(one_host: Watched) -> None:
    layout = one_host.encoding.layout
    slots = [slot for slots in [*one_host.losses(), *one_host.sums()] for slot in slots]
    assert closest(slots, layout.slot_bits) > layout.slot_bits - HIDING_BITS + 2


def test_one_label_more_or_less_changes_every_mask(one_host: Watched) -> None:
    # Same seeds: whoever restarts on other rows and reuses masks shows differences of garbage slots.
    table = people(ROWS, WIDTHS[1], seed=7)
    label = table.label.copy()
    row = int(table.training(TRAIN["validation"]).argmax())
    label[row] = 1.0 - label[row]
    other, slot_bits = Watched(replace(table, label=label), hosts=1), one_host.encoding.layout.slot_bits
    assert other.n == one_host.n
    slots = [
        slot
        for each in (one_host, other)
        for found in (each.sums(), each.losses())
        for slots in found
        for slot in slots
    ]
    assert closest(slots, slot_bits) > slot_bits - HIDING_BITS + 2


def test_the_mask_of_the_loss_follows_from_all_that_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    without_secrecy(monkeypatch)
    public, encoding = PrivateKey.generate(Stream(bytes(32))).public, Encoding.agree(2048, ROWS, 2)
    layout, at, seen = encoding.layout, encoding.layout.slots - 1, []
    for squares, own in ((0, 0), (0, 1), (1, 0)):
        plaintexts = [0] * layout.slots + [squares]
        stream = Stream(derive(bytes(32), "test masks", squares, own))
        summed = Derived.combine([encrypt(public, plaintexts, encoding.loss_fraction, stream)])
        monkeypatch.setattr(Side, "_total", lambda *_, summed=summed: summed)
        f = federation()
        run: Run = f.run("guest", "train")
        side = Side(run, TrainOptions(**TRAIN), None, encoding, public, None, None)  # type: ignore[arg-type]
        side.send_loss(0, own, 0.0)
        data = f.run("arbiter", "train").receive("loss", run.me).read(0)
        (loss,) = from_message(data, "guest", public, (1, encoding.loss_fraction))
        (plain,) = ClearEngine(public.n).integers(np.frombuffer(loss.to_bytes(), np.uint8).reshape(1, -1))
        assert layout.value(layout.wanted(plain, public)) == squares + own
        slots = slots_of(plain, layout, public.n)
        seen += slots[:at] + slots[at + 1 :]
    assert closest(seen, layout.slot_bits) > layout.slot_bits - HIDING_BITS + 2


# ---- nonces ----------------------------------------------------------------------------------------------------------


def test_what_goes_to_the_owner_of_the_key_gets_full_nonces_and_what_goes_to_others_short_ones(
    watched: Watched,
) -> None:
    to_owner = [
        row for number in range(watched.rounds) for party in watched.widths
        for row in watched.sent("g", party, "arbiter", number)
    ]  # fmt: skip
    hosts = [name for name in watched.widths if name != "guest"]
    if len(hosts) == 1:
        to_owner += [
            row for number in range(watched.rounds) for row in watched.sent("loss", "guest", "arbiter", number)
        ]
    to_hosts = [
        row for number in range(watched.rounds) for host in hosts for row in watched.sent("d", "guest", host, number)
    ]
    assert sorted(watched.full) == sorted(to_owner)
    assert sorted(watched.short) == sorted(to_hosts)
    assert not set(to_owner) & set(watched.short)
