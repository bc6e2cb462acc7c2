"""Opening a run: names, seeds, keys, waits and their deadline over restarts."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from fedspark.crypto.identity import new_identity, private_text, public_bytes
from fedspark.errors import Absent, ConfigError, Mismatch, NotReady, Stopped, StoreError
from fedspark.exchange.store import Store
from fedspark.party import identity_text
from fedspark.run import Progress, Run, open_run
from fedspark.run import opening as module
from fedspark.run.opening import keep_seed, place_of
from tests.example import LABEL, PARTIES, Example, identity, secret

HOUR = 3600.0


@pytest.fixture
def example(tmp_path: Path) -> Example:
    return Example.make(tmp_path / "example", tables={})


def opened(example: Example, name: str, label: str = LABEL, **settings: object) -> Run:
    settings = {"wait_seconds": 0.0, "progress": Progress(quiet=True), **settings}
    return open_run(example.party(name), example.pipeline(), label, **settings)


# ---- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["1", "2026-08-01", "A_b.c", "x" * 64])
def test_a_label_becomes_a_folder_at_every_place_of_the_run(example, label):
    place = place_of(example.party("hospital"), example.pipeline(), label)
    folder = f"breast-cancer/demo/{label}"
    assert (place.prefix, place.workspace.prefix, place.status.prefix) == (folder, f"runs/{folder}", f"status/{folder}")
    assert place.workspace.url("report.html").endswith(f"work/hospital/runs/{folder}/report.html")


@pytest.mark.parametrize("label", ["", "../up", "a/b", ".hidden", "-x", "a b", "é", "x" * 65, "1\n"])
def test_a_label_that_could_leave_its_folder_is_refused_and_nothing_is_written(example, label):
    before = example.paths("")
    with pytest.raises(ConfigError, match="cannot be the name of a run"):
        opened(example, "hospital", label)
    assert example.paths("") == before


# ---- the seed --------------------------------------------------------------------------------------------------------


def test_the_seed_lies_in_the_workspace_sealed_and_only_once(example):
    example.greet()
    stored = example.workspace_file("hospital", "seed.sealed")
    seed = secret("seed", "hospital")
    assert seed not in stored
    run = opened(example, "hospital")
    assert run._seed == seed
    assert example.workspace_file("hospital", "seed.sealed") == stored
    assert seed.hex() not in repr(run)
    assert repr(seed)[2:-1] not in repr(run)


def test_without_a_seed_put_beforehand_every_run_draws_its_own(example):
    for label in ("a", "b"):
        with pytest.raises(NotReady):
            opened(example, "hospital", label)
    seeds = set()
    for label in ("a", "b"):
        place = place_of(example.party("hospital"), example.pipeline(), label)
        seeds.add(module._seed(place.workspace, identity("hospital").private_bytes_raw()))
    assert len(seeds) == 2
    assert all(len(seed) == 32 for seed in seeds)


def test_a_seed_that_is_there_is_not_replaced_by_another(example):
    with pytest.raises(StoreError, match="written before with other content"):
        keep_seed(example.place("hospital").workspace, identity("hospital").private_bytes_raw(), bytes(32))


def test_another_identity_key_than_the_run_began_with_is_a_configuration_error(example):
    before = example.paths("exchange")
    (example.directory / "keys/hospital.key").write_text(private_text(new_identity()))
    with pytest.raises(ConfigError) as caught:
        opened(example, "hospital")
    assert "does not open with our identity key" in caught.value.message
    assert "seed.sealed" in caught.value.message
    assert "`identity`" in str(caught.value.remedy)
    assert example.paths("exchange") == before


def test_a_damaged_seed_is_our_own_fault_and_not_a_peers(example):
    workspace = example.place("hospital").workspace
    for damaged in (b"", b"\x07" + bytes(80), bytes(2000)):
        workspace.store.replace(workspace.name("seed.sealed"), damaged)
        with pytest.raises(ConfigError, match="does not open with our identity key"):
            opened(example, "hospital")


def test_resume_refuses_a_run_that_was_never_begun(example):
    with pytest.raises(ConfigError, match=r"no run other of pipeline demo to resume.*Leave out --resume"):
        opened(example, "hospital", "other", resume_only=True)
    assert example.paths("exchange") == []


# ---- keys and stores -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "rule"),
    [("not a key", "is not a private identity key"), ("", "is empty"), (None, "cannot be read")],
)
def test_a_wrong_key_file_is_named_and_its_content_is_not_shown(example, content, rule):
    path = example.directory / "keys/hospital.key"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(ConfigError, match=rule) as caught:
        opened(example, "hospital")
    assert "keys/hospital.key" in str(caught.value)
    assert "not a key" not in str(caught.value)


def test_a_wrong_key_of_a_peer_stops_the_run_with_both_keys(example):
    wrong, right = (identity_text(public_bytes(key)) for key in (new_identity(), identity("laboratory")))
    example.edit("hospital", peers={"laboratory": wrong})
    with pytest.raises(NotReady):
        opened(example, "laboratory")
    with pytest.raises(Mismatch) as caught:
        opened(example, "hospital")
    assert wrong in str(caught.value)
    assert right in str(caught.value)
    with pytest.raises(Stopped, match="hospital refused the handshake: Mismatch about laboratory"):
        opened(example, "laboratory")


def test_a_store_without_create_only_puts_is_refused_before_anything_is_kept_there(example, monkeypatch):
    monkeypatch.setattr(Store, "create", lambda self, name, data: self.replace(name, data) or True)
    with pytest.raises(StoreError, match="cannot carry messages"):
        opened(example, "hospital", "new")
    assert not any("new" in path for path in example.paths(""))


# ---- waiting ---------------------------------------------------------------------------------------------------------


def test_a_wait_that_ends_leaves_the_awaited_object_and_the_deadline_for_the_scheduler(example):
    with pytest.raises(NotReady) as caught:
        opened(example, "hospital")
    status = example.place("hospital").status.get("handshake")
    assert status["state"] == "waiting"
    assert status["awaited"] == "breast-cancer/demo/1/hello/laboratory.json"
    assert status["from"] == "laboratory"
    assert status["deadline"] == pytest.approx(time.time() + 72 * HOUR, abs=60)
    assert status["awaited"] in caught.value.message


def at(monkeypatch: pytest.MonkeyPatch, hours: float) -> None:
    """Let the clock with which waits are noted show ``hours`` from now."""
    now = time.time() + hours * HOUR
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: now))


def test_the_deadline_counts_from_the_first_wait_over_all_restarts(example, monkeypatch):
    at(monkeypatch, -71.9)
    with pytest.raises(NotReady):
        opened(example, "hospital")
    at(monkeypatch, 0)
    with pytest.raises(NotReady):
        opened(example, "hospital")
    assert example.place("hospital").status.get("handshake")["deadline"] == pytest.approx(time.time() + 360, abs=60)
    example.edit("hospital", policy={"deadline_hours": 71.8})
    with pytest.raises(Absent, match=r"hello of laboratory never came.*71\.8 hours is over") as caught:
        opened(example, "hospital")
    assert "policy.deadline_hours" in str(caught.value.remedy)


def test_a_longer_deadline_lets_an_overdue_run_go_on(example, monkeypatch):
    at(monkeypatch, -73)
    with pytest.raises(Absent):
        opened(example, "hospital")
    example.edit("hospital", policy={"deadline_hours": 100})
    with pytest.raises(NotReady):
        opened(example, "hospital")


def test_every_awaited_object_has_a_deadline_of_its_own(example, monkeypatch):
    at(monkeypatch, -71)
    with pytest.raises(NotReady):
        opened(example, "hospital")
    with pytest.raises(NotReady):
        opened(example, "laboratory")
    at(monkeypatch, 0)
    with pytest.raises(NotReady):
        opened(example, "hospital")
    status = example.place("hospital").status.get("handshake")
    assert status["awaited"].endswith("hello/authority.json")
    assert status["deadline"] == pytest.approx(time.time() + 72 * HOUR, abs=60)


def test_long_waits_are_said_now_and_then(example, capsys):
    place, said = example.place("hospital"), []
    progress = Progress("hospital")
    progress.say = said.append  # type: ignore[method-assign]
    waiting = module._waiting(place, example.party("hospital"), 1.0, progress)
    for awaited, waited in [("a", 1.0), ("a", 14.0), ("a", 16.0), ("a", 20.0), ("a", 31.5), ("b", 2.0), ("b", 15.5)]:
        waiting.on_wait(awaited, waited)
    assert said == ["waiting for a (16 s, at most 1 s)", "waiting for a (32 s)", "waiting for b (16 s)"]


def test_a_wait_for_hellos_names_all_who_have_not_said_it(example):
    place, said = example.place("hospital"), []
    progress = Progress("hospital")
    progress.say = said.append  # type: ignore[method-assign]
    waiting = module._waiting(place, example.party("hospital"), 60.0, progress, ["laboratory", "authority"])
    hello = "breast-cancer/demo/1/hello/{}.json"
    waiting.on_wait(hello.format("laboratory"), 16.0)
    place.exchange.open().create(hello.format("laboratory"), b"{}")
    waiting.on_wait(hello.format("authority"), 16.0 + 15.0)
    assert said == [
        "waiting for hello of laboratory and authority (16 s, at most 60 s)",
        "waiting for hello of authority (31 s)",
    ]


def test_a_step_that_waits_inside_a_running_process_says_so_in_its_status(example, monkeypatch):
    at(monkeypatch, 0)
    place, progress = example.place("hospital"), Progress("hospital", quiet=True)
    progress.step = "train"
    waiting = module._waiting(place, example.party("hospital"), 600.0, progress)
    place.status.put("train", "running")
    begun = place.status.get("train")
    message = "breast-cancer/demo/1/abc/train/0003/{}.0/laboratory.hospital/manifest"
    waiting.on_wait(message.format("u"), 0.5)
    assert place.status.get("train") == begun
    waiting.on_wait(message.format("u"), 2.0)
    record = place.status.get("train")
    assert (record["state"], record["since"]) == ("running", begun["since"])
    assert record["awaits"] == "u (round 3) of laboratory"
    assert record["seen"] - record["awaits_since"] == pytest.approx(2.0, abs=1.0)
    waiting.on_wait(message.format("v"), 3.0)
    assert place.status.get("train") == record, "not more often than every 15 seconds"
    at(monkeypatch, 20 / HOUR)
    waiting.on_wait(message.format("v"), 23.0)
    assert place.status.get("train")["awaits"] == "v (round 3) of laboratory"


def test_a_new_wait_in_the_handshake_replaces_what_an_earlier_process_left(example):
    with pytest.raises(NotReady):
        opened(example, "hospital")
    place = example.place("hospital")
    waiting = module._waiting(place, example.party("hospital"), 600.0, Progress(quiet=True))
    waiting.on_wait("breast-cancer/demo/1/hello/laboratory.json", 2.0)
    record = place.status.get("handshake")
    assert (record["state"], record["awaits"]) == ("running", "hello of laboratory")
    assert "awaited" not in record


def test_a_run_says_once_where_it_looks_and_what_to_compare_when_nobody_is_there(example, capsys):
    with pytest.raises(NotReady) as caught:
        opened(example, "hospital", progress=Progress("hospital"))
    place = example.place("hospital")
    said = capsys.readouterr().err
    assert said.count(f"exchange {place.exchange.url}, workspace {place.workspace.url('')}") == 1
    assert f"We look in {place.exchange.url}." in str(caught.value)
    assert "No peer has said hello there: compare exchange.url" in str(caught.value)
    with pytest.raises(NotReady):
        opened(example, "laboratory")
    with pytest.raises(NotReady) as caught:
        opened(example, "hospital")
    assert f"We look in {place.exchange.url}." in str(caught.value)
    assert "compare exchange.url" not in str(caught.value)


# ---- the run ---------------------------------------------------------------------------------------------------------


def test_all_parties_open_the_same_run_and_open_it_again_without_waiting(example):
    example.greet()
    runs = {name: opened(example, name) for name in PARTIES}
    assert len({run.id for run in runs.values()}) == 1
    before = example.files("exchange")
    assert opened(example, "hospital").id == runs["hospital"].id
    assert example.files("exchange") == before


def test_spark_starts_at_the_first_use_and_once(example, monkeypatch):
    started = []
    monkeypatch.setattr(module, "probe_executors", lambda session, workspace: None)
    monkeypatch.setattr(module, "start_session", lambda conf, name: started.append(name) or "session")
    monkeypatch.setattr(module, "probe_executors", lambda session, workspace: None)
    example.greet()
    run = opened(example, "hospital")
    assert started == []
    assert (run.spark, run.at("psi").spark) == ("session", "session")
    assert started == ["fedspark demo 1 hospital"]
