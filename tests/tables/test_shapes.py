"""Ids are told apart by what they look like, nothing but their looks leaves, and hints say where two parties differ."""

from __future__ import annotations

import base64
import copy
import json
import uuid
from hashlib import md5, sha1, sha256

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedspark.errors import Mismatch
from fedspark.tables.shape_hints import hints
from fedspark.tables.shapes import KINDS, LONGEST, SAMPLE, IdShapes, Pattern, ShownShapes, shapes_of

N = 300
RAW = [str(number).encode() for number in range(N)]
IDS = {
    "digits": [f"{number * 7919 % 10**5:011d}" for number in range(N)],
    "plain": [str(10**10 + number) for number in range(N)],
    "prefixed": [f"49{10**10 + number}" for number in range(N)],
    "md5": [md5(raw).hexdigest() for raw in RAW],
    "MD5": [md5(raw).hexdigest().upper() for raw in RAW],
    "sha1": [sha1(raw).hexdigest() for raw in RAW],
    "sha256": [sha256(raw).hexdigest() for raw in RAW],
    "uuid": [str(uuid.UUID(md5(raw).hexdigest())) for raw in RAW],
    "email": [f"user{number}@example.org" for number in range(N)],
    "Email": [f"{'Uu'[number % 2]}ser{number}@example.org" for number in range(N)],
    "phone": [f"+49{10**9 + number}" for number in range(N)],
    "iso": [f"19{number % 100:02d}-0{number % 9 + 1}-1{number % 10}" for number in range(N)],
    "moment": [f"19{number % 100:02d}-0{number % 9 + 1}-11 00:00:00" for number in range(N)],
    "date": [f"1{number % 10}.0{number % 9 + 1}.19{number % 100:02d}" for number in range(N)],
    "float": [f"{number + 1000}.0" for number in range(N)],
    "grouped": [f"0{number % 9} {number + 1000}-{number % 7}" for number in range(N)],
    "base64": [base64.b64encode(sha256(raw).digest()).decode() for raw in RAW],
    "words": [f"Åse {chr(97 + number % 26)}-ß" for number in range(N)],
    "mixed": [f"u{number:06d}" for number in range(N)],
    "longer": [f"u{number:08d}" for number in range(N)],
    "composite": [f"DE\x1f{number}" for number in range(N)],
    "other": [f"§{number}" for number in range(N)],
}


def shapes(*names, kind="text"):
    return shapes_of(pa.array([text for name in names for text in IDS[name]], pa.string()), kind)


def hint(ours, theirs):
    """The only hint for our ids and theirs, after both outlines have travelled."""
    sides = [ShownShapes.from_json(json.loads(json.dumps(one.shown().to_json())), "x") for one in (ours, theirs)]
    (text,) = hints(*sides, "hospital", "laboratory")
    assert [text] == hints(ours, theirs, "hospital", "laboratory")
    return text


@pytest.mark.parametrize(
    ("name", "pattern", "words"),
    [
        ("digits", Pattern.DIGITS, "11 digits, leading zeros in 100 %"),
        ("plain", Pattern.DIGITS, "11 digits"),
        ("md5", Pattern.HEXADECIMAL, "32 lower-case hexadecimal digits (as md5 or a UUID without dashes)"),
        ("MD5", Pattern.HEXADECIMAL, "32 upper-case hexadecimal digits (as md5 or a UUID without dashes)"),
        ("sha1", Pattern.HEXADECIMAL, "40 lower-case hexadecimal digits (as sha1)"),
        ("sha256", Pattern.HEXADECIMAL, "64 lower-case hexadecimal digits (as sha256)"),
        ("uuid", Pattern.UUID, "lower-case UUIDs with dashes"),
        ("email", Pattern.EMAIL, "lower-case e-mail addresses"),
        ("Email", Pattern.EMAIL, "mixed-case e-mail addresses"),
        ("phone", Pattern.PHONE, "phone numbers with + and country prefix"),
        ("iso", Pattern.ISO_DATE, "dates as YYYY-MM-DD"),
        ("moment", Pattern.ISO_DATE, "dates as YYYY-MM-DD"),
        ("date", Pattern.DATE, "dates that are not written as YYYY-MM-DD"),
        ("float", Pattern.SPREADSHEET, "numbers as spreadsheets write them (12.0 or 1.2E+10)"),
        ("grouped", Pattern.GROUPED, "digits in groups with blanks, dashes or the like between them"),
        ("base64", Pattern.BASE64, "44 characters as of base64"),
        ("words", Pattern.WORDS, "mixed-case words"),
        ("mixed", Pattern.MIXED, "7 lower-case letters and digits"),
        ("composite", Pattern.COMPOSITE, "keys of several columns"),
        ("other", Pattern.OTHER, "texts of no known form"),
    ],
)
def test_ids_are_told_by_their_looks(name, pattern, words):
    assert {shape.pattern for shape in shapes(name).counts} == {pattern}
    assert shapes(name).describe() == words


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("-5", Pattern.DIGITS),
        ("+123456", Pattern.OTHER),
        ("+1234567", Pattern.PHONE),
        ("+123456789012345", Pattern.PHONE),
        ("+1234567890123456", Pattern.OTHER),
        ("1.2E+10", Pattern.SPREADSHEET),
        ("12E5", Pattern.MIXED),
        ("1/2/1999", Pattern.DATE),
        ("1999/12/31", Pattern.DATE),
        ("a@b", Pattern.OTHER),
        ("abcdef0123456789", Pattern.MIXED),
        ("abcdef", Pattern.WORDS),
        ("12\n", Pattern.OTHER),
        ("", Pattern.OTHER),
    ],
)
def test_the_limits_of_a_class(text, pattern):
    assert [shape.pattern for shape in shapes_of(pa.array([text])).counts] == [pattern]


def test_lengths_are_characters_and_long_ones_count_as_one_length():
    counts = shapes_of(pa.array(["äöü", "x" * 1000])).counts
    assert sorted(shape.length for shape in counts) == [3, LONGEST]


def test_a_lone_zero_is_no_leading_zero():
    assert not any(shape.zero for shape in shapes_of(pa.array(["0"])).counts)


def test_nulls_chunks_and_dictionaries_make_no_difference():
    plain = shapes("mixed", "email")
    values = [*IDS["mixed"], None, *IDS["email"]]
    assert shapes_of(pa.array(values)) == plain
    assert shapes_of(pa.array(values).dictionary_encode()) == plain
    assert shapes_of(pa.array(values, pa.large_string())) == plain
    assert shapes_of(pa.chunked_array([values[:100], values[100:]])) == plain
    assert shapes_of(pa.array([None], pa.string())).counts == {}


def test_a_long_array_is_looked_at_from_end_to_end():
    found = shapes_of(pa.array(["1234"] * 3 * SAMPLE + ["a@b.de"] * SAMPLE))
    assert found.total == SAMPLE
    assert found.describe() == "75 %: 4 digits; 25 %: lower-case e-mail addresses"


def test_shapes_of_different_kinds_do_not_add_up():
    with pytest.raises(ValueError, match="integer"):
        shapes("plain", kind="integer").merge(shapes("plain"))
    with pytest.raises(ValueError, match="'float'"):
        shapes("plain", kind="float")


# ---- what leaves -----------------------------------------------------------------------------------------------------

ANY_IDS = st.lists(st.one_of(st.text(max_size=40), st.sampled_from([text for ids in IDS.values() for text in ids])))
VOCABULARY = {*KINDS, *map(str, Pattern), "kind", "shapes", "class", "share", "zeros", "case", "lengths"}


def leaves(value):
    if isinstance(value, dict):
        value = [*value, *value.values()]
    return [leaf for item in value for leaf in leaves(item)] if isinstance(value, list) else [value]


@settings(max_examples=40, deadline=None)
@given(ANY_IDS, ANY_IDS, ANY_IDS)
def test_merging_is_commutative_and_associative_and_equals_counting_at_once(first, second, third):
    one, two, three = (shapes_of(pa.array(ids, pa.string())) for ids in (first, second, third))
    assert one.merge(two) == two.merge(one)
    assert one.merge(two).merge(three) == one.merge(two.merge(three))
    assert one.merge(two).merge(three) == shapes_of(pa.array(first + second + third, pa.string()))
    assert one.merge(IdShapes("text", {})) == one


@settings(max_examples=60, deadline=None)
@given(ANY_IDS, st.integers(1, 50))
def test_json_comes_back_and_no_text_of_it_is_of_an_id(ids, times):
    counted = shapes_of(pa.array(ids * times, pa.string()))
    shown = counted.shown()
    assert IdShapes.from_json(json.loads(json.dumps(counted.to_json()))) == counted
    assert ShownShapes.from_json(json.loads(json.dumps(shown.to_json())), "laboratory") == shown
    for value in (counted.to_json(), shown.to_json()):
        assert all(type(leaf) is int or leaf in VOCABULARY for leaf in leaves(value))
    assert all(leaf <= LONGEST for leaf in leaves(shown.to_json()) if type(leaf) is int)
    assert not any(text in json.dumps(shown.to_json()) for text in ids if len(text) > 20)
    assert len(json.dumps(shown.to_json())) <= 1000


def test_the_fullest_outline_stays_below_a_kilobyte():
    assert len(json.dumps(shapes(*IDS).shown().to_json())) <= 1000


def test_one_odd_id_does_not_leave_the_building():
    usual = pa.array(IDS["plain"])
    for odd in ("a@b.de", "012345678901234567", "x" * 40, "1", f"{7:011d}"):
        with_odd = shapes_of(pa.concat_arrays([usual, pa.array([odd] * 2)]))
        assert with_odd.shown().to_json() == shapes_of(usual).shown().to_json()


def test_an_odd_id_without_leading_zeros_or_in_upper_case_does_not_show_either():
    zeros = [f"{number:011d}" for number in range(N)]
    for usual, odd in ((zeros, "12345678901"), (IDS["md5"], IDS["MD5"][0])):
        assert shapes_of(pa.array([*usual, odd])).shown() == shapes_of(pa.array(usual)).shown()


def test_fewer_than_twenty_ids_say_nothing():
    few, enough = (shapes_of(pa.array(IDS["plain"][:count])) for count in (19, 20))
    assert few.describe() == "too few ids to say"
    assert few.shown().to_json() == {"kind": "text", "shapes": []}
    assert hints(few, shapes("md5"), "hospital", "laboratory") == []
    assert enough.describe() == "11 digits"


def test_what_is_shown_says_no_count():
    assert shapes("plain").shown() == shapes("plain", "plain").shown()


# ---- what a peer may have sent ---------------------------------------------------------------------------------------


def changed(value, path, new):
    value = copy.deepcopy(value)
    place = value
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = new
    return value


@pytest.mark.parametrize("value", [None, 7, "shapes", [], {}, {"kind": "text"}, {"kind": "text", "shapes": {}}])
def test_what_is_no_outline_at_all_is_refused(value):
    with pytest.raises(Mismatch, match=r"shapes of ids that laboratory shows are malformed.*fedspark version"):
        ShownShapes.from_json(value, "laboratory")
    with pytest.raises(ValueError, match="shapes are"):
        IdShapes.from_json(value)


@pytest.mark.parametrize(
    ("path", "new"),
    [
        (["kind"], "float"),
        (["kind"], ["text"]),
        (["more"], 1),
        (["shapes", 0], []),
        (["shapes", 0, "id"], "anna"),
        (["shapes", 0, "class"], "anna"),
        (["shapes", 0, "class"], {}),
        (["shapes", 0, "class"], "e-mail"),
        (["shapes", 0, "share"], -50),
        (["shapes", 0, "share"], 50.0),
        (["shapes", 0, "share"], True),
        (["shapes", 0, "share"], 99),
        (["shapes", 0, "share"], 10),
        (["shapes", 0, "share"], 0),
        (["shapes", 0, "zeros"], 101),
        (["shapes", 0, "zeros"], "3"),
        (["shapes", 0, "case"], [100, 100, 100]),
        (["shapes", 0, "case"], [0, 0]),
        (["shapes", 0, "case"], [0, 0, None]),
        (["shapes", 0, "lengths"], [5, 4, 5]),
        (["shapes", 0, "lengths"], [1, 10**9, 5]),
        (["shapes", 0, "lengths"], "111"),
        (["shapes"], [{}] * 1000),
    ],
)
def test_an_outline_that_no_fedspark_writes_is_refused(path, new):
    value = shapes("plain", "email").shown().to_json()
    assert ShownShapes.from_json(value, "laboratory")
    with pytest.raises(Mismatch, match="laboratory shows are malformed"):
        ShownShapes.from_json(changed(value, path, new), "laboratory")


@pytest.mark.parametrize(
    ("path", "new"),
    [
        (["kind"], "float"),
        (["more"], 1),
        (["shapes", 0], {}),
        (["shapes", 0], ["digits", 11, 0, 0]),
        (["shapes", 0, 0], "anna"),
        (["shapes", 0, 0], []),
        (["shapes", 0, 1], LONGEST + 1),
        (["shapes", 0, 1], 11.0),
        (["shapes", 0, 2], 4),
        (["shapes", 0, 3], 2),
        (["shapes", 0, 3], True),
        (["shapes", 0, 4], -1),
        (["shapes", 0, 4], 0),
        (["shapes", 0, 4], 1 << 60),
        (["shapes"], [["digits", 11, 0, 0, 1]] * 2),
    ],
)
def test_counts_that_cannot_be_are_refused(path, new):
    with pytest.raises(ValueError, match=r"shape"):
        IdShapes.from_json(changed(shapes("plain").to_json(), path, new))


# ---- hints -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", IDS)
def test_ids_that_look_alike_give_no_hint(name):
    assert hints(shapes(name), shapes(name), "hospital", "laboratory") == []


def test_hashes_on_one_side_only():
    text = hint(shapes("phone"), shapes("md5"))
    assert text == (
        "The ids of laboratory look like 32 lower-case hexadecimal digits (as md5 or a UUID without dashes); ours (of "
        "hospital) like phone numbers with + and country prefix. Hash ours the same way, or theirs not at all: the "
        "intersection hides ids without that."
    )
    assert "Hash theirs the same way, or ours not at all" in hint(shapes("md5"), shapes("phone"))


def test_integers_against_text_with_leading_zeros():
    text = hint(shapes("digits"), shapes("plain", kind="integer"))
    assert text.startswith(
        "The ids of laboratory look like integers without leading zeros; ours (of hospital) like digits in text with "
        "leading zeros in 100 %. Set ids.type to integer in the pipeline file"
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        ("md5", "MD5", "in upper case at laboratory and in lower case with us (hospital)"),
        ("email", "Email", "50 % in lower case and 50 % in both cases mixed at laboratory and in lower case with us"),
        ("md5", "sha256", "(as sha256); ours (of hospital) like 32 lower-case hexadecimal digits (as md5"),
        ("md5", "base64", "If both are hashes, write both in hexadecimal digits."),
        ("md5", "uuid", "with dashes or both without"),
        ("digits", "plain", "drops leading zeros on both sides, or pad"),
        ("digits", "prefixed", "look like 13 digits; ours (of hospital) like 11 digits"),
        ("plain", "prefixed", "Look for a country prefix, a check digit or padding"),
        ("plain", "phone", "write both with + and country prefix, or both without"),
        ("phone", "grouped", "Take blanks, dashes and the like out of the numbers on both sides."),
        ("plain", "email", "Name in `id` of both party files the column that holds the same kind of id."),
        ("plain", "composite", "Name the same columns in the same order in `id` of both party files."),
        ("plain", "float", "as plain digits"),
        ("plain", "mixed", "add the letters to the others or take them away"),
        ("mixed", "longer", "Look for a prefix"),
        ("iso", "date", "Write all dates as YYYY-MM-DD."),
        ("iso", "moment", "Write dates without the time of day, or both with it."),
        ("iso", "words", "a date alone hardly tells people apart"),
    ],
)
def test_a_difference_is_said_with_its_remedy(ours, theirs, said):
    assert said in hint(shapes(ours), shapes(theirs))
    assert hint(shapes(theirs), shapes(ours))


def test_a_part_of_the_ids_that_only_one_side_has():
    text = hint(shapes("plain"), shapes("plain", "plain", "email"))
    assert text.startswith("33 % of the ids of laboratory look like lower-case e-mail addresses; ours (of hospital)")
    assert "those of laboratory hardly ever do" in hint(shapes("plain", "plain", "email"), shapes("plain"))


def test_chance_gives_no_hint():
    some, other = (
        shapes_of(pa.array([md5(f"{salt}{number}".encode()).hexdigest()[:8] for number in range(3000)]))
        for salt in ("a", "b")
    )
    assert hints(some, other, "hospital", "laboratory") == []
