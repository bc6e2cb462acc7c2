"""Records of the usual steps, built from the plain dictionaries and lists that steps have at hand.

The format is described in `fedspark.reports.run_report`; everything here is plain JSON values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Record = dict[str, Any]


def evaluation_record(
    evaluation: Mapping[str, Any], *, step: str = "evaluate", title: str = "Evaluation", rows: str = "validation rows"
) -> Record:
    """Headline, facts, confusion table, ROC, KS and histogram of ``Evaluation.to_record()`` (or its JSON read back)."""
    e = evaluation
    confusion = e["confusion"]
    return {
        "step": step,
        "kind": "evaluate",
        "title": title,
        "headline": {"AUC": e["auc"], "KS": e["ks"], "log-loss": e["log_loss"]},
        "facts": {
            rows: e["rows"],
            "positives": e["positives"],
            "positive share": {"value": e["positives"] / e["rows"], "unit": "share"},
            "mean probability": {"value": e["mean_probability"], "unit": "share"},
            "AUC": e["auc"],
            "KS": e["ks"],
            "log-loss (nats a row)": e["log_loss"],
            "Brier score": e["brier"],
            f"accuracy at {e['threshold']:g}": {"value": e["accuracy"], "unit": "share"},
        },
        "charts": [
            {"kind": "roc", **e["roc_curve"], "auc": e["auc"]},
            {"kind": "ks", **e["ks_curve"], **{key: e[key] for key in ("ks", "ks_score", "ks_threshold")}},
            {"kind": "scores", **e["histogram"]},
        ],
        "tables": [
            {
                "title": f"Called positive from probability {e['threshold']:g}",
                "columns": ["", "label 1", "label 0"],
                "rows": [
                    ["called positive", confusion["tp"], confusion["fp"]],
                    ["called negative", confusion["fn"], confusion["tn"]],
                ],
            }
        ],
    }


def loss_chart(losses: Sequence[float], *, note: str = "") -> Record:
    """Loss per round (nats a row), linear."""
    series = [{"name": "loss", "values": list(losses)}]
    rounds = list(range(len(losses)))  # round 0 is the start
    words = {"title": "Loss by round", "y_label": "loss (nats a row)", "note": note}
    return {"kind": "rounds", "rounds": rounds, "series": series, **words}


def update_chart(norms: Sequence[float], *, note: str = "") -> Record:
    """Norm of the change of the weights per round, logarithmic."""
    series = [{"name": "update norm", "values": list(norms)}]
    return {
        "kind": "rounds",
        "title": "Size of the update by round",
        "y_label": "norm of the change of the weights",
        "log": True,
        "series": series,
        "note": note,
    }


def coefficients_chart(coefficients: Mapping[str, float]) -> Record:
    """This party's own coefficients by feature name."""
    return {"kind": "coefficients", "names": list(coefficients), "values": list(coefficients.values())}


def traffic_record(rows: Iterable[Mapping[str, Any]], *, step: str = "traffic") -> Record:
    """Chart and table of what was sent, by party and step.

    ``rows``: ``{"party", "step", "messages", "bytes"}``, any number of rows a party and step, in the order to be shown.
    """
    listed = [{key: row[key] for key in ("party", "step", "messages", "bytes")} for row in rows]
    total: dict[str, list[int]] = {}
    for row in listed:
        sums = total.setdefault(row["party"], [0, 0])
        sums[0] += row["messages"]
        sums[1] += row["bytes"]
    columns = ["party", "messages", {"name": "sent", "unit": "bytes"}]
    return {
        "step": step,
        "title": "What left the building",
        "text": "All that this party put into the exchange, sealed for its receiver, in bytes as they lie there.",
        "charts": [{"kind": "traffic", "title": "Bytes sent by step", "rows": listed}],
        "tables": [
            {"title": "Sent in all", "columns": columns, "rows": [[party, *sums] for party, sums in total.items()]}
        ],
    }
