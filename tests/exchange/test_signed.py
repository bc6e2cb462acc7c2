"""Signed documents and the one JSON text of a value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedspark.errors import Mismatch, Oversized, Tampered
from fedspark.exchange import signed
from fedspark.exchange.signed import canonical_json, open_signed, parse_json, raw_public_key, sign

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@pytest.fixture
def guest(identities):
    return identities["guest"]


def open_it(data, identity, **more):
    return open_signed(data, "note", raw_public_key(identity), "guest", "notes/1", more.pop("limit", 10_000), **more)


@given(value=JSON)
def test_canonical_json_comes_back_and_has_one_text(value):
    text = canonical_json(value)
    back = parse_json(text, "x")
    assert back == value
    assert canonical_json(back) == text


def test_canonical_json_sorts_and_spares_spaces_and_escapes():
    assert canonical_json({"b": [1, 2.5], "a": "ü"}) == '{"a":"ü","b":[1,2.5]}'.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_not_written(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json([value])


@pytest.mark.parametrize(
    "text", [b'{"a":1,"a":1}', b"NaN", b"-Infinity", b"1e400", b"\xff", b"\xef\xbb\xbf1", b"1 2", b"[" * 10**5]
)
def test_loose_json_is_refused(text):
    with pytest.raises(Tampered, match="notes/1 is not strict JSON"):
        parse_json(text, "notes/1")


def test_a_signed_document_opens(guest):
    assert open_it(sign("note", {"a": 1}, guest), guest) == {"a": 1, "version": 1}


def test_signing_twice_gives_equal_bytes(guest):
    assert sign("note", {"a": 1}, guest) == sign("note", {"a": 1}, guest)


def test_every_changed_byte_is_refused(guest):
    data = sign("note", {"a": 1}, guest)
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises((Tampered, Mismatch)):
            open_it(changed, guest)


def test_the_kind_is_signed(guest):
    data = sign("other", {"a": 1}, guest)
    for forged in (data, data.replace(b"other", b"note", 1)):
        with pytest.raises(Tampered):
            open_it(forged, guest)


def test_another_key_is_refused_with_the_error_of_choice(guest, identities):
    data = sign("note", {"a": 1}, identities["host"])
    with pytest.raises(Tampered, match="Compare keys with guest"):
        open_it(data, guest)
    with pytest.raises(Mismatch, match="pinned"):
        open_it(data, guest, other_key=Mismatch)


def test_size_comes_before_everything(guest):
    with pytest.raises(Oversized, match="notes/1 has 5 bytes; a note may have 4 at most"):
        open_it(b"x" * 5, guest, limit=4)


@pytest.mark.parametrize(
    "content", [b'{"version":1, "a":1}', b'{"version":1,"a":1}', b"[1]", b'{"a":"\\ud800","version":1}']
)
def test_signed_json_that_is_not_canonical_is_refused(guest, monkeypatch, content):
    monkeypatch.setattr(signed, "canonical_json", lambda _: content)
    data = sign("note", {}, guest)
    monkeypatch.undo()
    with pytest.raises(Tampered, match="canonical"):
        open_it(data, guest)


@pytest.mark.parametrize("version", [2, "1", True, None])
def test_another_version_is_named(guest, monkeypatch, version):
    monkeypatch.setattr(signed, "canonical_json", lambda body: canonical_json({**body, "version": version}))
    data = sign("note", {}, guest)
    monkeypatch.undo()
    with pytest.raises(Mismatch, match=f"version {version!r}; this installation understands version 1"):
        open_it(data, guest)
