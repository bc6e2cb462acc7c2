"""Records of the usual steps, built from the plain dictionaries and lists that steps have at hand.

The format is described in `fedspark.reports.run_report`; everything here is plain JSON values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Record = dict[str, Any]


def evaluation_record(
    evaluation: Mapping[str, Any], *, step: str = "evaluate", title: str = "Evaluation", rows: str = "validation rows"
) -> Record:
    """Headline, facts, tables and charts of ``Evaluation.to_record()`` (or its JSON read back)."""
    e = evaluation
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
            "calibration error": {"value": e["calibration_error"], "unit": "share"},
            f"accuracy at {e['threshold']:g}": {"value": e["accuracy"], "unit": "share"},
        },
        "charts": [
            {"kind": "roc", **e["roc_curve"], "auc": e["auc"]},
            {"kind": "ks", **e["ks_curve"], **{key: e[key] for key in ("ks", "ks_score", "ks_threshold")}},
            {"kind": "calibration", **_calibration(e["groups"]), "error": e["calibration_error"]},
            {"kind": "gain", **e["gain_curve"]},
            {"kind": "scores", **e["histogram"]},
        ],
        "tables": [_confusion_table(e), _threshold_table(e), _group_table(e["groups"])],
    }


def _calibration(groups: Sequence[Mapping[str, Any]]) -> Record:
    rising = list(reversed(groups))
    names = {"predicted": "mean_probability", "observed": "positive_share"}
    return {key: [group[name] for group in rising] for key, name in names.items()}


def _confusion_table(e: Mapping[str, Any]) -> Record:
    confusion = e["confusion"]
    return {
        "title": f"Called positive from probability {e['threshold']:g}",
        "columns": ["", "label 1", "label 0"],
        "rows": [
            ["called positive", confusion["tp"], confusion["fp"]],
            ["called negative", confusion["fn"], confusion["tn"]],
        ],
    }


def _threshold_table(e: Mapping[str, Any]) -> Record:
    shares = [{"name": name, "unit": "share"} for name in ("precision", "recall", "false alarms", "accuracy")]
    return {
        "title": "At other thresholds",
        "columns": ["from probability", "TP", "FP", "FN", "TN", *shares],
        "rows": [[f"{at:g}", *_at_threshold(confusion)] for at, confusion in e["at_thresholds"]],
        "note": "T, F: rightly and wrongly called P, positive, or N, negative. Precision: positives among the called; "
        "recall: called among the positives; false alarms: called among the negatives.",
    }


def _at_threshold(confusion: Mapping[str, int]) -> list[float | int | None]:
    tp, fp, fn, tn = (confusion[name] for name in ("tp", "fp", "fn", "tn"))
    shares = [(tp, tp + fp), (tp, tp + fn), (fp, fp + tn), (tp + tn, tp + fp + fn + tn)]
    return [tp, fp, fn, tn, *(part / whole if whole else None for part, whole in shares)]


def _group_table(groups: Sequence[Mapping[str, Any]]) -> Record:
    share = [{"name": name, "unit": "share"} for name in ("positive share", "mean probability", "gain")]
    keys = ("rows", "positives", "positive_share", "mean_probability", "gain", "lift", "cumulative_lift")
    return {
        "title": "Score deciles",
        "columns": ["group", "from probability", "rows", "positives", *share, "lift", "cumulative lift"],
        "rows": [
            [str(number), round(group["lowest_probability"], 4), *(group[key] for key in keys)]
            for number, group in enumerate(groups, 1)
        ],
        "note": "Ten groups of about equally many rows, highest scores first; equal scores are not parted. Gain: share "
        "of all positives down to here. Lift: positive share over that of all rows.",
    }


def coefficients_table(features: Iterable[Mapping[str, Any]]) -> Record:
    """Own coefficients, for standardised and raw units, of ``features``: name, mean, scale, weight, weight_raw."""
    return {
        "title": "Coefficients of our own features",
        "columns": [
            "feature",
            "mean",
            "deviation",
            "weight of a deviation",
            "weight of a unit",
            "odds ratio of a deviation",
        ],
        "rows": [
            [f["name"], _own(f["mean"]), _own(f["scale"]), f["weight"], _own(f["weight_raw"]), math.exp(f["weight"])]
            for f in sorted(features, key=lambda feature: -abs(feature["weight"]))
        ],
        "note": "Mean and deviation are of the training rows. The weight of a unit applies to the column as it is in "
        "the table.",
    }


def _own(value: float | None) -> str | None:
    """A number with digits of its own, for columns whose numbers differ by powers of ten."""
    return None if value is None else f"{value:.6g}"


def rounds_table(history: Iterable[Mapping[str, Any]]) -> Record:
    """Loss and squared length of the update, round by round, as far as this party was told."""
    rows = [[number, told.get("loss"), _own(told.get("change"))] for number, told in enumerate(history)]
    return {"title": "Rounds", "columns": ["round", "loss (nats a row)", "squared length of the update"], "rows": rows}


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
