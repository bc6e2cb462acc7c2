"""The main job on real data, on this machine: a hospital, a laboratory and an authority train and score together.

    python conf/example/demo.py [DIRECTORY]        (make demo)

Splits scikit-learn's breast-cancer table by column between a hospital (the label and ten features, CSV) and a
laboratory (twenty features, Parquet), gives every party keys, a workspace and the example files beside this script,
runs ``fedspark local``, and compares the federated model with what the hospital could have done alone and with what
one owner of all columns could have done.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss, roc_auc_score, roc_curve

from fedspark.conf import load_party, load_pipeline
from fedspark.crypto.hashing import split_fraction
from fedspark.exchange.inbox import inbox
from fedspark.run.opening import pinned_roster, place_of

EXAMPLE = Path(__file__).resolve().parent
PARTIES = ("hospital", "laboratory", "authority")
RUN = "1"
NEWCOMERS = 69  # patients without a label, to be scored at the end
HELD_SHARE = 0.9  # each party holds this share of the patients, so both hold about 80 %
SEED = 2026

Columns = dict[str, np.ndarray]


def main(arguments: list[str]) -> int:
    directory = Path(arguments[0] if arguments else ".demo")
    shutil.rmtree(directory, ignore_errors=True)
    tables = make_tables()
    set_up(directory, tables)
    print(f"Three parties, one process each, over {directory}/exchange as object storage:")
    started = time.monotonic()
    code = subprocess.call([sys.executable, "-m", "fedspark", "local", str(directory / "local.yaml"), "--run", RUN])
    seconds = time.monotonic() - started
    if code:
        return code
    summary = summarise(directory, tables, seconds)
    (directory / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    show(directory, summary)
    return 0


# ---- data ------------------------------------------------------------------------------------------------------------


def make_tables() -> dict[str, Columns]:
    """Four tables with string patient ids, in different row orders, each party with about 90 % of the patients."""
    data = load_breast_cancer()
    names = [name.replace(" ", "_") for name in data.feature_names]
    random = np.random.default_rng(SEED)
    ids = np.array([f"P-{number:06d}" for number in random.choice(10**6, len(data.target), replace=False)])
    everyone = random.permutation(len(ids))
    groups = {"newcomers": everyone[:NEWCOMERS], "patients": everyone[NEWCOMERS:]}
    tables = {}
    for party, columns in {"hospital": range(10, 20), "laboratory": [*range(10), *range(20, 30)]}.items():
        for table, people in groups.items():
            held = random.permutation(people)[: round(HELD_SHARE * len(people))]
            content: Columns = {"patient_id": ids[held]}
            if (party, table) == ("hospital", "patients"):
                content["malignant"] = 1 - data.target[held]
            tables[f"{party}_{table}"] = content | {names[c]: data.data[held, c] for c in columns}
    return tables


def set_up(directory: Path, tables: dict[str, Columns]) -> None:
    """The example files, the parties' tables beside them, and a fresh identity key for everyone."""
    directory.mkdir(parents=True)
    for file in EXAMPLE.glob("*.yaml"):
        shutil.copy(file, directory)
    (directory / "data").mkdir()
    for name, columns in tables.items():
        table = pa.table(columns)
        if name.startswith("hospital"):
            lines = [",".join(table.column_names), *(",".join(map(str, row.values())) for row in table.to_pylist())]
            (directory / "data" / f"{name}.csv").write_text("\n".join(lines) + "\n")
        else:
            pq.write_table(table, directory / "data" / f"{name}.parquet")
    for party in PARTIES:
        keygen = [sys.executable, "-m", "fedspark", "keygen", party, "--out", str(directory / "keys")]
        subprocess.run(keygen, check=True, stdout=subprocess.DEVNULL)


# ---- the same models in one place ------------------------------------------------------------------------------------


def baselines(tables: dict[str, Columns], l2: float, validation: float, salt: str) -> dict[str, dict[str, float]]:
    """Quality on the validation people of models that see only the hospital's columns, or all columns in clear."""
    hospital, laboratory = tables["hospital_patients"], tables["laboratory_patients"]
    common, mine, theirs = np.intersect1d(hospital["patient_id"], laboratory["patient_id"], return_indices=True)
    labels = hospital["malignant"][mine]
    own = np.column_stack(
        [column[mine] for name, column in hospital.items() if name not in ("patient_id", "malignant")]
    )
    other = np.column_stack([column[theirs] for name, column in laboratory.items() if name != "patient_id"])
    held_out = split_fraction(common.tolist(), salt) < validation

    def quality(features: np.ndarray, exact: bool) -> dict[str, float]:
        train = features[~held_out]
        standardised = (features - train.mean(axis=0)) / train.std(axis=0)
        fit = fit_exact if exact else fit_taylor
        model = fit(standardised[~held_out], labels[~held_out], l2)
        return measure(
            labels[held_out], standardised[held_out] @ model.coef_.ravel() + float(np.ravel(model.intercept_)[0])
        )

    pooled = np.hstack([own, other])
    return {
        "guest_only": quality(own, exact=False),
        "pooled_same_objective": quality(pooled, exact=False),
        "pooled_exact": quality(pooled, exact=True),
    }


def fit_taylor(features: np.ndarray, labels: np.ndarray, l2: float) -> Ridge:
    """mean(ln2 - y z/2 + z^2/8) + l2/2 |w|^2 is, up to a constant, ridge regression on 2y with alpha = 4 l2 N."""
    return Ridge(alpha=4 * l2 * len(labels)).fit(features, 2.0 * (2 * labels - 1))


def fit_exact(features: np.ndarray, labels: np.ndarray, l2: float) -> LogisticRegression:
    return LogisticRegression(C=1 / (l2 * len(labels)), max_iter=10_000, tol=1e-8).fit(features, labels)


def measure(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    false_positive, true_positive, _ = roc_curve(labels, scores)
    return {
        "auc": float(roc_auc_score(labels, scores)),
        "ks": float(np.max(true_positive - false_positive)),
        "log_loss": float(log_loss(labels, 1 / (1 + np.exp(-scores)))),
    }


# ---- what came out ---------------------------------------------------------------------------------------------------


def summarise(directory: Path, tables: dict[str, Columns], seconds: float) -> dict[str, Any]:
    pipeline = load_pipeline(directory / "pipeline.yaml")
    party = load_party(directory / "hospital.yaml")
    place = place_of(party, pipeline, RUN)
    train: Any = pipeline.step("train")
    models = baselines(tables, train.l2, train.validation, train.split_salt)
    evaluation = place.workspace.read_json("steps/evaluate/validation.json")
    models = {"federated": {metric: evaluation[metric] for metric in ("auc", "ks", "log_loss")}, **models}
    sent: dict[str, dict[str, int]] = {name: {"messages": 0, "bytes": 0} for name in PARTIES}
    for name in PARTIES:
        for entry in inbox(place.exchange, place.prefix, pinned_roster(party, pipeline), name):
            if entry.address.sender == name:
                sent[name]["messages"] += 1
                sent[name]["bytes"] += entry.bytes
    psi = place.workspace.read_json("steps/psi/psi/alignment.json")
    return {
        "intersection": psi["rows"],
        **{metric: {name: model[metric] for name, model in models.items()} for metric in ("auc", "ks", "log_loss")},
        "seconds": round(seconds, 1),
        "bytes_sent": {name: counts["bytes"] for name, counts in sent.items()},
        "messages_sent": {name: counts["messages"] for name, counts in sent.items()},
    }


def show(directory: Path, summary: dict[str, Any]) -> None:
    console = Console()
    quality = Table("model", title=f"{summary['intersection']} patients in common, quality on those held out")
    for title in ("AUC", "KS", "log-loss"):
        quality.add_column(title, justify="right")
    titles = {
        "federated": "federated",
        "guest_only": "the hospital alone",
        "pooled_same_objective": "all columns in one place, same objective",
        "pooled_exact": "all columns in one place, exact logistic loss",
    }
    for name, title in titles.items():
        quality.add_row(title, *(f"{summary[metric][name]:.4f}" for metric in ("auc", "ks", "log_loss")))
    console.print(quality)
    sent = Table("party", title="what each party sent, sealed")
    for title in ("messages", "bytes"):
        sent.add_column(title, justify="right")
    for name in PARTIES:
        sent.add_row(name, f"{summary['messages_sent'][name]:,}", f"{summary['bytes_sent'][name]:,}")
    console.print(sent)
    run = directory / "work/hospital/runs/breast-cancer/demo" / RUN
    print(f"scores:  {run}/steps/predict/scores/")
    print(f"model:   {run}/steps/train/model.json (the hospital's part; the laboratory holds its own)")
    print(f"report:  {run}/report.html")
    print(f"figures: {directory}/summary.json")
    print(f"{summary['seconds']:.0f} s from the first process's start to the last one's end")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
