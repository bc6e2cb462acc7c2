"""A manifest says what it may say, in order, or is refused although its sender signed it."""

from __future__ import annotations

import pytest

from fedspark.errors import Oversized, Tampered
from fedspark.exchange.manifest import Address, Limits, Manifest, SealedObject, misplaced, object_name, open_manifest
from fedspark.exchange.signed import raw_public_key, sign

ADDRESS = Address("train", 3, "g", "guest", "host")


def entry(name: str, size: int = 60, digest: str = "0" * 64) -> SealedObject:
    return SealedObject(name, size, digest)


def manifest(*objects: SealedObject) -> Manifest:
    return Manifest("5f" * 32, "74" * 32, ADDRESS, objects, b"sealed")


def body(**changes):
    made = manifest(entry("part-00000-000"))._body()
    return {key: value for key, value in {**made, **changes}.items() if value is not ...}


@pytest.fixture
def opened(identities):
    identity = identities["guest"]

    def open_body(content, limits=None):
        data = sign("manifest", content, identity)
        return open_manifest(data, raw_public_key(identity), "m", limits or Limits(), ADDRESS)

    return open_body


def test_a_manifest_comes_back_as_it_was_signed(identities):
    made = manifest(entry("part-00000-000"), entry("part-00000-001"), entry("part-00001-000"))
    data = made.sign(identities["guest"])
    assert open_manifest(data, raw_public_key(identities["guest"]), "m", Limits(), ADDRESS) == made
    assert [len(chunks) for chunks in made.parts] == [2, 1]


@pytest.mark.parametrize(
    ("names", "wrong"),
    [
        ([], None),
        (["0-0", "0-1", "1-0", "2-0"], None),
        (["1-0"], "1-0"),
        (["0-1"], "0-1"),
        (["0-0", "0-0"], "0-0"),
        (["0-0", "0-2"], "0-2"),
        (["0-0", "1-1"], "1-1"),
        (["0-0", "2-0"], "2-0"),
        (["0-0", "1-0", "0-1"], "0-1"),
    ],
)
def test_objects_are_in_the_order_of_parts_and_chunks(names, wrong):
    def full(name):
        return object_name(*map(int, name.split("-")))

    assert misplaced([entry(full(name)) for name in names]) == (wrong and full(wrong))


@pytest.mark.parametrize(
    "name", ["part-0-0", "manifest", "../part-00000-000", "part-0000\u0660-000", "part-00000-000\n"]
)
def test_strange_object_names_are_refused(opened, name):
    with pytest.raises(Tampered, match="out of order"):
        opened(body(parts=[{"name": name, "bytes": 60, "sha256": "0" * 64}]))


@pytest.mark.parametrize(
    "change",
    [
        {"run": ...},
        {"run": 7},
        {"more": 1},
        {"round": "3"},
        {"round": True},
        {"round": 3.0},
        {"round": -1},
        {"tag": "../g"},
        {"parts": {}},
        {"parts": [[]]},
        {"parts": [{"name": "part-00000-000", "bytes": 60}]},
        {"parts": [{"name": "part-00000-000", "bytes": True, "sha256": "0" * 64}]},
        {"parts": [{"name": "part-00000-000", "bytes": 0, "sha256": "0" * 64}]},
        {"parts": [{"name": "part-00000-000", "bytes": -5, "sha256": "0" * 64}]},
        {"parts": [{"name": "part-00000-000", "bytes": 60, "sha256": "0" * 63}]},
        {"parts": [{"name": "part-00000-000", "bytes": 60, "sha256": "F" * 64}]},
        {"meta_sealed": "not base64"},
        {"meta_sealed": None},
    ],
)
def test_a_signed_manifest_of_another_form_is_refused(opened, change):
    with pytest.raises(Tampered, match="manifest m"):
        opened(body(**change))


def test_sizes_that_only_add_up_to_too_much_are_refused(opened):
    parts = [{"name": f"part-00000-{chunk:03d}", "bytes": 60, "sha256": "0" * 64} for chunk in range(3)]
    with pytest.raises(Oversized, match="Part 0 of m has 180 bytes"):
        opened(body(parts=parts), Limits(part_bytes=179))


def test_names_run_out_with_an_error():
    with pytest.raises(ValueError, match="100000 parts"):
        object_name(100_000, 0)
