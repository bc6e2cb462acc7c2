"""What every store must do, and what its failures look like."""

from __future__ import annotations

import errno
import http.server
import os
import pickle
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import obstore
import pytest
from obstore.exceptions import AlreadyExistsError

from fedspark.errors import ConfigError, StoreError
from fedspark.exchange.store import Missing, Store, StoreRef, Unequal


@pytest.fixture
def store(ref):
    return ref.open()


# ---- what every store does -----------------------------------------------------------------------------------------


def test_an_object_is_created_once(store):
    assert store.create("a/b", b"first")
    assert not store.create("a/b", b"second")
    assert store.read("a/b") == b"first"


def test_keep_is_a_no_op_for_equal_and_an_error_for_unequal_content(store):
    store.keep("a", b"first")
    store.keep("a", b"first")
    for other in (b"other", b"longer than first"):
        with pytest.raises(Unequal, match=r"a in .* was written before with other content"):
            store.keep("a", other)
    assert store.read("a") == b"first"


def test_of_many_writers_one_wins(store):
    results: list[bool] = []
    threads = [threading.Thread(target=lambda n=n: results.append(store.create("a", b"%d" % n))) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False] * 15 + [True]


def test_objects_are_listed_by_folder_in_order(store):
    for name in ("run/b", "run/a/1", "running/c", "run/a/0"):
        store.create(name, b"x" * len(name))
    assert store.list("run") == store.list("run/") == [("run/a/0", 7), ("run/a/1", 7), ("run/b", 5)]
    assert store.list("nowhere") == []
    assert len(store.list()) == 4


def test_what_is_not_there_has_no_size_and_is_missing(store):
    assert store.size("a") is None
    with pytest.raises(Missing, match="no object a in"):
        store.read("a")
    with pytest.raises(Missing):
        store.read_range("a", 0, 1)
    store.delete("a")


def test_ranges_end_with_the_object(store):
    store.create("a", b"0123456789")
    store.create("empty", b"")
    assert (store.size("a"), store.size("empty"), store.read("empty")) == (10, 0, b"")
    assert [store.read_range("a", *r) for r in ((0, 4), (8, 100), (3, 0), (10, 5))] == [b"0123", b"89", b"", b""]
    assert store.read_range("empty", 0, 10) == b""


def test_status_files_are_replaced(store):
    store.replace("status", b"1")
    store.replace("status", b"2")
    assert store.read("status") == b"2"
    store.delete("status")
    assert store.size("status") is None


def test_one_store_per_reference_and_process(ref):
    assert ref.open() is ref.open()


def test_probing_leaves_nothing(store):
    store.probe("runs/x")
    assert store.list() == []


# ---- references ----------------------------------------------------------------------------------------------------


def test_a_reference_travels_and_shows_no_option():
    ref = StoreRef("s3://bucket/x", (("secret_access_key", "hunter2"), ("region", "eu")), base="/etc")
    assert pickle.loads(pickle.dumps(ref)) == ref
    assert repr(ref) == "StoreRef(url='s3://bucket/x', base='/etc')"


def test_memory_stores_of_one_name_are_one(memory):
    StoreRef(memory.url, base="/elsewhere").open().create("a", b"x")
    assert memory.open().read("a") == b"x"


def test_relative_paths_start_at_the_directory_of_the_party_file(tmp_path):
    StoreRef("exchange dir", base=str(tmp_path)).open().create("a", b"x")
    assert (tmp_path / "exchange dir" / "a").read_bytes() == b"x"


def test_urls_of_directories_are_percent_decoded(tmp_path):
    StoreRef(f"file://{tmp_path}/exchange%20dir").open().create("a", b"x")
    assert (tmp_path / "exchange dir" / "a").read_bytes() == b"x"


@pytest.mark.parametrize(
    ("url", "error", "words"),
    [
        ("hdfs://namenode/x", StoreError, "no put that fails when the name is taken"),
        ("ftp://host/x", ConfigError, "unknown scheme 'ftp'"),
        ("https://host/x", ConfigError, "unknown scheme 'https'"),
        ("s3://key:password@bucket/x", ConfigError, "password"),
        ("az://container/x?sig=abc", ConfigError, "query"),
    ],
)
def test_urls_that_cannot_carry_messages_are_refused(url, error, words):
    with pytest.raises(error, match=words):
        StoreRef(url).open()


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        ("s3://bucket/x", {"regoin": "eu"}, "regoin"),
        ("s3://bucket/x", {"region": "eu", "timeout": "soon"}, "cannot be set up"),
        ("s3://bucket/x", {"region": "eu", "max_retries": "many"}, "cannot be set up"),
        ("file:///tmp/x", {"region": "eu"}, "has no option 'region'"),
    ],
)
def test_wrong_options_are_configuration_errors(url, options, words):
    with pytest.raises(ConfigError, match=words):
        StoreRef(url, tuple(options.items())).open()


# ---- failures ------------------------------------------------------------------------------------------------------


class Forgetful(Store):
    """A store that ignores the condition of a create, as some S3 look-alikes do."""

    def create(self, name: str, data: bytes) -> bool:
        self.replace(name, data)
        return True


class Polite(Forgetful):
    """... and says that it did not."""

    def create(self, name: str, data: bytes) -> bool:
        taken = self.size(name) is not None
        return super().create(name, data) and not taken


@pytest.mark.parametrize("kind", [Forgetful, Polite])
def test_a_store_without_create_only_puts_is_refused(store, kind):
    double = kind("s3://old-gateway/x", store._backend)
    with pytest.raises(StoreError, match=r"s3://old-gateway/x cannot carry messages.*If-None-Match"):
        double.probe("runs/x")
    assert store.list() == []


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "Free space"),
        (errno.EACCES, "right to list, read"),
        (errno.EROFS, "read-only"),
        (errno.EDQUOT, "Free"),
    ],
)
def test_a_full_or_closed_disk_is_named_with_object_and_remedy(tmp_path, monkeypatch, number, remedy):
    store = StoreRef(f"file://{tmp_path}/exchange").open()

    def put(*_, **__):
        raise OSError(number, {errno.EDQUOT: "Disk quota exceeded"}.get(number) or os.strerror(number))

    monkeypatch.setattr(obstore, "put", put)
    for write in (store.create, store.replace, store.keep):
        with pytest.raises(StoreError, match=rf"Writing runs/a in file://.*/exchange failed.*{remedy}"):
            write("runs/a", b"x")
    monkeypatch.undo()
    assert store.list() == []


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for url in (f"file://{tmp_path}/file", f"file://{tmp_path}/file/below"):
        with pytest.raises(StoreError, match=r"Opening file://.*A file stands where a directory is needed"):
            StoreRef(url).open()


def test_an_object_in_the_way_of_a_folder_is_named(tmp_path):
    store = StoreRef(f"file://{tmp_path}").open()
    store.create("a", b"x")
    with pytest.raises(StoreError, match=r"Writing a/b in .* failed.*A file stands where"):
        store.create("a/b", b"x")


def test_a_mount_point_that_is_not_there_is_not_created(tmp_path):
    with pytest.raises(StoreError, match=f"there is no directory {tmp_path}/mount.*Create the bucket or directory"):
        StoreRef(f"file://{tmp_path}/mount", (("create", "false"),)).open()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "a//b"])
def test_names_do_not_leave_the_store(tmp_path, name):
    store = StoreRef(f"file://{tmp_path}/exchange").open()
    with pytest.raises(StoreError, match="Writing"):
        store.create(name, b"x")
    assert list((tmp_path / "exchange").iterdir()) == []


def test_what_a_killed_writer_staged_is_no_object_and_in_nobodys_way(tmp_path):
    """A local store writes to NAME#1 and links that to NAME; a writer that is killed in between leaves NAME#1."""
    store = StoreRef(f"file://{tmp_path}").open()
    (tmp_path / "a#1").write_bytes(b"hal")
    assert store.list() == []
    assert store.size("a") is None
    assert store.create("a", b"whole")
    assert store.list() == [("a", 5)]


def test_keep_survives_a_writer_that_gave_up(store, monkeypatch):
    answers = iter([False, True])
    monkeypatch.setattr(Store, "create", lambda self, name, data: next(answers))
    store.keep("a", b"x")


def test_the_first_line_of_an_error_is_enough_and_shows_no_secret(store, monkeypatch):
    masked = Store("s3://b/x", store._backend, ("hunter2",))

    def head(*_):
        raise OSError("SignatureDoesNotMatch for hunter2.\n\nDebug source:\nGeneric {")

    monkeypatch.setattr(obstore, "head", head)
    with pytest.raises(StoreError) as caught:
        masked.size("a")
    expected = "Looking at a in s3://b/x failed: SignatureDoesNotMatch for ***. Check the access key and secret"
    assert str(caught.value).startswith(expected)


def test_a_taken_name_is_no_failure(store, monkeypatch):
    def put(*_, **__):
        raise AlreadyExistsError("a")

    monkeypatch.setattr(obstore, "put", put)
    assert not store.create("a", b"x")


# ---- S3 over HTTP --------------------------------------------------------------------------------------------------


class _S3(http.server.BaseHTTPRequestHandler):
    """Just enough of S3: PUT with If-None-Match, GET, HEAD, delete; and what a client sends."""

    objects: dict[str, bytes]
    requests: list[tuple[str, str, str]]
    conditional = True
    at_once: threading.Barrier | None = None  # for requests that delete many: then all are refused
    sealed = False

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, status: int, body: bytes = b"", size: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if size is None else size))
        self.send_header("ETag", '"x"')
        self.send_header("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.requests.append(("PUT", self.path, self.headers.get("Authorization", "")))
        if self.conditional and self.headers.get("If-None-Match") == "*" and self.path in self.objects:
            self._answer(412)
            return
        self.objects[self.path] = data
        self._answer(200)

    def do_GET(self) -> None:
        found = self.objects.get(self.path)
        self._answer(404) if found is None else self._answer(200, found)

    def do_HEAD(self) -> None:
        found = self.objects.get(self.path)
        self._answer(404) if found is None else self._answer(200, size=len(found))

    def do_DELETE(self) -> None:
        if not self.sealed:
            self.objects.pop(self.path.partition("?")[0], None)
        self._answer(403 if self.sealed else 204)

    def do_POST(self) -> None:
        """Deletes of several objects, which the client sends unless it is told not to."""
        if self.at_once is not None:
            self.at_once.wait()
            self._answer(403)
            return
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        for key in re.findall("<Key>(.*?)</Key>", body):
            self.objects.pop(f"{self.path.partition('?')[0]}/{key}", None)
        self._answer(200, b'<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></DeleteResult>')


@pytest.fixture
def s3(tmp_path):
    handler = type("Handler", (_S3,), {"objects": {}, "requests": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    (tmp_path / "secret").write_text("hunter2\n")
    (tmp_path / "secret").chmod(0o600)
    options = {
        "endpoint": f"http://127.0.0.1:{server.server_address[1]}",
        "allow_http": "true",
        "region": "eu-central-1",
        "access_key_id": "env:FEDSPARK_TEST_KEY",
        "secret_access_key": "file:secret",
        "max_retries": "0",
    }
    yield handler, StoreRef("s3://bucket/some/prefix", tuple(options.items()), str(tmp_path))
    server.shutdown()
    server.server_close()
    thread.join()


def test_s3_options_and_secret_references_reach_the_endpoint(s3, monkeypatch):
    handler, ref = s3
    monkeypatch.setenv("FEDSPARK_TEST_KEY", "AKIATEST")
    store = ref.open()
    store.probe("runs/x")
    store.keep("runs/a", b"x")
    store.keep("runs/a", b"x")
    with pytest.raises(Unequal):
        store.keep("runs/a", b"y")
    assert handler.objects == {"/bucket/some/prefix/runs/a": b"x"}
    method, path, authorization = handler.requests[-1]
    assert (method, path) == ("PUT", "/bucket/some/prefix/runs/a")
    assert "Credential=AKIATEST/" in authorization
    assert "/eu-central-1/s3/" in authorization


def test_an_s3_look_alike_that_ignores_conditions_is_refused(s3, monkeypatch):
    handler, ref = s3
    handler.conditional = False
    monkeypatch.setenv("FEDSPARK_TEST_KEY", "AKIATEST")
    with pytest.raises(StoreError, match="s3://bucket/some/prefix cannot carry messages"):
        ref.open().probe()
    assert handler.objects == {}


def test_a_secret_that_is_not_there_is_a_configuration_error(s3, monkeypatch):
    monkeypatch.delenv("FEDSPARK_TEST_KEY", raising=False)
    with pytest.raises(ConfigError, match="FEDSPARK_TEST_KEY"):
        s3[1].open()


def test_an_endpoint_that_does_not_answer_is_named():
    options = {"endpoint": "http://127.0.0.1:9", "allow_http": "true", "region": "x", "max_retries": "0"}
    keys = {"access_key_id": "a", "secret_access_key": "b"}
    store = StoreRef("s3://bucket", tuple((options | keys).items())).open()
    with pytest.raises(StoreError, match=r"Writing a in s3://bucket failed.*Check endpoint, network"):
        store.create("a", b"x")


@pytest.mark.parametrize("threads", [1, 2])
def test_objects_are_deleted_one_by_one_where_deletes_of_many_are_refused(s3, monkeypatch, threads):
    handler, ref = s3
    monkeypatch.setenv("FEDSPARK_TEST_KEY", "AKIATEST")
    store = ref.open()
    for name in "abcd":
        store.create(name, b"x")
    handler.at_once = threading.Barrier(threads, timeout=30)  # all ask for many before any is refused
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(store.delete_many, (["a"], ["b"])[:threads]))
    store.delete_many(["c"])
    assert sorted(handler.objects) == [f"/bucket/some/prefix/{name}" for name in ("bd" if threads == 1 else "d")]
    handler.sealed = True
    with pytest.raises(StoreError, match="Deleting d in s3://bucket/some/prefix failed"):
        store.delete("d")


@pytest.mark.parametrize("gone", [[], ["parts/00001"], ["parts/00000", "parts/01499"]])
def test_many_objects_are_deleted_at_once_whether_all_are_there_or_not(store, gone):
    names = [f"parts/{number:05d}" for number in range(1500)]
    for name in [*names, "parts/kept"]:
        store.create(name, b"x")
    for name in gone:
        store.delete(name)
    store.delete_many(names)
    assert [name for name, _ in store.list("parts")] == ["parts/kept"]
    store.delete_many([])
