"""Vertical logistic regression with an arbiter: Hardy et al. 2017 ("Private federated learning on vertically
partitioned data via entity resolution and additively homomorphic encryption") with conjugate gradients for SGD.

The guest has the label and perhaps features, every host features of the same people, the arbiter a Paillier key and no
data. They minimise the mean Taylor loss ln 2 - yz/2 + z^2/8 plus l2/2 |w|^2 (`maths`). A round evaluates the exact
gradient at one trial point v = w + p for all parties at once (`gradients`); round 0 does so at the start, w = 0.

Messages, in order. N training rows, F columns of the party, 2|n| bits per ciphertext (512 bytes at 2048):

    once    facts    data parties -> all            rows, columns; to data parties also a digest of the rows' order
            key      arbiter -> data parties        n
            pad_key  data parties, pairwise         X25519 public key, for pads that hide the products from the arbiter
    round   u        host -> guest                  [[u/4]] per row, u = X v; with one host [[sum u^2/8]] per part
            d        guest -> each host             [[d]] per row, d = (sum of all u)/4 - y/2, re-randomised for each
            g        data party -> arbiter          [[X'd + mask]], 20 or so columns packed into one ciphertext,
                                                    masks uniform modulo n
            loss     guest -> arbiter (one host)    [[sum yz/2 + z^2/8]], one ciphertext
            opened   arbiter -> data party          X'd + mask modulo n, packed alike
            sums     data party -> arbiter          six products (`gradients.PRODUCTS`) under pads that cancel
            go       arbiter -> data party          alpha, beta, stop; to the guest also loss, decrease and change

A party adds the penalty's gradient l2 w to its own opened gradient itself, so neither l2 w nor its encryption travels.

Semi-honest parties that do not collude learn, besides their own weights:
    each data party  the other parties' number of columns, alpha and beta of each round, and its own gradient at each
                     trial point, exactly: as integers.
    host             hence X'y, from its first gradient. Nothing tells it a single label as long as rows are many times
                     its columns (`maths.labels_hide`), no column and no class is rare, and no person outweighs all
                     others in a column (`design` refuses those) or in a combination of columns, which nobody checks:
                     two columns that differ for one person alone show that person's label. So do two trainings, one
                     with and one without that person.
    guest            J, its decrease, and the squared length of each update; as it knows its own addends, with one host
                     that host's: the length of its update, so the size of its weight if it has one column only
    arbiter          numbers of rows and columns, the loss at each trial point (one host), the six products summed over
                     the parties, hence J, and the decisions. No gradient, no weight, nothing per row.
If the arbiter colludes with a host they read d, and the labels from it; with the guest, they read u of every row at
every trial point.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fedspark.conf.options import TrainOptions
from fedspark.crypto.encoding import decode, from_residues
from fedspark.crypto.paillier import PrivateKey, PublicKey
from fedspark.errors import ConfigError, CryptoError, Mismatch, PolicyRefused
from fedspark.exchange.mailbox import Receipt
from fedspark.models import artifact, pads
from fedspark.models.artifact import ModelPart
from fedspark.models.pads import Pads
from fedspark.models.split import Split
from fedspark.models.vertical_lr import design, maths, messages, tasks
from fedspark.models.vertical_lr.design import Design
from fedspark.models.vertical_lr.gradients import PRODUCTS, Decision, State, Turn, decide
from fedspark.models.vertical_lr.maths import GRADIENT_FRACTION, LOSS_FRACTION, Floats
from fedspark.models.vertical_lr.messages import STEP, Facts
from fedspark.models.vertical_lr.packing import pack, packed_rows, unpack
from fedspark.models.vertical_lr.tasks import Partials, Rows, from_message, to_message
from fedspark.party import Party, Role
from fedspark.psi.align import Alignment
from fedspark.run import Run

OBJECTIVE = "mean(ln2 - y z/2 + z^2/8) + l2/2 |w|^2, y in {-1, +1}, features standardised, intercept not penalised"


@dataclass(frozen=True)
class Trained:
    """How training ended: why it stopped, what this party was told of each round, and its part (arbiter: None)."""

    stop: str
    history: list[dict[str, Any]]
    part: ModelPart | None = None

    @property
    def rounds(self) -> int:
        """Updates of the weights."""
        return len(self.history) - 1


def train(run: Run, alignment: Alignment | None, options: TrainOptions) -> Trained:
    """This party's half; ``alignment`` of the data parties' rows, None at the arbiter. Run it again to continue."""
    limit = run.party_conf.policy.min_key_bits
    if options.key_bits < limit:
        raise PolicyRefused(
            f"Step {run.step_name} uses a {options.key_bits}-bit key; min_key_bits of the party file is {limit}.",
            remedy="Raise key_bits in the pipeline file, or lower policy.min_key_bits.",
        )
    if run.role is Role.ARBITER:
        return arbiter(run, options)
    if alignment is None:
        raise ConfigError(f"{run.me.name} has no aligned rows.", remedy="Run a psi step on this table first.")
    return guest(run, alignment, options) if run.role is Role.GUEST else host(run, alignment, options)


# ---- guest -----------------------------------------------------------------------------------------------------------


def guest(run: Run, alignment: Alignment, options: TrainOptions) -> Trained:
    """The party with the label."""
    side = Side.set_up(run, alignment, options)
    return side.iterate(guest_round)


def guest_round(side: Side, number: int, state: State) -> Played:
    """Receive u, send d."""
    run, hosts = side.run, side.run.roster.hosts
    rows = Rows.at(side.design, state.trial, side.public)
    gradient, loss = side.partials("gradient", number), side.partials("loss", number) if len(hosts) == 1 else None
    u = tuple(run.receive("u", host, round=number) for host in hosts)

    def residuals() -> list[Any]:
        sent = tuple(run.mailbox.outgoing(run.address("d", receiver=host, round=number)) for host in hosts)
        keys = tuple(run.subkey("d", number, host.name) for host in hosts)
        context = tasks.Residuals(rows, u, sent, gradient, loss, keys)
        found = run.parts(
            f"round {number}: residuals", tasks.send_residuals, side.design.parts, context, rows=side.total
        )
        return [[receipt.to_json() for receipt in receipts] for receipts in found]

    receipts = run.once(f"rounds/{number:04d}/d", residuals)
    for index, host in enumerate(hosts):
        address = run.address("d", receiver=host, round=number)
        if not run.mailbox.committed(address):
            run.mailbox.commit(address, [Receipt.from_json(part[index]) for part in receipts])
    return side.close_round(number, state, gradient, loss)


# ---- host ------------------------------------------------------------------------------------------------------------


def host(run: Run, alignment: Alignment, options: TrainOptions) -> Trained:
    """A party with features only."""
    side = Side.set_up(run, alignment, options)
    return side.iterate(host_round)


def host_round(side: Side, number: int, state: State) -> Played:
    """Send u, receive d."""
    run, one_host = side.run, len(side.run.roster.hosts) == 1
    rows, gradient = Rows.at(side.design, state.trial, side.public), side.partials("gradient", number)
    predicting = tasks.Predicting(rows, one_host, run.subkey("u", number))
    run.send_parts(
        "u", run.roster.guest, f"round {number}: predictors", tasks.encrypt_predictor, side.design.parts, predicting,
        round=number, rows=side.total,
    )  # fmt: skip
    d = run.receive("d", run.roster.guest, round=number)
    summing = tasks.Summing(rows, d, gradient)
    run.parts(f"round {number}: gradient", tasks.sum_residuals, side.design.parts, summing, rows=side.total)
    return side.close_round(number, state, gradient, None)


# ---- arbiter ---------------------------------------------------------------------------------------------------------


def arbiter(run: Run, options: TrainOptions) -> Trained:
    """The party with the key."""
    parties = run.roster.data_parties
    facts = {party.name: messages.read_facts(run.receive("facts", party).json(), party) for party in parties}
    rows = messages.check_facts(facts)
    messages.check_hosts(facts, run.roster.hosts)
    key = PrivateKey.generate(run.stream("paillier"), options.key_bits)
    for party in parties:
        run.send("key", party, key.public.to_json())
    history: list[Decision] = []
    while not (history and history[-1].stop):
        number = len(history)
        play = partial(arbiter_round, run, key, facts, rows, history, options)
        history.append(Decision(**run.once(f"rounds/{number:04d}/decision", play)))
        run.progress.say(messages.describe(number, history[-1].to_json()))
    return Trained(history[-1].stop, [decision.to_json() for decision in history])


def arbiter_round(
    run: Run,
    key: PrivateKey,
    facts: Mapping[str, Facts],
    rows: int,
    history: list[Decision],
    options: TrainOptions,
) -> dict[str, Any]:
    """Open masked gradients, the loss and the summed products; decide."""
    number, guest, parties, loss = len(history), run.roster.guest, run.roster.data_parties, None
    bits = maths.gradient_bits(rows, len(parties))
    for party in parties:
        message = run.receive("g", party, round=number).read(0)
        sums = packed_rows(facts[party.name].columns, bits, options.key_bits)
        (masked,) = from_message(message, party.name, key.public, (sums, GRADIENT_FRACTION))
        opened = [f"{value % key.public.n:x}" for value in key.decrypt(masked)]
        run.send("opened", party, {"opened": opened}, round=number)
    if len(run.roster.hosts) == 1:
        message = run.receive("loss", guest, round=number).read(0)
        (summed,) = from_message(message, guest.name, key.public, (1, LOSS_FRACTION))
        loss = math.log(2.0) + float(decode(key.decrypt(summed), LOSS_FRACTION)[0]) / rows
    hidden = []
    for party in parties:
        message = run.receive("sums", party, round=number).json()
        hidden.append(messages.read_numbers(message, "sums", party, len(PRODUCTS)))
    products = dict(zip(PRODUCTS, pads.reveal(hidden), strict=True))
    decision = decide(products, loss, history, options.max_rounds, options.tolerance)
    for party in parties:
        told = decision.to_json()
        run.send("go", party, told if party.name == guest.name else {name: told[name] for name in STEP}, round=number)
    return decision.to_json()


# ---- what guest and host have in common ------------------------------------------------------------------------------

Played = dict[str, Any]
"""{"state": the party's slices after the round, "told": the arbiter's `go`}: the checkpoint of a round."""


@dataclass(frozen=True)
class Side:
    """A data party between rounds."""

    run: Run
    options: TrainOptions
    design: Design
    public: PublicKey
    pads: Pads

    @classmethod
    def set_up(cls, run: Run, alignment: Alignment, options: TrainOptions) -> Side:
        """Own statistics and matrix, agreement on sizes, the arbiter's key, pads with the other data parties."""
        mine = design.build(run, alignment, Split(options.split_salt, options.validation), options.l2)
        me, others = run.me.name, [party for party in run.roster.data_parties if party.name != run.me.name]
        sizes = {"rows": mine.total, "columns": mine.width}
        for other in others:
            run.send("facts", other, {**sizes, "order": mine.order})
        run.send("facts", _arbiter(run), {**sizes, "order": ""})
        facts = {me: Facts(mine.total, mine.width, mine.order)} | {
            p.name: messages.read_facts(run.receive("facts", p).json(), p) for p in others
        }
        messages.check_facts(facts)
        messages.check_hosts(facts, run.roster.hosts)
        maths.check_room(options.key_bits, mine.total, len(facts))
        try:
            public = PublicKey.from_json(run.receive("key", _arbiter(run)).json(), options.key_bits)
        except CryptoError as error:
            raise Mismatch(f"The arbiter's key is refused: {error.message}", remedy=error.remedy) from None
        return cls(run, options, mine, public, pads.agree(run, run.roster.data_parties))

    @property
    def total(self) -> int:
        """Training rows."""
        return self.design.total

    def partials(self, what: str, number: int) -> Partials:
        """Where a round's encrypted sums over single parts lie."""
        path = f"rounds/{number:04d}/{what}-{{part:05d}}.bin"
        return Partials(self.run.workspace, self.run.path(path))

    def iterate(self, play: Callable[[Side, int, State], Played]) -> Trained:
        """Rounds until the arbiter says stop; each ends in a checkpoint, from which a restart continues."""
        state, history = State.start(np.zeros(self.design.width)), list[dict[str, Any]]()
        while not (history and history[-1]["stop"]):
            number = len(history)
            played = self.run.once(f"rounds/{number:04d}/checkpoint", partial(play, self, number, state))
            state = State.from_json(played["state"])
            history.append(played["told"])
            self.run.progress.say(messages.describe(number, played["told"]))
        part = self.to_part(state.w, history)
        artifact.save(self.run, part)
        return Trained(history[-1]["stop"], history, part)

    def close_round(self, number: int, state: State, gradient: Partials, loss: Partials | None) -> Played:
        """From encrypted sums to the next state: messages g, loss, opened, sums and go."""
        run, to, parts = self.run, _arbiter(self.run), self.design.parts
        if loss is not None:
            summed = loss.total(parts, self.public, LOSS_FRACTION)
            stream = run.stream("loss", number, "nonce", summed.content_digest())
            run.send("loss", to, to_message(summed.for_owner(stream)), round=number)
        opened = self.open_gradient(number, gradient.total(parts, self.public, GRADIENT_FRACTION))
        slope = opened / self.total + self.design.penalty * state.trial
        turn = Turn.of(state, slope, self.design.inverse, first=number == 0)

        products = run.once(f"rounds/{number:04d}/products", lambda: turn.products(self.design.penalty))
        hidden = self.pads.hide([products[name] for name in PRODUCTS], "sums", number)
        run.send("sums", to, {"sums": [f"{value:x}" for value in hidden]}, round=number)
        told = messages.read_go(run.receive("go", to, round=number).json(), run.role is Role.GUEST)
        return {"state": turn.update(told["alpha"], told["beta"]).to_json(), "told": told}

    def open_gradient(self, number: int, summed: tasks.Derived) -> Floats:
        """X'd of our columns, float64[F]: the arbiter decrypts it under our masks."""
        run, to, n, columns = self.run, _arbiter(self.run), self.public.n, self.design.width
        bits = maths.gradient_bits(self.total, len(run.roster.data_parties))
        packed, digest = pack(summed, bits), summed.content_digest()
        masks = run.stream("g", number, "mask", digest).below_many(n, len(packed))
        masked = packed.add_plain(from_residues(masks, n))
        run.send("g", to, to_message(masked.for_owner(run.stream("g", number, "nonce", digest))), round=number)
        residues = messages.read_numbers(run.receive("opened", to, round=number).json(), "opened", to, len(packed))
        plain = from_residues([(value - mask) % n for value, mask in zip(residues, masks, strict=True)], n)
        return decode(unpack(plain, bits, columns, self.public.bits), GRADIENT_FRACTION)

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
            objective=OBJECTIVE,
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


def _arbiter(run: Run) -> Party:
    if run.roster.arbiter is None:
        raise ConfigError("This model needs an arbiter.", remedy="Name one under parties in the pipeline file.")
    return run.roster.arbiter
