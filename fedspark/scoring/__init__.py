"""Apply a model to aligned people: hosts send partial scores, the guest adds them up, counts them or writes them."""

from fedspark.scoring.output import ScoreFiles, write_scores
from fedspark.scoring.partial import score_counts, send_scores

__all__ = ["ScoreFiles", "score_counts", "send_scores", "write_scores"]
