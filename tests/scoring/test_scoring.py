from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from fedspark.buckets import SparkRunner
from fedspark.errors import Mismatch, PolicyRefused, StoreError, TableError
from fedspark.evaluation import ScoreCounts, probability
from fedspark.models.artifact import Feature, ModelPart, TrainingSplit
from fedspark.models.split import Rows
from fedspark.psi.align import Alignment
from fedspark.run import Run, Workspace
from fedspark.scoring import ScoreFiles, score_counts, send_scores, write_scores
from fedspark.scoring.output import score_table
from tests.federation import Federation
from tests.models.aligned import SALT, STEPS, People, align, people

WIDTHS = {1: {"guest": 3, "host": 4}, 2: {"guest": 2, "host1": 2, "host2": 3}}


def parts_of_a_model(table: People, model_id: str = "run/train") -> dict[str, ModelPart]:
    rng = np.random.default_rng(1)
    parts = {}
    for party, x in table.features.items():
        weights = rng.normal(size=x.shape[1])
        columns = zip(table.columns(party), x.mean(axis=0), x.std(axis=0), weights, strict=True)
        parts[party] = ModelPart(
            project="test",
            pipeline="test",
            model_id=model_id,
            party=party,
            role="guest" if party == "guest" else "host",
            members=[],
            objective="",
            l2=0.1,
            rows=len(x),
            stop="converged",
            split=TrainingSplit(salt=SALT, share=0.25),
            features=[
                Feature(name=name, mean=float(mean), scale=float(scale), weight=float(w), weight_raw=float(w / scale))
                for name, mean, scale, w in columns
            ],
            intercept=-0.5 if party == "guest" else None,
        )
    return parts


def clear_scores(table: People, parts: dict[str, ModelPart]) -> dict[str, float]:
    z = np.full(len(table.label), -0.5)
    for party, x in table.features.items():
        z += (x - x.mean(axis=0)) / x.std(axis=0) @ [feature.weight for feature in parts[party].features]
    return dict(zip(table.keys, z.tolist(), strict=True))


class Scene:
    def __init__(self, hosts: int, table: People | None = None, **settings: Any) -> None:
        self.federation = Federation(hosts=hosts, steps=STEPS, **settings)
        self.table = table or people(60, WIDTHS[hosts])
        self.parts = parts_of_a_model(self.table)
        self.alignments: dict[str, Alignment] = align(self.federation, self.table)

    def play(self, step: str, guest: Callable[[Run], Any], rows: Rows) -> Any:
        def host(name: str) -> Callable[[Run], None]:
            return lambda run: send_scores(run, self.parts[name], self.alignments[name], rows)

        hosts = {party.name: host(party.name) for party in self.federation.roster.hosts}
        return self.federation.play(step, {"guest": guest, **hosts})["guest"]

    def predict(self) -> ScoreFiles:
        result: ScoreFiles = self.play(
            "predict", lambda run: write_scores(run, self.parts["guest"], self.alignments["guest"]), Rows.ALL
        )
        return result

    def evaluate(self, rows: Rows) -> ScoreCounts:
        model, alignment = self.parts["guest"], self.alignments["guest"]
        result: ScoreCounts = self.play("evaluate", lambda run: score_counts(run, model, alignment, rows, (0.5,)), rows)
        return result

    def written(self, files: ScoreFiles, name: str) -> bytes:
        return self.federation.run("guest", "predict").workspace.read(f"{files.folder}/{name}")


@pytest.mark.parametrize("hosts", [1, 2])
def test_score_files_hold_every_person_once_with_the_score_of_the_whole_model(hosts: int) -> None:
    scene = Scene(hosts)
    files = scene.predict()
    expected = clear_scores(scene.table, scene.parts)
    parquet = [pq.read_table(io.BytesIO(scene.written(files, n))) for n in files.files if n.endswith(".parquet")]
    csv = [pa.csv.read_csv(io.BytesIO(scene.written(files, n))) for n in files.files if n.endswith(".csv")]
    for tables in (pa.concat_tables(parquet), pa.concat_tables([t for t in csv if t.num_rows])):
        assert tables.column_names == ["person", "score", "probability"]
        assert sorted(tables["person"].to_pylist()) == scene.table.keys
        z = np.array([expected[key] for key in tables["person"].to_pylist()])
        np.testing.assert_allclose(tables["score"].to_numpy(), z, atol=1e-9)
        np.testing.assert_allclose(tables["probability"].to_numpy(), probability(z), atol=1e-9)
    assert files.rows == 60


@pytest.mark.parametrize("hosts", [1, 2])
def test_an_only_host_does_not_send_scores_that_are_few_different_numbers(hosts: int) -> None:
    table = people(60, WIDTHS[hosts])
    table = replace(table, features={name: np.sign(x) for name, x in table.features.items()})
    policy = {name: {"min_distinct_scores": 20} for name in ("guest", "host", "host1", "host2")}
    scene = Scene(hosts, table, policy=policy)
    if hosts == 1:
        with pytest.raises(PolicyRefused, match=r"60 people are 15 different numbers.*min_distinct_scores \(20\)"):
            scene.predict()
        assert not any("scores-all" in name for name in scene.federation.objects(scene.federation.exchange))
    else:  # the guest learns sums only
        assert scene.predict().rows == 60


def test_an_only_host_with_one_feature_does_not_send_scores() -> None:
    scene = Scene(1, policy={"host": {"min_distinct_scores": 2}})
    scene.parts["host"] = replace_features(scene.parts["host"], 1)
    with pytest.raises(PolicyRefused, match="1 feature, so the guest could read it off"):
        scene.predict()


def replace_features(part: ModelPart, count: int) -> ModelPart:
    return part.model_copy(update={"features": part.features[:count]})


def test_the_manifest_names_every_file_and_success_is_written_last() -> None:
    scene = Scene(1)
    files = scene.predict()
    manifest = json.loads(scene.written(files, "manifest.json"))
    assert manifest["model_id"] == "run/train"
    assert manifest["rows"] == 60
    for entry in manifest["files"]:
        data = scene.written(files, entry["name"])
        assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["bytes"], entry["sha256"])
    assert scene.written(files, "_SUCCESS") == b""
    assert scene.predict() == files


@pytest.mark.parametrize("hosts", [1, 2])
@pytest.mark.parametrize("rows", [Rows.TRAINING, Rows.VALIDATION])
def test_counts_are_those_of_the_scores_of_the_chosen_people(hosts: int, rows: Rows) -> None:
    scene = Scene(hosts)
    chosen = scene.table.training(0.25) == (rows is Rows.TRAINING)
    z = np.array(list(clear_scores(scene.table, scene.parts).values()))
    expected = ScoreCounts.of(np.rint(z[chosen] * 2**32) / 2**32, scene.table.label[chosen], 0.5)
    counts = scene.evaluate(rows)
    assert counts.rows == int(chosen.sum())
    assert counts.result().auc == pytest.approx(expected.result().auc, abs=1e-9)
    assert counts.result().log_loss == pytest.approx(expected.result().log_loss, abs=1e-8)
    assert counts.confusions == expected.confusions


def test_with_several_hosts_the_guest_learns_only_the_sum() -> None:
    scene = Scene(2)
    scene.predict()
    guest = scene.federation.run("guest", "predict")
    columns, own = [], []
    for host in guest.roster.hosts:
        run, alignment = scene.federation.run(host.name, "predict"), scene.alignments[host.name]
        received = guest.receive("scores-all", host)
        words = [np.frombuffer(received_rows(received.read(part)), "<u8") for part in range(alignment.parts)]
        kept = [run.workspace.read(run.path(f"scores-all/part-{part:05d}.bin")) for part in range(alignment.parts)]
        columns.append(np.concatenate(words))
        own.append(np.frombuffer(b"".join(kept), "<u8"))
    assert (columns[0] + columns[1] == own[0] + own[1]).all()
    for sent, plain in zip(columns, own, strict=True):
        assert (sent != plain).all()
        assert len(set((sent - plain).tolist())) == len(sent)


def received_rows(data: bytes) -> bytes:
    with pa.ipc.open_stream(pa.BufferReader(data)) as reader:
        return b"".join(reader.read_all()["z"].to_pylist())


def test_a_host_with_another_model_is_refused() -> None:
    scene = Scene(1)
    scene.parts["host"] = scene.parts["host"].model_copy(update={"model_id": "other/train"})
    with pytest.raises(Mismatch, match="host scored with model 'other/train'"):
        scene.predict()


def test_scores_of_other_rows_than_ours_are_refused() -> None:
    scene = Scene(1)
    fewer = People({"host": scene.table.features["host"][:-1]}, scene.table.label[:-1])
    host = align(scene.federation, fewer, step="predict")["host"]

    def guest(run: Run) -> ScoreFiles:
        return write_scores(run, scene.parts["guest"], scene.alignments["guest"])

    roles = {"guest": guest, "host": lambda run: send_scores(run, scene.parts["host"], host, Rows.ALL)}
    with pytest.raises(Mismatch, match="were agreed"):
        scene.federation.play("predict", roles)


def test_a_table_without_a_feature_of_the_model_is_refused() -> None:
    scene = Scene(1)
    other = replace(scene.table, names={"host": ["host_0", "host_1", "host_2", "another"]})
    alignments = align(scene.federation, other, step="predict")
    with pytest.raises(TableError, match=r"lacks features.*host_3"):
        send_scores(scene.federation.run("host", "predict"), scene.parts["host"], alignments["host"], Rows.ALL)


@pytest.mark.parametrize(("value", "why"), [(np.nan, "missing or infinite values in host_1"), (1e300, "far outside")])
def test_rows_that_cannot_be_scored_are_refused_before_anything_is_sent(value: float, why: str) -> None:
    scene = Scene(1)
    x = scene.table.features["host"].copy()
    x[3, 1] = value
    spoiled = replace(scene.table, features={**scene.table.features, "host": x})
    alignments = align(scene.federation, spoiled, step="predict")
    run = scene.federation.run("host", "predict")
    with pytest.raises(TableError, match=why):
        send_scores(run, scene.parts["host"], alignments["host"], Rows.ALL)
    assert not run.mailbox.committed(run.address("scores-all", receiver=run.roster.guest))


def test_other_scores_than_those_kept_are_never_hidden_under_the_same_pads() -> None:
    scene = Scene(2)
    run = scene.federation.run("host1", "predict")
    run.workspace.create(run.path("scores-all/part-00000.bin"), b"other scores")
    with pytest.raises(StoreError):
        scene.predict()


def test_a_killed_prediction_that_is_run_again_leaves_the_same_files(monkeypatch: pytest.MonkeyPatch) -> None:
    calm, shaken = Scene(1), Scene(1)
    calm.predict()
    with monkeypatch.context() as patch:
        patch.setattr("fedspark.run.workspace.Workspace.keep", killing(after=3))
        with pytest.raises(KeyboardInterrupt):
            shaken.predict()
    shaken.predict()
    for name in ("guest", "host"):
        left = [scene.federation.objects(scene.federation.files(name)) for scene in (calm, shaken)]
        assert left[0] == left[1]


def killing(after: int) -> Callable[..., None]:
    real, left = Workspace.keep, [after]

    def keep(workspace: Workspace, path: str, data: bytes) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        real(workspace, path, data)

    return keep


def test_an_id_column_called_score_keeps_its_prefix() -> None:
    rows = pa.table({"key": ["a"], "id.score": ["a"], "id.person": ["b"]})
    assert score_table(rows, np.zeros(1)).column_names == ["id.score", "person", "score", "probability"]


def test_ids_are_written_as_the_source_has_them_also_where_they_are_the_key() -> None:
    rows = pa.table({"key": ["7", "8"], "id.person": ["007", None], "id.clinic": pa.nulls(2, "string")})
    written = score_table(rows, np.zeros(2))
    assert written.select(["person", "clinic"]).to_pydict() == {"person": ["007", "8"], "clinic": ["7", "8"]}


@pytest.mark.spark
def test_spark_tasks_write_the_same_scores_as_tasks_in_process(spark: Any, tmp_path: Any) -> None:
    left = []
    for name, settings in (("plain", {}), ("spark", {"runner": lambda: SparkRunner(lambda: spark)})):
        scene = Scene(2, base=str(tmp_path / name), **settings)
        scene.predict()
        left.append(scene.federation.objects(scene.federation.files("guest")))
    assert left[0] == left[1]
