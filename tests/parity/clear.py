"""The optimiser as the parties play it, without encryption: the package's own fixed point and its own steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fedspark.conf.options import TrainOptions
from fedspark.models.vertical_lr import encoding, maths
from fedspark.models.vertical_lr.gradients import PRODUCTS, Decision, State, Turn, decide
from tests.parity.pooled import Floats, Standardised

DEFAULTS = TrainOptions(table="people")


@dataclass(frozen=True, eq=False)
class Found:
    """Weights float64[F + 1], intercept last, and what the arbiter decided round by round."""

    weights: Floats
    history: list[Decision]

    @property
    def rounds(self) -> int:
        """Updates of the weights."""
        return len(self.history) - 1

    @property
    def stop(self) -> str:
        return self.history[-1].stop


def train(data: Standardised, widths: Mapping[str, int], options: TrainOptions = DEFAULTS) -> Found:
    """Rounds until the arbiter's rule says stop; the first party of ``widths`` is the guest, with the intercept."""
    rows = len(data.y)
    y = data.y.astype(np.int64)
    ends = np.cumsum(list(widths.values()))
    columns = [data.x[:, end - width : end] for end, width in zip(ends, widths.values(), strict=True)]
    units = [np.abs(part).max(axis=0, initial=0.0) / encoding.X_MOST for part in columns]
    x = [encoding.quantise(part, np.zeros(len(unit)), unit) for part, unit in zip(columns, units, strict=True)]
    real = [part * unit for part, unit in zip(x, units, strict=True)]
    units[0], real[0] = np.append(units[0], 1.0), np.column_stack([real[0], np.ones(rows)])
    penalties = [np.full(part.shape[1], options.l2) for part in real]
    penalties[0][-1] = 0.0
    blocks = [maths.gram(part) / (4 * rows) + np.diag(l2) for part, l2 in zip(real, penalties, strict=True)]
    inverses = [maths.inverse_block(block, ["?"] * len(block)) for block in blocks]
    code = encoding.Encoding.agree(options.key_bits, rows, len(widths))

    states, history = [State.start(np.zeros(len(l2)), rows) for l2 in penalties], list[Decision]()
    while not (history and history[-1].stop):
        u = [code.predictor(part, s.trial * unit) for part, s, unit in zip(x, states, units, strict=True)]
        d = (code.residual(u[0], y) + sum(u[1:])) * 2.0**-code.fraction
        turns = [
            Turn.of(state, part.T @ d / rows + l2 * state.trial, inverse, first=not history)
            for state, part, l2, inverse in zip(states, real, penalties, inverses, strict=True)
        ]
        addends = [turn.products(l2) for turn, l2 in zip(turns, penalties, strict=True)]
        products = {name: sum(each[name] for each in addends) for name in PRODUCTS}
        z = sum(u) * 2.0 ** (2 - code.fraction)
        loss = float(np.mean(np.log(2) - y * z / 2 + z**2 / 8)) if len(widths) == 2 else None
        history.append(decide(products, loss, history, rows, options.max_rounds, options.tolerance))
        states = [turn.update(history[-1].alpha, history[-1].beta) for turn in turns]
    guest, *hosts = (state.w for state in states)
    return Found(np.concatenate([guest[:-1], *hosts, guest[-1:]]), history)
