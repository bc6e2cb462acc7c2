"""Patience ends in one of three ways, and never in a busy loop."""

from __future__ import annotations

import pytest

from fedspark.errors import Absent, NotReady


def nothing():
    return None


def test_looks_become_rarer_up_to_two_seconds(clock):
    with pytest.raises(NotReady):
        clock.waiting(limit=60).until(nothing, "a/b", "guest", "hello of guest")
    assert clock.slept[0] == 0.02
    assert max(clock.slept) == 2.0
    assert clock.slept[:-1] == sorted(clock.slept[:-1])
    assert sum(clock.slept) == pytest.approx(60)
    assert len(clock.slept) < 50


def test_what_is_there_is_returned_without_a_wait(clock):
    assert clock.waiting().until(lambda: b"", "a/b", "guest", "hello") == b""
    assert clock.slept == []


def test_a_limit_of_zero_looks_once(clock):
    looks = []
    with pytest.raises(NotReady):
        clock.waiting(limit=0).until(lambda: looks.append(1), "a/b", "guest", "hello")
    assert (len(looks), clock.slept) == (1, [])


def test_the_callback_knows_object_peer_and_deadline_before_not_ready(clock):
    noted, seen = [], []
    waiting = clock.waiting(limit=1, deadline=500, on_not_ready=noted.append, on_wait=lambda *a: seen.append(a))
    with pytest.raises(NotReady, match=r"a/b is not there after 1 s.*Run the same command again when guest"):
        waiting.until(nothing, "a/b", "guest", "hello of guest")
    assert [(n.object, n.peer, n.what, n.deadline - n.since) for n in noted] == [
        ("a/b", "guest", "hello of guest", 500)
    ]
    assert seen[0] == ("a/b", 0.0)


def test_the_deadline_counts_from_the_first_wait_of_an_earlier_process(clock):
    noted, start = [], clock.now
    waiting = clock.waiting(limit=60, deadline=500, since=lambda name: start - 490, on_not_ready=noted.append)
    with pytest.raises(Absent, match="never came: a/b was awaited since 1970-01-12"):
        waiting.until(nothing, "a/b", "guest", "hello")
    assert clock.now - start < 13
    assert noted == []


def test_after_the_deadline_one_look_is_still_taken(clock):
    waiting = clock.waiting(deadline=500, since=lambda name: clock.now - 1000)
    assert waiting.until(lambda: 1, "a/b", "guest", "hello") == 1


def test_errors_of_a_look_end_the_wait(clock):
    def look():
        raise RuntimeError("x")

    with pytest.raises(RuntimeError, match="x"):
        clock.waiting(limit=60).until(look, "a/b", "guest", "hello")
