"""What is ECDH's own: the mathematics of a bucket, points that are refused, and a message of another run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedspark.crypto.curve import ORDER, Scalar, hash_ids, hash_to_curve, multiply
from fedspark.crypto.hashing import tag96
from fedspark.crypto.randomness import Stream, derive
from fedspark.errors import CryptoError, FedsparkError, PeerError
from fedspark.exchange.columns import Values, pack_values, unpack_values
from fedspark.psi import ecdh
from tests.crypto.plain_curve import A, P, plain_multiply, plain_point
from tests.federation import Federation
from tests.psi.people import intersect, names, staged, tags_sent

KEY, CONTEXT = derive(bytes(32), "tests", "ecdh"), bytes(range(32))
TABLES = {"guest": staged(names(0, 40), label=True), "host": staged(names(20, 70))}
IDS = names(0, 20)


def scalar(name: str) -> Scalar:
    return Scalar.draw(Stream(derive(KEY, name)))


def error_of(federation: Federation) -> FedsparkError:
    with pytest.raises(FedsparkError) as caught:
        intersect(federation, TABLES, protocol="ecdh")
    return caught.value


# ---- one bucket ------------------------------------------------------------------------------------------------------


def test_the_guest_gets_the_points_that_the_host_computes_itself():
    b, hashes = scalar("b"), hash_ids(IDS, CONTEXT)
    evaluated = ecdh.evaluate(ecdh.blind_bucket(KEY, hashes, 32), b)
    unblinded = ecdh.unblind_bucket(KEY, hashes, evaluated)
    assert np.array_equal(unblinded, multiply(hash_to_curve(IDS, CONTEXT), b))


def test_tags_are_those_of_plain_integers():
    b, bucket = scalar("b"), 5
    points = multiply(hash_to_curve(IDS, CONTEXT), b)
    plain = [plain_multiply(b.clamped, plain_point(digest.tobytes())) for digest in hash_ids(IDS, CONTEXT)]
    expected = tag96(ecdh.content_digest([CONTEXT, bucket]), IDS, plain)
    assert np.array_equal(ecdh.bucket_tags(CONTEXT, bucket, IDS, points), expected)


def test_the_tag_of_a_person_is_another_one_in_another_bucket():
    points = hash_to_curve(IDS, CONTEXT)
    assert not (ecdh.bucket_tags(CONTEXT, 1, IDS, points) == ecdh.bucket_tags(CONTEXT, 2, IDS, points)).all(1).any()


def test_dummies_are_points_of_the_subgroup_like_all_others():
    blinded = ecdh.blind_bucket(KEY, hash_ids(IDS, CONTEXT), 32)
    assert len({row.tobytes() for row in blinded}) == 32
    ecdh.check_points(blinded)
    for row in blinded:
        u = int.from_bytes(row.tobytes(), "little")
        assert plain_order_divides(u, ORDER)


def plain_order_divides(u: int, order: int) -> bool:
    """True if the point with this u has an order that divides ``order``: the plain ladder ends in the neutral one."""
    return plain_multiply(order.to_bytes(32, "little"), u.to_bytes(32, "little"), clamp=False) == bytes(32)


def test_other_content_of_a_bucket_gets_another_scalar():
    one, other = (ecdh.draw_blind(KEY, hash_ids(ids, CONTEXT)) for ids in (IDS, IDS[1:]))
    assert one != other
    assert ecdh.draw_blind(KEY, hash_ids(IDS, CONTEXT)) == one


def test_a_bucket_without_rows_is_all_dummies():
    none = hash_ids([], CONTEXT)
    blinded = ecdh.blind_bucket(KEY, none, 3)
    assert blinded.shape == (3, 32)
    assert ecdh.unblind_bucket(KEY, none, ecdh.evaluate(blinded, scalar("b"))).shape == (0, 32)


# ---- messages that are wrong -----------------------------------------------------------------------------------------


def on_curve(u: int) -> bool:
    return pow(u**3 + A * u**2 + u, (P - 1) // 2, P) == 1


TWIST = next(u for u in range(2, 100) if not on_curve(u))
NO_POINTS = pytest.mark.parametrize(
    ("u", "rule"),
    [
        pytest.param(0, "not on Curve25519", id="zero"),
        pytest.param(1, "small order", id="small order"),
        pytest.param(P - 1, "not on Curve25519", id="small order on the twist"),
        pytest.param(TWIST, "not on Curve25519", id="twist"),
        pytest.param(P + 9, "not in canonical form", id="above the prime"),
        pytest.param(2**255 + 9, "not in canonical form", id="top bit"),
    ],
)


@NO_POINTS
def test_a_blinded_value_that_is_no_point_is_refused_and_nothing_is_evaluated(
    monkeypatch: pytest.MonkeyPatch, u: int, rule: str
):
    original = ecdh.blind_bucket

    def blind_bucket(*arguments: Any) -> Values:
        values = original(*arguments).copy()
        values[3] = np.frombuffer(u.to_bytes(32, "little"), np.uint8)
        return values

    monkeypatch.setattr(ecdh, "blind_bucket", blind_bucket)
    federation = Federation()
    error = error_of(federation)
    assert isinstance(error, PeerError)
    assert "'blinded' of guest is refused: The point in row 3" in error.message
    assert rule in error.message
    assert "evaluated" not in tags_sent(federation)


@NO_POINTS
def test_an_answer_that_is_no_point_is_refused_and_no_result_is_told(
    monkeypatch: pytest.MonkeyPatch, u: int, rule: str
):
    original = ecdh.evaluate

    def evaluate(points: Values, b: Scalar) -> Values:
        values = original(points, b).copy()
        values[7] = np.frombuffer(u.to_bytes(32, "little"), np.uint8)
        return values

    monkeypatch.setattr(ecdh, "evaluate", evaluate)
    federation = Federation()
    error = error_of(federation)
    assert isinstance(error, PeerError)
    assert "'evaluated' of host is refused: The point in row 7" in error.message
    assert rule in error.message
    assert not {"matched", "result"} & tags_sent(federation)


def test_answers_in_another_order_or_under_another_scalar_match_nobody(monkeypatch: pytest.MonkeyPatch):
    original = ecdh.evaluate
    for wrong in (
        lambda points, b: np.roll(original(points, b), 1, axis=0),
        lambda points, b: original(points, scalar("another")),
    ):
        monkeypatch.setattr(ecdh, "evaluate", wrong)
        error = error_of(Federation())
        assert "0 people are common" in error.message


def test_answers_of_another_run_match_nobody(monkeypatch: pytest.MonkeyPatch):
    earlier = Federation(seed="another")
    intersect(earlier, TABLES, protocol="ecdh")
    guest = earlier.run("guest", "psi")
    kept = unpack_values(guest.receive("evaluated", guest.roster["host"]).read(0), "evaluated", 40, 32)
    monkeypatch.setattr(ecdh, "evaluate", lambda points, b: kept)
    assert "0 people are common" in error_of(Federation()).message


def test_answers_of_another_width_are_refused(monkeypatch: pytest.MonkeyPatch):
    def evaluate_part(evaluating: Any, outgoing: Any, part: int) -> Any:
        rows = evaluating.pair.plan.values_per_part("guest")
        return outgoing.write(part, pack_values("evaluated", np.ones((rows, 31), np.uint8))), None

    monkeypatch.setattr(ecdh, "evaluate_part", evaluate_part)
    assert "its type is fixed_size_binary[31]" in error_of(Federation()).message


def test_points_of_another_width_are_refused_by_the_mathematics_too():
    with pytest.raises(CryptoError, match=r"uint8\[N, 32\]"):
        ecdh.evaluate(np.ones((4, 31), np.uint8), scalar("b"))


def test_nothing_that_a_task_carries_shows_a_scalar():
    b = scalar("b")
    tagging = ecdh.Tagging(None, b, None)  # type: ignore[arg-type]
    evaluating = ecdh.Evaluating(None, b, None)  # type: ignore[arg-type]
    assert not any(b.clamped.hex() in text or repr(b.clamped) in text for text in map(repr, (b, tagging, evaluating)))
