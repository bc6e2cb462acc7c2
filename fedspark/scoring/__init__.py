"""Apply a model to aligned people: hosts send partial scores, the guest adds them up, counts them or writes them, to
files and to tables of its own.
"""

from fedspark.scoring.delivery import Delivery, check_sinks, deliver, sink_schema
from fedspark.scoring.output import ScoreFiles, write_scores
from fedspark.scoring.partial import score_counts, send_scores

__all__ = [
    "Delivery",
    "ScoreFiles",
    "check_sinks",
    "deliver",
    "score_counts",
    "send_scores",
    "sink_schema",
    "write_scores",
]
