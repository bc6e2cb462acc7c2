"""A predict step with ``join: left`` writes every row of the guest's table once, scored or with nulls."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from fedspark.conf import PredictOptions
from fedspark.models import artifact
from fedspark.models.artifact import Feature, ModelPart, TrainingSplit
from fedspark.psi import ot
from fedspark.run import Run
from fedspark.steps import predict
from fedspark.steps import psi as step
from tests.federation import Federation
from tests.psi.people import names, source, staged

TABLES = {
    "some": {"guest": staged(names(0, 40)), "host": staged(names(20, 70))},
    "all": {"guest": staged(names(0, 40)), "host": staged(names(0, 70))},
    "nobody": {"guest": staged(names(0, 40)), "host": staged(names(40, 70))},
}


def model_of(run: Run) -> ModelPart:
    guest = run.me.name == "guest"
    return ModelPart(
        project="test",
        pipeline="test",
        model_id="run/train",
        party=run.me.name,
        role="guest" if guest else "host",
        members=[],
        objective="",
        l2=0.1,
        rows=60,
        stop="converged",
        split=TrainingSplit(salt="salt", share=0.25),
        features=[Feature(name="number", mean=2.0**31, scale=2.0**30, weight=1.0, weight_raw=2.0**-30)],
        intercept=-0.5 if guest else None,
    )


def scored(
    monkeypatch: pytest.MonkeyPatch, tables: Mapping[str, pa.Table], protocol: str, join: str
) -> tuple[Federation, dict[str, bytes]]:
    options: dict[str, Any] = {"step": "predict", "table": "people", "model_run": "1", "protocol": protocol}
    options |= {"join": join, "bucket_rows": 16}
    federation = Federation(
        steps=[{"step": "load", "tables": ["people"]}, options],
        policy={name: {"min_scored": 0} for name in ("guest", "host")},
    )
    monkeypatch.setattr(ot, "BUCKETS_PER_PART", 2)
    monkeypatch.setattr(step, "staged_source", lambda run, table: (None, source(tables[run.me.name])))
    monkeypatch.setattr(artifact, "load", lambda run, *_, **__: model_of(run))
    asked = federation.pipeline.step("predict")
    assert isinstance(asked, PredictOptions)
    federation.play("predict", {name: lambda run: predict.run_step(run, asked) for name in tables})
    workspace = federation.run("guest", "predict").workspace
    prefix = workspace.name("steps/predict/scores/")
    left = federation.objects(federation.files("guest"))
    return federation, {name.removeprefix(prefix): data for name, data in left.items() if name.startswith(prefix)}


def rows_of(files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    tables = [pq.read_table(io.BytesIO(data)) for name, data in files.items() if name.endswith(".parquet")]
    rows: list[dict[str, Any]] = pa.concat_tables(tables).to_pylist()
    return rows


@pytest.mark.parametrize("protocol", ["ecdh", "ot", "auto"])
@pytest.mark.parametrize("who", sorted(TABLES))
def test_every_row_of_the_guest_is_written_once(monkeypatch: pytest.MonkeyPatch, who: str, protocol: str):
    tables = TABLES[who]
    federation, files = scored(monkeypatch, tables, protocol, "left")
    rows = rows_of(files)
    assert sorted(row["pid"] for row in rows) == sorted(names(0, 40))
    common = set(tables["guest"]["key"].to_pylist()) & set(tables["host"]["key"].to_pylist())
    for row in rows:
        assert set(row) == {"pid", "score", "probability"}
        assert (row["score"] is not None) == (row["probability"] is not None) == (row["pid"] in common)
    manifest = json.loads(files["manifest.json"])
    assert (manifest["rows"], manifest["unmatched"]) == (40, 40 - len(common))
    facts = federation.run("guest", "predict").read_record("predict")
    assert facts is not None
    assert facts["headline"] == {"people scored": len(common)}
    assert facts["facts"]["our other rows, kept without columns of the hosts"] == 40 - len(common)


def test_the_csv_says_nothing_where_there_is_no_score(monkeypatch: pytest.MonkeyPatch):
    _, files = scored(monkeypatch, TABLES["some"], "ecdh", "left")
    lines = [line for name, data in files.items() if name.endswith(".csv") for line in data.decode().splitlines()[1:]]
    assert len(lines) == 40
    assert sum(line.endswith(",,") for line in lines) == 20


def test_scores_of_common_people_are_those_of_an_inner_join(monkeypatch: pytest.MonkeyPatch):
    _, inner = scored(monkeypatch, TABLES["some"], "ecdh", "inner")
    _, left = scored(monkeypatch, TABLES["some"], "ecdh", "left")
    assert rows_of(inner) == [row for row in rows_of(left) if row["score"] is not None]
    assert json.loads(inner["manifest.json"])["unmatched"] == 0
