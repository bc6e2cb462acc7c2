"""What parties tell each other about the look of their ids, and what people read when few ids are common."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pytest

from fedspark.errors import Mismatch, PolicyRefused
from fedspark.psi import looks
from fedspark.psi.agree import agree, refuse_few
from fedspark.psi.looks import Looks, poor_match
from fedspark.run import Progress, Run
from fedspark.tables.shapes import shapes_of
from tests.federation import Federation
from tests.psi.people import intersect, names, options, role_of, source, staged, tags_sent

PHONES = [str(4_915_100_000_000 + 7919 * number) for number in range(137)]
HASHED = [hashlib.md5(phone.encode()).hexdigest() for phone in PHONES]
HINT = (
    "The ids of host look like 32 lower-case hexadecimal digits (as md5 or a UUID without dashes); ours (of guest) "
    "like 13 digits. Hash ours the same way, or theirs not at all: the intersection hides ids without that."
)


def told(federation: Federation, ids: Mapping[str, Sequence[str]]) -> dict[str, Looks]:
    """What every party knows when sizes and nonces are exchanged."""

    def half(name: str) -> Callable[[Run], Looks]:
        def agreed(run: Run) -> Looks:
            agree(run, source(staged(ids[name])), value_bytes=32, bucket_rows=65536)
            return Looks.of(run)

        return agreed

    return federation.play("psi", {name: half(name) for name in ids})


def nonce_message(federation: Federation, sender: str, receiver: str) -> Any:
    run = federation.run(receiver, "psi")
    return run.receive("nonce", run.roster[sender]).json()


def test_hashed_and_plain_ids_are_called_so_at_both_sides():
    results = told(Federation(), {"guest": PHONES, "host": HASHED})
    assert results["guest"].hints == [HINT]
    assert results["host"].hints[0].startswith("The ids of guest look like 13 digits; ours (of host) like 32 lower")
    assert results["guest"].ids == results["host"].ids
    assert results["guest"].ids["guest"] == "13 digits"


def test_each_of_three_parties_hears_about_the_one_that_differs():
    results = told(Federation(hosts=2), {"guest": PHONES, "host1": PHONES, "host2": HASHED})
    assert {name: len(one.hints) for name, one in results.items()} == {"guest": 1, "host1": 1, "host2": 2}


def test_an_empty_intersection_is_refused_with_the_hint_and_without_any_id():
    federation = Federation()
    with pytest.raises(PolicyRefused) as caught:
        intersect(federation, {"guest": staged(PHONES, label=True), "host": staged(HASHED)}, protocol="ecdh")
    assert "0 people are common to all parties; this party's limit min_intersection is 1." in str(caught.value)
    assert HINT in str(caught.value)
    assert not any(key in str(caught.value) for key in (*PHONES, *HASHED))
    assert "matched" not in tags_sent(federation)


def test_hints_are_said_when_nothing_but_sizes_and_nonces_was_sent():
    federation, said = Federation(), io.StringIO()

    def guest(run: Run) -> set[str]:
        object.__setattr__(run, "progress", Progress(stream=said))
        agree(run, source(staged(PHONES)), value_bytes=32, bucket_rows=65536)
        return tags_sent(federation)

    def host(run: Run) -> None:
        agree(run, source(staged(HASHED)), value_bytes=32, bucket_rows=65536)

    assert federation.play("psi", {"guest": guest, "host": host})["guest"] == {"size", "nonce"}
    assert said.getvalue().splitlines() == [f"check: {HINT}"]


@pytest.mark.parametrize("silent", ["guest", "host"])
def test_who_does_not_show_sends_nothing_and_is_shown_nothing(silent: str):
    federation = Federation(policy={silent: {"show_id_shapes": False}})
    results = told(federation, {"guest": PHONES, "host": HASHED})
    for sender, receiver in (("guest", "host"), ("host", "guest")):
        message = nonce_message(federation, sender, receiver)
        assert message.keys() == {"nonce", "shapes"}
        assert message["shapes"] is None
    other = "host" if silent == "guest" else "guest"
    assert [looked.hints for looked in results.values()] == [[], []]
    assert results[other].ids[silent] is None
    assert results[silent].ids == {"guest": None, "host": None}
    assert f"What the ids of {silent} look like is not shown." in results[other].explain()


def test_neither_ids_nor_exact_counts_leave():
    federation = Federation()
    odd = ["Zoë", *PHONES]  # one id of another kind must not show
    told(federation, {"guest": odd, "host": PHONES})
    message = nonce_message(federation, "guest", "host")
    assert message["shapes"] == {
        "kind": "text",
        "shapes": [{"class": "digits", "share": 100, "zeros": 0, "case": [0, 0, 0], "lengths": [13, 13, 13]}],
    }
    exact = shapes_of(pa.array(odd)).to_json()
    assert exact != message["shapes"]
    assert [row[-1] for row in exact["shapes"] if row[0] == "digits"] == [137]


def test_ids_that_look_alike_are_called_so_where_none_is_common():
    federation = Federation()
    others = [str(int(phone) + 1) for phone in PHONES]
    told(federation, {"guest": PHONES, "host": others})
    run = federation.run("guest", "psi")
    assert "The ids look alike on all sides (13 digits)" in poor_match(run, 0, {"guest": 137, "host": 137})
    with pytest.raises(PolicyRefused, match=r"The ids look alike on all sides \(13 digits\)"):
        refuse_few(run, 0)


def test_only_a_poor_match_is_explained():
    run = Federation().run("guest", "psi")
    rows = {"guest": 100_000, "host": 1000}
    assert poor_match(run, 10, rows) == ""
    assert poor_match(run, 9, rows).startswith("0.9 % of the smallest table is common to all. Check that all sides")
    assert poor_match(run, 0, rows).startswith("No id is common to all. Check")
    assert poor_match(run, 0, {"guest": 0, "host": 5}) == ""


@pytest.mark.parametrize("shapes", [None, 7, {"kind": "text", "shapes": [{"class": "x"}]}, "missing"])
def test_a_party_that_says_it_shows_and_does_not_is_refused(shapes: Any):
    def host(run: Run) -> None:
        original = run.send

        def send(tag: str, to: Any, payload: Any, **more: Any) -> None:
            if tag == "nonce":
                payload = {"nonce": payload["nonce"], **({} if shapes == "missing" else {"shapes": shapes})}
            original(tag, to, payload, **more)

        object.__setattr__(run, "send", send)
        agree(run, source(staged(HASHED)), value_bytes=32, bucket_rows=65536)

    def guest(run: Run) -> None:
        agree(run, source(staged(PHONES)), value_bytes=32, bucket_rows=65536)

    with pytest.raises(Mismatch, match="malformed"):
        Federation().play("psi", {"guest": guest, "host": host})


def test_what_is_shown_is_frozen_when_the_step_begins():
    federation = Federation()
    told(federation, {"guest": PHONES, "host": HASHED})
    changed = Federation(policy={"guest": {"show_id_shapes": False}}).run("guest", "psi")
    object.__setattr__(changed, "workspace", federation.run("guest", "psi").workspace)
    shown = looks.shown_shapes(changed, source(staged(HASHED)))
    assert shown is not None
    assert shown.describe() == "13 digits"


@pytest.mark.parametrize("empty", ["guest", "host"])
def test_an_empty_table_is_named_as_the_reason_on_both_sides(empty: str):
    tables = {name: staged(names(0, 0 if name == empty else 30)) for name in ("guest", "host")}
    federation = Federation()

    def half(name: str) -> Any:
        return lambda run: role_of(run, "ot")(run, options(64, "ot"), source(tables[name]))

    _, errors = federation.play_out("psi", {name: half(name) for name in tables})
    assert f"The table of {empty} is empty." in str(errors["guest"])
    assert Looks.of(federation.run("host", "psi")).hints == [f"The table of {empty} is empty."]
