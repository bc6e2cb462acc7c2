"""An exchange and a workspace in a real object store: Ceph's, which speaks S3."""

from __future__ import annotations

import itertools
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fedspark.errors import StoreError
from fedspark.exchange.store import Missing, Store, StoreRef
from tests.example import PARTIES, Example
from tests.exchange.conftest import Exchange
from tests.exchange.test_attacks import (  # noqa: F401 - run once more, here on S3
    test_a_manifest_with_a_changed_byte_is_refused_before_it_is_parsed,
    test_a_missing_part_is_refused,
    test_a_part_that_grew_after_the_listing_is_refused_before_it_is_downloaded,
    test_a_second_version_is_refused_after_a_restart_too,
    test_a_tampered_part_is_refused_before_it_is_opened,
    test_an_extra_object_is_refused,
    test_swapped_parts_are_refused,
)
from tests.exchange.test_mailbox import (  # noqa: F401
    test_a_large_part_is_split_into_objects_and_read_as_one,
    test_a_message_arrives_with_its_parts_and_meta,
    test_a_message_is_never_rewritten_with_other_content,
    test_parts_are_written_and_read_in_other_processes,
    test_receive_waits_until_the_manifest_is_there,
)
from tests.exchange.test_store import (  # noqa: F401
    test_a_store_without_create_only_puts_is_refused,
    test_an_object_is_created_once,
    test_keep_is_a_no_op_for_equal_and_an_error_for_unequal_content,
    test_objects_are_listed_by_folder_in_order,
    test_of_many_writers_one_wins,
    test_one_store_per_reference_and_process,
    test_probing_leaves_nothing,
    test_ranges_end_with_the_object,
    test_status_files_are_replaced,
    test_what_is_not_there_has_no_size_and_is_missing,
)
from tests.integration.servers.ceph import SECRETS, Ceph

BUCKET = "shared-bucket"
WRONG = "wrong-51d0c7e2"
_numbers = itertools.count()


@pytest.fixture(scope="module")
def bucket(ceph: Ceph) -> str:
    ceph.make_bucket(BUCKET)
    return BUCKET


def ref_of(ceph: Ceph, url: str, account: str = "owner", **more: str) -> StoreRef:
    return StoreRef(url, tuple(ceph.options(account, **more).items()))


@pytest.fixture
def ref(ceph: Ceph, bucket: str) -> StoreRef:
    return ref_of(ceph, f"s3://{bucket}/place-{next(_numbers)}")


@pytest.fixture
def store(ref: StoreRef) -> Store:
    return ref.open()


@pytest.fixture
def memory() -> StoreRef:
    return StoreRef(f"memory://s3-{next(_numbers)}")


@pytest.fixture
def exchange(ref: StoreRef) -> Exchange:
    return Exchange(ref)


@pytest.fixture
def address() -> Any:
    from fedspark.exchange.mailbox import Address

    return Address("train", 3, "g", "guest", "host")


def test_thousands_of_objects_are_listed_and_deleted(store: Store) -> None:
    names = [f"parts/{number:05d}" for number in range(1100)]
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(lambda name: store.create(name, name.encode()), [*names, "parts/kept"]))
    assert store.list("parts") == [*((name, 11) for name in names), ("parts/kept", 10)]
    store.delete("parts/00007")
    store.delete_many(names)
    assert store.list() == [("parts/kept", 10)]


def test_any_characters_make_a_name(store: Store) -> None:
    for name in ("a b/ü#?%20&+='x", "x:y/*~", "😀"):
        assert store.create(name, name.encode())
        assert not store.create(name, b"other")
        assert (store.read(name), store.size(name)) == (name.encode(), len(name.encode()))
        assert store.list() == [(name, len(name.encode()))]
        store.delete_many([name])
        assert store.list() == []


def test_a_part_of_many_megabytes_is_created_once(store: Store) -> None:
    data = os.urandom(1 << 20) * 48
    store.keep("part", data)
    store.keep("part", data)
    assert not store.create("part", b"other")
    assert store.read_range("part", 48 * (1 << 20) - 3, 10) == data[-3:]


# ---- what a user may have done wrong -----------------------------------------------------------------------------


@pytest.fixture(params=["reading", "looking", "listing", "writing", "replacing", "deleting", "range", "probing"])
def use(request: pytest.FixtureRequest) -> Any:
    """Something that a party does with a store."""
    return {
        "reading": lambda store: store.read("a"),
        "looking": lambda store: store.size("a"),
        "listing": lambda store: store.list("a"),
        "writing": lambda store: store.create("a", b"x"),
        "replacing": lambda store: store.replace("a", b"x"),
        "deleting": lambda store: store.delete("a"),
        "range": lambda store: store.read_range("a", 0, 1),
        "probing": lambda store: store.probe("a"),
    }[request.param]


def failure(use: Any, store: Store) -> str:
    with pytest.raises(StoreError) as caught:
        use(store)
    said = str(caught.value)
    assert store.url in said
    assert "<" not in said
    assert caught.value.__suppress_context__  # what the client said may hold more than we tell
    return said


def test_a_wrong_secret_is_told_and_not_shown(
    ceph: Ceph, bucket: str, use: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDSPARK_TEST_WRONG", WRONG)
    place = ref_of(ceph, f"s3://{bucket}/mine", secret_access_key="env:FEDSPARK_TEST_WRONG")
    said = failure(use, place.open())
    assert "403 Forbidden" in said
    assert "the access key and secret" in said
    assert WRONG not in said


def test_an_account_that_is_unknown_is_told(ceph: Ceph, bucket: str) -> None:
    said = failure(lambda store: store.read("a"), ref_of(ceph, f"s3://{bucket}/mine", access_key_id="nobody").open())
    assert "(InvalidAccessKeyId). Check the access key and secret" in said


def test_a_bucket_that_is_not_there_is_told(ceph: Ceph) -> None:
    for use in (lambda store: store.probe("a"), lambda store: store.list("a")):
        said = failure(use, ref_of(ceph, "s3://no-such-bucket/mine").open())
        assert "404 Not Found (NoSuchBucket). Create the bucket or directory, or correct the URL." in said


def allowed(bucket: str, account: str, prefix: str, condition: str = "StringLikeIfExists") -> list[dict[str, Any]]:
    """Statements of a policy that let an account do what a party must, under one prefix."""
    who = {"Effect": "Allow", "Principal": {"AWS": [f"arn:aws:iam:::user/{account}"]}}
    objects = {"Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]}
    listing = {"Action": ["s3:ListBucket"], "Condition": {condition: {"s3:prefix": [f"{prefix}/*"]}}}
    place = f"arn:aws:s3:::{bucket}"
    return [{**who, **objects, "Resource": [f"{place}/{prefix}/*"]}, {**who, **listing, "Resource": [place]}]


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def test_a_party_that_may_use_its_prefix_alone_works_there(ceph: Ceph) -> None:
    ceph.make_bucket("limited")
    ceph.allow("limited", policy(*allowed("limited", "party-a", "a")))
    store = ref_of(ceph, "s3://limited/a", "party-a").open()
    store.probe("runs/x")
    assert store.list() == []
    for name in ("runs/1", "runs/2"):
        assert store.create(name, b"x")
    with pytest.raises(Missing):
        store.read("runs/3")
    store.delete_many(["runs/1", "runs/2", "runs/3"])
    assert store.list() == []


def test_a_party_beyond_its_prefix_is_told_so(ceph: Ceph, use: Any) -> None:
    with_prefix = f"beyond-{next(_numbers)}"
    ceph.make_bucket(with_prefix)
    ceph.allow(with_prefix, policy(*allowed(with_prefix, "party-a", "a")))
    ref_of(ceph, f"s3://{with_prefix}/b").open().create("a", b"of another")
    said = failure(use, ref_of(ceph, f"s3://{with_prefix}/b", "party-a").open())
    assert "403 Forbidden" in said
    assert "Give this account the right to list, read, create and delete there" in said


def test_a_policy_that_hides_what_is_not_there_is_refused_at_the_start(ceph: Ceph) -> None:
    ceph.make_bucket("hiding")
    ceph.allow("hiding", policy(*allowed("hiding", "party-a", "a", "StringLike")))
    store = ref_of(ceph, "s3://hiding/a", "party-a").open()
    with pytest.raises(StoreError, match=r"what is not there yet is forbidden too: .*StringLikeIfExists"):
        store.probe("runs/x")
    assert store.list() == []


# ---- a run -------------------------------------------------------------------------------------------------------


def test_parties_meet_train_and_score_in_an_object_store(ceph: Ceph, spark: Any, tmp_path: Path) -> None:
    """Each party with an account of its own, and the hospital without any directory."""
    ceph.make_bucket("meeting")
    ceph.make_bucket("hospital")
    accounts = dict(zip(PARTIES, ("party-a", "party-b", "owner"), strict=True))
    ceph.allow("meeting", policy(*(one for name in accounts.values() for one in allowed("meeting", name, "runs"))))
    ceph.allow("hospital", policy(*allowed("hospital", "party-a", "files")))
    example = Example.make(tmp_path / "example")
    for name, account in accounts.items():
        options = {"options": ceph.options(account)}
        example.edit(name, exchange={"url": "s3://meeting/runs", **options})
        if name == "hospital":
            example.edit(name, workspace={"files": "s3://hospital/files", **options})
    assert example.play() == {}
    workspace = example.place("hospital").workspace
    scores = [name for name, _ in workspace.store.list(workspace.name("steps/predict/scores")) if name.endswith(".csv")]
    assert sum(len(workspace.store.read(name).splitlines()) - 1 for name in scores) == 10
    assert not (example.directory / "exchange").exists()
    assert not [path for path, data in example.files(".").items() for word in SECRETS.values() if word.encode() in data]
