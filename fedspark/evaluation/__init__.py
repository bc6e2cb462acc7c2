"""How good a model's scores are: AUC, KS, log-loss and accuracy from counts that are added up over parts."""

from fedspark.evaluation.counts import ScoreCounts
from fedspark.evaluation.metrics import Confusion, Evaluation, KsCurve, RocCurve, ScoreHistogram, probability

__all__ = ["Confusion", "Evaluation", "KsCurve", "RocCurve", "ScoreCounts", "ScoreHistogram", "probability"]
