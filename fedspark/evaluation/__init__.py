"""How good a model's scores are: AUC, KS, log-loss, calibration, lift, from counts that are added up over parts."""

from fedspark.evaluation.counts import MOST_THRESHOLDS, ScoreCounts
from fedspark.evaluation.metrics import (
    Confusion,
    Evaluation,
    GainCurve,
    KsCurve,
    RocCurve,
    ScoreGroup,
    ScoreHistogram,
    probability,
)

__all__ = [
    "MOST_THRESHOLDS",
    "Confusion",
    "Evaluation",
    "GainCurve",
    "KsCurve",
    "RocCurve",
    "ScoreCounts",
    "ScoreGroup",
    "ScoreHistogram",
    "probability",
]
