"""What guest and host have in common: set-up, the end of a round, rounds until the arbiter says stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from fedspark.conf.options import TrainOptions
from fedspark.crypto.encoding import decode
from fedspark.crypto.paillier import Ciphertexts, Derived, PublicKey
from fedspark.errors import ConfigError, CryptoError, Mismatch
from fedspark.models import artifact, pads
from fedspark.models.artifact import ModelPart
from fedspark.models.pads import Pads
from fedspark.models.split import Split
from fedspark.models.vertical_lr import design, messages
from fedspark.models.vertical_lr.design import Design
from fedspark.models.vertical_lr.encoding import Encoding
from fedspark.models.vertical_lr.gradients import PRODUCTS, START_LOSS, State, Turn
from fedspark.models.vertical_lr.maths import Floats
from fedspark.models.vertical_lr.messages import STEP, Facts
from fedspark.models.vertical_lr.tasks import Partials, Rows, to_message
from fedspark.party import Party, Role
from fedspark.psi.align import Alignment
from fedspark.run import Run

OBJECTIVE = "mean(ln2 - y z/2 + z^2/8) + l2/2 |w|^2, y in {-1, +1}, features standardised, intercept not penalised"

Played = dict[str, Any]
"""{"state": the party's slices after the round, "told": the arbiter's `go`}: the checkpoint of a round."""

_NEARLY_ALL = 0.9


@dataclass(frozen=True)
class Trained:
    """How training ended: why it stopped, what this party was told of each round, its part (arbiter: None), and what
    people should know.
    """

    stop: str
    history: list[dict[str, Any]]
    part: ModelPart | None = None
    warnings: tuple[str, ...] = ()

    @property
    def rounds(self) -> int:
        """Updates of the weights."""
        return len(self.history) - 1


@dataclass(frozen=True)
class Side:
    """A data party between rounds."""

    run: Run
    options: TrainOptions
    design: Design
    encoding: Encoding
    public: PublicKey
    pads: Pads
    start: Floats | None

    @classmethod
    def set_up(cls, run: Run, alignment: Alignment, options: TrainOptions) -> Side:
        """Own statistics and matrix, agreement on sizes, the arbiter's key, pads with the other data parties."""
        people, balanced = Split(options.split_salt, options.validation), options.class_weight == "balanced"
        mine = design.build(run, alignment, people, options.l2, balanced)
        for warning in mine.warnings:
            run.progress.say(f"warning: {warning}")
        start, model = earlier_weights(run, options, mine)
        facts = tell_sizes(run, Facts(mine.total, mine.width, mine.order, mine.weighted, model))
        encoding = agree(run, options, facts)
        if run.role is Role.GUEST:  # nobody else knows what the rows weigh
            messages.check_hosts(facts, run.roster.hosts, mine.effective)
        check_rows(mine, encoding)
        try:
            public = PublicKey.from_json(run.receive("key", arbiter_of(run)).json(), options.key_bits)
        except CryptoError as error:
            raise Mismatch(f"The arbiter's key is refused: {error.message}", remedy=error.remedy) from None
        return cls(run, options, mine, encoding, public, pads.agree(run, run.roster.data_parties), start)

    @property
    def total(self) -> int:
        """Training rows."""
        return self.design.total

    @property
    def has_loss(self) -> bool:
        """Whether the arbiter is sent the loss: with one host, where rows have no weights."""
        return sends_loss(self.run, self.encoding)

    def rows(self, state: State) -> Rows:
        """The training rows at the trial point."""
        return Rows.at(self.design, state.trial, self.public, self.encoding)

    def partials(self, what: str, number: int) -> Partials:
        """Where a round's encrypted sums over single parts lie."""
        return Partials(self.run.workspace, self.run.path(f"rounds/{number:04d}/sums/{what}"))

    # ---- rounds ------------------------------------------------------------------------------------------------------

    def iterate(self, play: Callable[[Side, int, State], Played]) -> Trained:
        """Rounds until the arbiter says stop; each ends in a checkpoint, from which a restart continues."""
        run, state, history = self.run, State.start(np.zeros(self.design.width), self.total), list[dict[str, Any]]()
        while not (history and history[-1]["stop"]):
            number = len(history)
            played = run.once(f"rounds/{number:04d}/checkpoint", partial(play, self, number, state))
            run.workspace.remove(run.path(f"rounds/{number:04d}/sums"))
            state = State.from_json(played["state"])
            if number == 0 and self.start is not None:
                state = replace(state, p=self.start)
            history.append(played["told"])
            run.progress.say(messages.describe(number, played["told"]))
        part = self.to_part(state.w, history)
        artifact.save(run, part)
        return Trained(history[-1]["stop"], history, part, (*self.design.warnings, *self._last_warnings(history)))

    def close_round(self, number: int, state: State, own_loss: int = 0) -> Played:
        """From encrypted sums to the next state: messages g, opened, loss, sums and go."""
        run, to = self.run, arbiter_of(self.run)
        opened = self.open_gradient(number)
        if self.has_loss and run.role is Role.GUEST:
            self.send_loss(number, own_loss, float(sum((opened * state.trial).tolist())))
        slope = opened / self.total + self.design.penalty * state.trial
        turn = Turn.of(state, slope, self.design.inverse, first=number == 0)

        products = run.once(f"rounds/{number:04d}/products", lambda: turn.products(self.design.penalty))
        hidden = self.pads.hide([products[name] for name in PRODUCTS], "sums", number)
        run.send("sums", to, {"sums": [f"{value:x}" for value in hidden]}, round=number)
        told = messages.read_go(run.receive("go", to, round=number).json(), run.role is Role.GUEST)
        return {"state": turn.update(told["alpha"], told["beta"]).to_json(), "told": told}

    def open_gradient(self, number: int) -> Floats:
        """X'd of our columns, float64[F], not divided by N: the arbiter opens our sums' slots under our masks."""
        run, to, layout = self.run, arbiter_of(self.run), self.encoding.layout
        summed = self._total("gradient", number, self.encoding.d_fraction)
        aligned, digest = layout.align(summed), summed.content_digest()
        masks = layout.masks(run.stream("g", number, "mask", digest), len(aligned))
        masked = aligned.add_plain(masks)
        run.send("g", to, to_message(masked.for_owner(run.stream("g", number, "nonce", digest))), round=number)
        slots = messages.read_numbers(run.receive("opened", to, round=number).json(), "opened", to, len(masks))
        sums = [layout.unmask(slot, mask) for slot, mask in zip(slots, masks, strict=True)]
        shifts = [self.encoding.d_offset * each for each in self._column_sums()]
        plain = [value - shift for value, shift in zip(sums, shifts, strict=True)]
        return decode(plain, self.encoding.d_fraction) * self.design.units

    def _column_sums(self) -> list[int]:
        """What an offset of 1 in every slot adds to our sums: padded rows count for the intercept, which is no column
        of the matrix.
        """
        layout = self.encoding.layout
        padded = sum(layout.ciphertexts(rows) * layout.slots for rows in self.design.rows)
        return [*self.design.sums, *([padded] if self.design.intercept else [])]

    def send_loss(self, number: int, own: int, slope: float) -> None:
        """[[sum z^2/8 - yz/2]], with z = a + h: v'X_g'd - sum a^2/8 of ours, sum h^2/8 - sum yh/2 of the host's."""
        run, layout, fraction = self.run, self.encoding.layout, self.encoding.loss_fraction
        summed = self._total("loss", number, fraction)
        digest, at = summed.content_digest(), (layout.slots - 1) * layout.slot_bits
        raw, size = summed.to_private(), layout.slots * self.public.width
        crossed = layout.align(Derived.from_private(self.public, raw[:size], fraction))
        squares = Derived.from_private(self.public, raw[size:], fraction).multiply_plain([1 << at])
        plain = own + round(slope * 2.0**fraction)
        (mask,) = layout.masks(run.stream("loss", number, "mask", digest, plain), 1)
        loss = crossed.add(squares).add_plain([(plain << at) + layout.showing(mask)])
        sent: Ciphertexts = loss.for_owner(run.stream("loss", number, "nonce", digest, plain))
        run.send("loss", arbiter_of(run), to_message(sent), round=number)

    def _total(self, what: str, number: int, scale: int) -> Derived:
        partials = self.partials(what, number)
        return partials.total(self.run, f"round {number}: sums", self.design.parts, self.public, scale)

    # ---- what is left ------------------------------------------------------------------------------------------------

    def _last_warnings(self, history: list[dict[str, Any]]) -> list[str]:
        if history[-1].get("loss") is None or (START_LOSS - history[-1]["loss"]) * 2 < _NEARLY_ALL:
            return []
        # The Taylor loss is ln 2 - 1/2 where z = 2 y for every row.
        warning = (
            "The features all but determine the label by a linear rule, so the classes are (nearly) separable: only l2 "
            "keeps the weights finite. Were all features known before the label was?"
        )
        self.run.progress.say(f"warning: {warning}")
        return [warning]

    def to_part(self, w: Floats, history: list[dict[str, Any]]) -> ModelPart:
        """Our part of the model."""
        run, options, columns = self.run, self.options, self.design.columns
        told = [{name: value for name, value in told.items() if name not in STEP} for told in history]
        return ModelPart(
            project=run.pipeline.project,
            pipeline=run.pipeline.pipeline,
            model_id=f"{run.id}/{run.step_name}",
            party=run.me.name,
            role=run.role,
            members=[artifact.Member(name=party.name, role=party.role.value) for party in run.roster],
            objective=OBJECTIVE + (", rows weighted" if self.encoding.weighted else ""),
            l2=options.l2,
            rows=self.total,
            stop=history[-1]["stop"],
            split=artifact.TrainingSplit(salt=options.split_salt, share=options.validation),
            features=[
                artifact.Feature(
                    name=column.name,
                    mean=column.mean,
                    scale=column.scale,
                    weight=weight,
                    weight_raw=weight / column.scale,
                )
                for column, weight in zip(columns, w.tolist(), strict=False)
            ],
            intercept=float(w[-1]) if self.design.intercept else None,
            history=[artifact.Round(**values) for values in told],
        )


# ---- set-up, also the arbiter's --------------------------------------------------------------------------------------


def tell_sizes(run: Run, mine: Facts) -> dict[str, Facts]:
    """Tell everybody the sizes of our matrix and hear those of the other data parties; what must not be is refused."""
    others = [party for party in run.roster.data_parties if party.name != run.me.name]
    for other in others:
        run.send("facts", other, vars(mine))
    run.send("facts", arbiter_of(run), vars(mine) | {"order": "", "start": ""})
    return {run.me.name: mine} | {
        party.name: messages.read_facts(run.receive("facts", party).json(), party) for party in others
    }


def agree(run: Run, options: TrainOptions, facts: dict[str, Facts]) -> Encoding:
    """The encoding of this training, from what data parties said; refuses before anything is encrypted."""
    rows = messages.check_facts(facts)
    messages.check_hosts(facts, run.roster.hosts)
    return Encoding.agree(options.key_bits, rows, len(facts), facts[run.roster.guest.name].weighted)


def check_rows(mine: Design, encoding: Encoding) -> None:
    """Mismatch unless the parts hold exactly the rows that slots have room for: sums over more would run over."""
    if sum(mine.rows) != encoding.layout.rows:
        raise Mismatch(
            f"The {mine.parts} parts of this party hold {sum(mine.rows):,} training rows, and sums over "
            f"{encoding.layout.rows:,} were agreed.",
            remedy="The files of the run were changed, or parties have different rows; start a new run label.",
        )


def sends_loss(run: Run, encoding: Encoding) -> bool:
    """Whether the guest sends the encrypted loss."""
    return len(run.roster.hosts) == 1 and not encoding.weighted


def earlier_weights(run: Run, options: TrainOptions, mine: Design) -> tuple[Floats | None, str]:
    """Where training starts, float64[F] for our standardised columns, and the id of that model; None, "": at zero."""
    named = options.warm_start
    if named is None:
        return None, ""
    model = artifact.load(run, named.step, label=named.run, pipeline=named.pipeline)
    known = {feature.name: feature for feature in model.features}
    pairs = [(column, known[column.name]) for column in mine.columns if column.name in known]
    weights = {column.name: feature.weight_raw * column.scale for column, feature in pairs}
    start = [weights.get(column.name, 0.0) for column in mine.columns]
    if mine.intercept:
        moved = sum(feature.weight_raw * (column.mean - feature.mean) for column, feature in pairs)
        start.append((model.intercept or 0.0) + moved)
    new = [column.name for column in mine.columns if column.name not in known]
    run.progress.say(f"starts from model {model.model_id}" + (f"; {', '.join(new)} at 0" if new else ""))
    return np.array(start), model.model_id


def arbiter_of(run: Run) -> Party:
    if run.roster.arbiter is None:
        raise ConfigError("This model needs an arbiter.", remedy="Name one under parties in the pipeline file.")
    return run.roster.arbiter
