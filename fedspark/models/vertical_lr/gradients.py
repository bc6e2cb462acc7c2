"""Preconditioned conjugate gradients, split into what a data party keeps and what the arbiter decides.

J is quadratic, so one gradient at a trial point says everything about a direction: with v = w + p,
H p = g(v) - g(w) = g(v) + r, where r = -g(w) is the residual. Each party holds its own slices of w, r, z = M^-1 r and
p, M being the block diagonal of the parties' own Hessian blocks. The arbiter gets sums over parties of a few products
and returns the two numbers that everybody needs:

    alpha = r'p / p'Hp            (exact minimum along p)
    beta  = -z+'Hp / p'Hp         (the new direction is conjugate to p; z+ = z - alpha M^-1 H p)

Hestenes and Stiefel 1952; block preconditioner: Concus, Golub and O'Leary 1976. With two parties, exact arithmetic ends
after at most twice the smaller number of columns, plus one, whatever the rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from fedspark.errors import Mismatch
from fedspark.models.vertical_lr.maths import Floats, apply, dot

PRODUCTS = ("residual_p", "p_hessian_p", "z_hessian_p", "hessian_p_z", "p_p", "penalty")
"""What each party adds up for the arbiter: r'p, p'Hp, z'Hp, (Hp)'M^-1(Hp), p'p and l2/2 |v|^2."""

STOPS = ("", "converged", "optimum", "max_rounds")
START_LOSS = math.log(2.0)
_CONSISTENT = 1e-6


@dataclass(frozen=True, eq=False)
class State:
    """One party's slices between rounds, float64[F] each: weights w, residual r = -gradient, z = M^-1 r, next p."""

    w: Floats
    r: Floats
    z: Floats
    p: Floats

    @classmethod
    def start(cls, w: Floats) -> State:
        """Before round 0: the trial point is ``w`` itself."""
        zero = np.zeros_like(w)
        return cls(w, zero, zero, zero)

    @property
    def trial(self) -> Floats:
        """Where the next round evaluates gradient and loss."""
        return self.w + self.p

    def to_json(self) -> dict[str, list[float]]:
        return {field.name: getattr(self, field.name).tolist() for field in fields(self)}

    @classmethod
    def from_json(cls, value: dict[str, list[float]]) -> State:
        return cls(**{name: np.array(numbers, dtype=np.float64) for name, numbers in value.items()})


@dataclass(frozen=True, eq=False)
class Turn:
    """One party's side of a round, once its gradient at the trial point is known: H p and M^-1 H p, float64[F]."""

    state: State
    hessian_p: Floats
    preconditioned: Floats

    @classmethod
    def of(cls, state: State, gradient: Floats, inverse: Floats, first: bool) -> Turn:
        """In the first round there is no direction yet: the gradient at the start gives r and z."""
        if first:
            r = -gradient
            return cls(State(state.w, r, apply(inverse, r), state.p), np.zeros_like(r), np.zeros_like(r))
        hessian_p = gradient + state.r
        return cls(state, hessian_p, apply(inverse, hessian_p))

    def products(self, penalty: Floats) -> dict[str, float]:
        """This party's addends of `PRODUCTS`; ``penalty`` is l2 per column (0 for the intercept)."""
        s, trial = self.state, self.state.trial
        return {
            "residual_p": dot(s.r, s.p),
            "p_hessian_p": dot(s.p, self.hessian_p),
            "z_hessian_p": dot(s.z, self.hessian_p),
            "hessian_p_z": dot(self.hessian_p, self.preconditioned),
            "p_p": dot(s.p, s.p),
            "penalty": dot(penalty, trial * trial) / 2,
        }

    def update(self, alpha: float, beta: float) -> State:
        """The state after the arbiter's numbers."""
        s = self.state
        z = s.z - alpha * self.preconditioned
        return State(s.w + alpha * s.p, s.r - alpha * self.hessian_p, z, z + beta * s.p)


@dataclass(frozen=True)
class Decision:
    """What the arbiter finds after a round: step lengths, why to stop ('' = go on), and what the update did.

    ``loss`` is J after the update, ``decrease`` how far the update lowered it, ``change`` the update's squared norm.
    """

    alpha: float
    beta: float
    stop: str
    loss: float
    decrease: float
    change: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def decide(
    products: dict[str, float], trial_loss: float | None, history: Sequence[Decision], max_rounds: int, tolerance: float
) -> Decision:
    """The arbiter's rule, from summed `PRODUCTS`, the mean Taylor loss at the trial point and earlier decisions.

    With several hosts ``trial_loss`` is None: J then follows from ln 2 at the start, w = 0, and its decreases.

    Stops when the update lowered J by at most ``tolerance`` (with several hosts: when its squared norm is at most
    that), after ``max_rounds`` updates, or at an exact optimum. Mismatch when loss and products contradict each other.
    """
    if not all(math.isfinite(value) for value in (*products.values(), trial_loss or 0.0)):
        raise _contradiction("one is not a finite number")
    curvature, slope = products["p_hessian_p"], products["residual_p"]
    at_trial = None if trial_loss is None else trial_loss + products["penalty"]
    if not history:
        return Decision(0.0, 0.0, "", START_LOSS if at_trial is None else at_trial, 0.0, 0.0)
    before = history[-1].loss
    if slope <= 0.0 or curvature <= 0.0:
        # Rounding decides a sign only where nothing is left to gain: at the optimum itself.
        return Decision(0.0, 0.0, "optimum", before, 0.0, 0.0)
    alpha = slope / curvature
    beta = -(products["z_hessian_p"] - alpha * products["hessian_p_z"]) / curvature
    decrease, change = alpha * slope / 2, alpha * alpha * products["p_p"]
    loss = before - decrease
    if at_trial is not None:
        loss = at_trial + slope - curvature / 2 - decrease
        if abs(before - decrease - loss) > _CONSISTENT * (1.0 + abs(at_trial)):
            raise _contradiction(f"J went from {before:.9g} to {loss:.9g}, and should fall by {decrease:.9g}")
    if (change if at_trial is None else decrease) <= tolerance:
        stop = "converged"
    else:
        stop = "max_rounds" if len(history) >= max_rounds else ""
    return Decision(alpha, beta, stop, loss, decrease, change)


def _contradiction(what: str) -> Mismatch:
    return Mismatch(
        f"The parties' sums of a training round do not fit together: {what}.",
        remedy="All parties must run one version of fedspark on the aligned rows of this run; start a new run.",
    )
