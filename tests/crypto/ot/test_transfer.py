"""Oblivious transfer over ristretto255 and over RSA: the chosen key and no other, and nothing of another form."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from fedspark.crypto.hashing import prefixed
from fedspark.crypto.ot import ristretto, rsa_transfer, transfer
from fedspark.crypto.randomness import Stream, derive
from fedspark.crypto.rsa import RsaKey
from fedspark.errors import CryptoError

CONTEXT = b"tests|transfer"


def stream(name: str) -> Stream:
    return Stream(derive(bytes(32), "tests", name))


@pytest.mark.parametrize("n", [2, 3, 5])
def test_the_receiver_gets_the_key_that_it_chose_and_the_sender_has_all(n: int) -> None:
    choices = [0, n - 1, 1, 0]
    state, message = transfer.choose(CONTEXT, choices, n, stream("receiver"))
    keys, public = transfer.respond(CONTEXT, message, n, stream("sender"))
    chosen = transfer.receive(state, public)
    assert keys.shape == (4, n, 32)
    assert [bytes(keys[row, choice]) for row, choice in enumerate(choices)] == [bytes(key) for key in chosen]
    assert len({bytes(key) for key in keys.reshape(-1, 32)}) == 4 * n


def test_keys_follow_the_paper_written_out() -> None:
    """Independent of the module but for group operations: PK_1 = C_1 - PK_0, key_i = H(.., r PK_i)."""
    state, message = transfer.choose(CONTEXT, [1], 2, stream("receiver"))
    keys, public = transfer.respond(CONTEXT, message, 2, stream("sender"))
    k = stream("receiver").below(int(ristretto.ORDER))
    r = stream("sender").below(int(ristretto.ORDER) - 1) + 1
    label = prefixed(b"fedspark ot ristretto255 point v1") + prefixed(CONTEXT)
    c1 = ristretto.from_uniform(hashlib.sha512(label + (1).to_bytes(4, "big")).digest())
    base = ristretto.generator()
    pk0 = ristretto.subtract(c1, base.multiply(k))
    assert message.tobytes() == ristretto.encode(pk0)
    assert public == ristretto.encode(base.multiply(r))
    for i, pk in enumerate((pk0, ristretto.subtract(c1, pk0))):
        place = (0).to_bytes(8, "big") + i.to_bytes(4, "big")
        transcript = prefixed(b"fedspark ot ristretto255 key v1") + prefixed(CONTEXT) + place + public
        shared = ristretto.encode(ristretto.multiply(r, pk))
        assert keys[0, i].tobytes() == hashlib.sha256(transcript + ristretto.encode(pk0) + shared).digest()
    assert transfer.receive(state, public).tobytes() == keys[0, 1].tobytes()


def test_equal_streams_give_equal_messages_and_other_contexts_other_keys() -> None:
    first = transfer.choose(CONTEXT, [0, 1], 2, stream("a"))[1]
    assert np.array_equal(first, transfer.choose(CONTEXT, [0, 1], 2, stream("a"))[1])
    here, _ = transfer.respond(CONTEXT, first, 2, stream("b"))
    there, _ = transfer.respond(b"another run", first, 2, stream("b"))
    assert not (here == there).all(axis=2).any()


def test_masks_hide_messages_from_all_but_the_chosen_key() -> None:
    state, message = transfer.choose(CONTEXT, [2, 0], 3, stream("receiver"))
    keys, public = transfer.respond(CONTEXT, message, 3, stream("sender"))
    messages = np.arange(2 * 3 * 100, dtype=np.uint32).astype(np.uint8).reshape(2, 3, 100)
    masked = transfer.mask(keys, messages)
    chosen = transfer.receive(state, public)
    opened = transfer.mask(chosen, np.stack([masked[0, 2], masked[1, 0]]))
    assert np.array_equal(opened, np.stack([messages[0, 2], messages[1, 0]]))
    assert not np.array_equal(transfer.mask(chosen[:1], masked[0, 1:2]), messages[0, 1:2])
    with pytest.raises(CryptoError, match="do not go with"):
        transfer.mask(keys, messages[:1])


def test_states_show_no_secret() -> None:
    state, _ = transfer.choose(CONTEXT, [1], 2, stream("receiver"))
    assert str(state.scalars[0]) not in repr(state)
    assert "choices" not in repr(state)


def test_wrong_group_elements_are_refused_with_their_place() -> None:
    _, message = transfer.choose(CONTEXT, [0, 1, 1], 2, stream("receiver"))
    for row, text in ((bytes(32), "transfer 1 is the identity"), (b"\x01" + bytes(31), "not the encoding")):
        wrong = message.copy()
        wrong[1] = np.frombuffer(row, np.uint8)
        with pytest.raises(CryptoError, match=text):
            transfer.respond(CONTEXT, wrong, 2, stream("sender"))
    with pytest.raises(CryptoError, match="uint8"):
        transfer.respond(CONTEXT, message[:, :31], 2, stream("sender"))
    state, _ = transfer.choose(CONTEXT, [0], 2, stream("receiver"))
    for public in (bytes(32), bytes(31), b"\xff" * 32):
        with pytest.raises(CryptoError):
            transfer.receive(state, public)


@pytest.mark.parametrize(("choices", "n"), [([2], 2), ([-1], 2), ([0], 1), ([0], 1025)])
def test_choices_outside_the_offer_are_refused(choices: list[int], n: int) -> None:
    with pytest.raises(CryptoError):
        transfer.choose(CONTEXT, choices, n, stream("receiver"))


@pytest.mark.parametrize("n", [2, 3])
def test_rsa_transfers_give_the_chosen_key(rsa_key: RsaKey, n: int) -> None:
    public, choices = rsa_key.public, [n - 1, 0]
    offered = rsa_transfer.offer(public, 2, n, stream("offer"))
    state, message = rsa_transfer.choose(public, CONTEXT, offered, choices, stream("receiver"))
    keys = rsa_transfer.respond(rsa_key, CONTEXT, offered, message)
    chosen = rsa_transfer.receive(state)
    assert keys.shape == (2, n, 32)
    for row, choice in enumerate(choices):
        for i in range(n):
            assert (keys[row, i].tobytes() == chosen[row].tobytes()) == (i == choice)


def test_rsa_transfers_follow_the_textbook(rsa_key: RsaKey) -> None:
    public = rsa_key.public
    offered = rsa_transfer.offer(public, 1, 2, stream("offer"))
    _, message = rsa_transfer.choose(public, CONTEXT, offered, [1], stream("receiver"))
    keys = rsa_transfer.respond(rsa_key, CONTEXT, offered, message)
    d = pow(65537, -1, int((rsa_key.p - 1) * (rsa_key.q - 1)))
    v = int.from_bytes(message.tobytes(), "big")
    for i in range(2):
        root = pow((v - int.from_bytes(offered[0, i].tobytes(), "big")) % public.n, d, public.n)
        transcript = prefixed(b"fedspark ot rsa key v1") + prefixed(CONTEXT) + bytes(8) + i.to_bytes(4, "big")
        assert keys[0, i].tobytes() == hashlib.sha256(transcript + root.to_bytes(public.width, "big")).digest()


def test_rsa_transfers_refuse_other_shapes_and_residues(rsa_key: RsaKey) -> None:
    public = rsa_key.public
    offered = rsa_transfer.offer(public, 2, 2, stream("offer"))
    _, message = rsa_transfer.choose(public, CONTEXT, offered, [0, 1], stream("receiver"))
    with pytest.raises(CryptoError, match="offer is"):
        rsa_transfer.choose(public, CONTEXT, offered[:, :, 1:], [0, 1], stream("receiver"))
    with pytest.raises(CryptoError, match="2 transfers were offered"):
        rsa_transfer.choose(public, CONTEXT, offered, [0], stream("receiver"))
    with pytest.raises(CryptoError, match="choices of 2 transfers"):
        rsa_transfer.respond(rsa_key, CONTEXT, offered, message[:1])
    with pytest.raises(CryptoError, match="row 1"):
        rsa_transfer.respond(rsa_key, CONTEXT, offered, np.concatenate([message[:1], np.zeros_like(message[:1])]))
