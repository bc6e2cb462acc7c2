"""Vertical logistic regression with an arbiter: the objective's optimum, without any party seeing another's rows.

``maths`` is what one party computes, ``gradients`` the optimiser, ``design`` the way from aligned rows to a matrix,
``tasks`` the work on one part, ``protocol`` who says what to whom.
"""

from fedspark.models.vertical_lr.protocol import train
from fedspark.models.vertical_lr.side import Trained

__all__ = ["Trained", "train"]
