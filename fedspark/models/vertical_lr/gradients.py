"""Preconditioned conjugate gradients, split into what a data party keeps and what the arbiter decides.

J is quadratic, so one gradient at a trial point says everything about a direction: with v = w + c p,
c H p = g(v) - g(w) = g(v) + r, where r = -g(w) is the residual. Each party holds its own slices of w, r, z = M^-1 r and
p, M being the block diagonal of the parties' own Hessian blocks. The arbiter gets sums over parties of a few products
and returns the two numbers that everybody needs:

    alpha = r'p / p'Hp            (exact minimum along p)
    beta  = -z+'Hp / p'Hp         (the new direction is conjugate to p; z+ = z - alpha M^-1 H p)

Directions get shorter from round to round, rounding errors of scores do not: so c, the ``reach``, is the power of two
that makes c p about 2^-s times as long as the first direction was, and H p stays as exact as in the first round. The
length follows from the betas: in the norm of M, |p+|^2 = rho+ + beta^2 |p|^2 with rho+ = beta rho, where rho = r'z.

s follows from the number N of rows. A single row may carry up to sqrt(4 N leverage) of a direction's length, and must
stay below the bound of `encoding`; the errors of N rounded scores average out to 1/sqrt(N). So every fourfold N above a
thousand halves c: with two parties c p adds at most about 2^7 to either part of a score, and H p is as exact as with
fewer rows.

Hestenes and Stiefel 1952; block preconditioner: Concus, Golub and O'Leary 1976. With two parties, exact arithmetic ends
after at most twice the smaller number of columns, plus one, whatever the rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from fedspark.errors import Mismatch
from fedspark.models.vertical_lr.maths import Floats, apply, dot

PRODUCTS = ("residual_p", "p_hessian_p", "z_hessian_p", "hessian_p_z", "p_p", "penalty")
"""What each party adds up for the arbiter: r'p, p'Hp, z'Hp, (Hp)'M^-1(Hp), p'p and l2/2 |v|^2."""

STOPS = ("", "converged", "optimum", "max_rounds")
START_LOSS = math.log(2.0)
_CONSISTENT = 1e-6
_MOST_REACH = 40
_FULL_REACH_BITS = 10  # rows of at most so many bits are tried at the full length


_SLICES = ("w", "r", "z", "p")


@dataclass(frozen=True)
class Lengths:
    """rho = r'z and |p|^2 in the norm of M, both relative to those of the first direction; c p is ``halvings`` times
    halved (s above).
    """

    halvings: int
    rho: float = 1.0
    direction: float = 1.0

    @classmethod
    def of(cls, rows: int) -> Lengths:
        """Those of the first direction, where ``rows`` train."""
        return cls(max(0, (rows.bit_length() - _FULL_REACH_BITS) // 2))

    @property
    def reach(self) -> float:
        """c: a power of two."""
        wanted = math.floor(-math.log2(self.direction) / 2) - self.halvings
        return 2.0 ** min(max(wanted, -_MOST_REACH), _MOST_REACH)

    def after(self, beta: float) -> Lengths:
        """Of the next direction. Without a beta a new series begins, of which nothing is known."""
        rho = abs(beta) * self.rho
        direction = rho + beta * beta * self.direction
        return Lengths(self.halvings, rho, direction) if direction > 0.0 else Lengths(self.halvings)


@dataclass(frozen=True, eq=False)
class State:
    """One party's slices between rounds, float64[F] each: weights w, residual r = -gradient, z = M^-1 r, next p; and
    how far along p the next trial point is.
    """

    w: Floats
    r: Floats
    z: Floats
    p: Floats
    lengths: Lengths

    @classmethod
    def start(cls, w: Floats, rows: int) -> State:
        """Before round 0: the trial point is ``w`` itself; ``rows`` train."""
        zero = np.zeros_like(w)
        return cls(w, zero, zero, zero, Lengths.of(rows))

    @property
    def trial(self) -> Floats:
        """Where the next round evaluates gradient and loss."""
        return self.w + self.lengths.reach * self.p

    def to_json(self) -> dict[str, Any]:
        slices = {name: getattr(self, name).tolist() for name in _SLICES}
        return {**slices, "lengths": asdict(self.lengths)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> State:
        slices = {name: np.array(value[name], dtype=np.float64) for name in _SLICES}
        return cls(**slices, lengths=Lengths(**value["lengths"]))


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
            begun = replace(state, r=r, z=apply(inverse, r))
            return cls(begun, np.zeros_like(r), np.zeros_like(r))
        hessian_p = (gradient + state.r) / state.lengths.reach
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
        lengths = s.lengths.after(beta)
        return State(s.w + alpha * s.p, s.r - alpha * self.hessian_p, z, z + beta * s.p, lengths)


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


def reached(history: Sequence[Decision], rows: int) -> float:
    """How far along its direction the next trial point lies, as every party finds it too."""
    lengths = Lengths.of(rows)
    for decision in history:
        lengths = lengths.after(decision.beta)
    return lengths.reach


def decide(
    products: dict[str, float],
    trial_loss: float | None,
    history: Sequence[Decision],
    rows: int,
    max_rounds: int,
    tolerance: float,
    warm: bool = False,
) -> Decision:
    """The arbiter's rule, from summed `PRODUCTS`, the mean Taylor loss of ``rows`` at the trial point and earlier
    decisions.

    With several hosts, or weighted rows, ``trial_loss`` is None: J then follows from ln 2 at the start, w = 0, and its
    decreases. ``warm``: the first direction was chosen by nobody's gradient, it is an earlier model. The best step
    along it (none, if it leads upwards) is where conjugate gradients then start afresh, with beta 0.

    Stops when the update lowered J by at most ``tolerance`` (with several hosts: when its squared norm is at most
    that), after ``max_rounds`` updates, or at an exact optimum. Mismatch when loss and products contradict each other.
    """
    if not all(math.isfinite(value) for value in (*products.values(), trial_loss or 0.0)):
        raise _contradiction("one is not a finite number")
    curvature, slope = products["p_hessian_p"], products["residual_p"]
    at_trial = None if trial_loss is None else trial_loss + products["penalty"]
    if not history:
        return Decision(0.0, 0.0, "", START_LOSS if at_trial is None else at_trial, 0.0, 0.0)
    before, first = history[-1].loss, warm and len(history) == 1
    last = "max_rounds" if len(history) >= max_rounds else ""
    if first and (slope <= 0.0 or curvature <= 0.0):
        return Decision(0.0, 0.0, last, before, 0.0, 0.0)
    if slope <= 0.0 or curvature <= 0.0:
        # Rounding decides a sign only where nothing is left to gain: at the optimum itself.
        return Decision(0.0, 0.0, "optimum", before, 0.0, 0.0)
    alpha = slope / curvature
    beta = 0.0 if first else -(products["z_hessian_p"] - alpha * products["hessian_p_z"]) / curvature
    decrease, change = alpha * slope / 2, alpha * alpha * products["p_p"]
    loss = before - decrease
    if at_trial is not None:
        reach = reached(history, rows)
        loss = at_trial + reach * slope - reach * reach * curvature / 2 - decrease
        if abs(before - decrease - loss) > _CONSISTENT * (1.0 + abs(at_trial)):
            raise _contradiction(f"J went from {before:.9g} to {loss:.9g}, and should fall by {decrease:.9g}")
    converged = (change if at_trial is None else decrease) <= tolerance and not first
    stop = "converged" if converged else last
    return Decision(alpha, beta, stop, loss, decrease, change)


def _contradiction(what: str) -> Mismatch:
    return Mismatch(
        f"The parties' sums of a training round do not fit together: {what}.",
        remedy="All parties must run one version of fedspark on the aligned rows of this run; start a new run.",
    )
