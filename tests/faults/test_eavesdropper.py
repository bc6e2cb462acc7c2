"""What somebody sees who can read everything in the exchange, or takes part in the run without being meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest

from fedspark.crypto.randomness import derive
from fedspark.errors import Tampered
from fedspark.exchange.handshake import Session, open_session
from fedspark.exchange.manifest import MANIFEST, Address, Limits, open_manifest
from fedspark.exchange.seal import SealKeys, unseal
from fedspark.exchange.waiting import Waiting
from fedspark.psi.align import Alignment, PartFiles
from fedspark.run.opening import offer, pinned_roster
from tests.example import PARTIES, Example, identity, secret, small_tables

pytestmark = pytest.mark.spark


@dataclass(frozen=True)
class Sealed:
    """One object of a message: its seal is bound to ``name`` and ``position``."""

    address: Address
    name: str
    position: int
    data: bytes


@pytest.fixture(scope="module")
def sessions(calm: Example) -> dict[str, Session]:
    """The keys of the run again, from the seeds: the parties themselves have forgotten them."""
    found = {}
    for name in PARTIES:
        party, pipeline, place = calm.party(name), calm.pipeline(), calm.place(name)
        roster, seed = pinned_roster(party, pipeline), secret("seed", name)
        found[name] = open_session(
            place.exchange,
            place.prefix,
            roster[name],
            identity(name),
            roster,
            derive(seed, "ephemeral key"),
            derive(seed, "hello nonce"),
            offer(pipeline),
            Waiting(0),
        )
    return found


@pytest.fixture(scope="module")
def objects(calm: Example, sessions: Mapping[str, Session]) -> list[Sealed]:
    """Every sealed object of the run: parts, and what manifests hold sealed."""
    session, root = sessions["hospital"], calm.place("hospital").prefix
    found = []
    for path, data in calm.files("exchange").items():
        folder, _, name = path.removeprefix(f"{root}/{session.run_id[:16]}/").rpartition("/")
        address = Address.from_path(folder)
        if address is None:
            continue
        sealed_as = f"{session.run_id}/{address.path}/{name}"
        if name == MANIFEST:
            key = session.roster[address.sender].identity
            manifest = open_manifest(data, key, path, Limits(), address)
            found.append(Sealed(address, sealed_as, 0, manifest.meta_sealed))
        else:
            found.append(Sealed(address, sealed_as, int(name.split("-")[1]), data))
    return found


def keys_of(session: Session, address: Address) -> Iterator[SealKeys]:
    """All keys that a party of the run could try on a message: those of its own directions."""
    for sender, receiver in session.keys:
        yield session.message_keys(sender, receiver, address.path)


def opens(keys: SealKeys, sealed: Sealed) -> bool:
    try:
        unseal(keys, sealed.name, sealed.position, sealed.data, len(sealed.data))
    except Tampered:
        return False
    return True


def test_every_object_opens_for_its_receiver(objects, sessions):
    assert len(objects) > 100
    for sealed in objects:
        address = sealed.address
        assert opens(sessions[address.receiver].message_keys(address.sender, address.receiver, address.path), sealed)


def test_no_object_opens_for_a_party_that_is_neither_sender_nor_receiver(objects, sessions):
    tried = 0
    for sealed in objects:
        for name in set(PARTIES) - {sealed.address.sender, sealed.address.receiver}:
            for keys in keys_of(sessions[name], sealed.address):
                assert not opens(keys, sealed), sealed.name
                tried += 1
    assert tried >= 4 * len(objects)


def test_no_object_opens_with_the_keys_of_another_message(objects, sessions):
    by_pair: dict[tuple[str, str], list[Sealed]] = {}
    for sealed in objects:
        by_pair.setdefault((sealed.address.sender, sealed.address.receiver), []).append(sealed)
    assert len(by_pair) == 6
    for (sender, receiver), messages in by_pair.items():
        for sealed, other in zip(messages, [*messages[1:], messages[0]], strict=True):
            if other.address != sealed.address:
                assert not opens(sessions[receiver].message_keys(sender, receiver, other.address.path), sealed)


def test_nothing_in_the_exchange_shows_an_id_or_a_feature_value(calm):
    seen = calm.files("exchange")
    haystack = b"\n".join([*seen.values(), *(name.encode() for name in seen)])
    source = (calm.directory / "data/hospital_patients.csv").read_bytes()
    ids, texts, binary = set(), set(), set()
    for columns in small_tables().values():
        ids |= {key.encode() for key in columns["patient_id"]}
        for name, values in columns.items():
            if name not in ("patient_id", "malignant"):
                texts |= {str(value).encode() for value in values}
                binary |= {np.array(value, kind).tobytes() for value in values for kind in ("<f8", ">f8")}
    assert min(len(ids), len(texts), len(binary)) > 60
    # The same search finds them where they are.
    assert sum(needle in source for needle in ids) == 50
    assert sum(needle in source for needle in texts) == 100
    for needle in ids | texts | binary:
        assert needle not in haystack


def test_nothing_in_the_exchange_shows_the_labels_in_any_order_of_rows_that_is_used(calm):
    seen = b"\n".join(calm.files("exchange").values())
    orders = [np.array(small_tables()["hospital_patients"]["malignant"])]
    workspace = calm.place("hospital").workspace
    alignment = Alignment.from_json(workspace.read_json("steps/psi/psi/alignment.json"))
    files = PartFiles(workspace, alignment.files)
    aligned = pa.concat_tables([files.read(part).read_all() for part in range(alignment.parts)])
    orders.append(aligned["label"].to_numpy())
    for label in orders:
        assert len(label) >= 40
        for values in (label, 2 * label - 1):
            for kind in ("<i1", "<i4", "<i8", "<f4", "<f8"):
                needle = values.astype(kind)[:16].tobytes()
                assert needle not in seen
        for glue in (b",", b"\n", b", ", b""):
            assert glue.join(b"%d" % value for value in label.astype(int)[:16]) not in seen


def test_names_in_the_exchange_say_step_round_tag_and_parties_and_nothing_else(calm):
    prefix = calm.place("hospital").prefix
    for path in calm.paths("exchange"):
        rest = path.removeprefix(f"{prefix}/").split("/")
        if len(rest) == 2:
            assert rest[0] in ("hello", "ack")
            assert rest[1].removesuffix(".json") in PARTIES
        else:
            address = Address.from_path("/".join(rest[1:-1]))
            assert address is not None, path
            assert {address.sender, address.receiver} < set(PARTIES)
