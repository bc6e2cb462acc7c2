"""Vertical logistic regression with an arbiter: Hardy et al. 2017 ("Private federated learning on vertically
partitioned data via entity resolution and additively homomorphic encryption") with conjugate gradients for SGD.

The guest has the label and perhaps features, every host features of the same people, the arbiter a Paillier key and no
data. They minimise the mean Taylor loss ln 2 - yz/2 + z^2/8 plus l2/2 |w|^2 (`maths`). A round evaluates the exact
gradient at one trial point v = w + c p for all parties at once (`gradients`); round 0 does so at the start, w = 0.

Messages, in order. N training rows, F columns of the party, m rows in a ciphertext (`crypto.row_slots`: 10 with 2048
bits and a million rows; 1 where rows have weights), 2|n| bits a ciphertext (512 bytes at 2048):

    once    facts    data parties -> all            rows, columns, whether rows have weights; to data parties also a
                                                    digest of the rows' order and the id of the model to start from
            key      arbiter -> data parties        n
            pad_key  data parties, pairwise         X25519 public key, for pads that hide the products from the arbiter
    round   u        host -> guest                  [[u/4]] of m rows a ciphertext, u = X v; with one host and no
                                                    weights [[sum u^2/8]] per part
            d        guest -> each host             [[d]] likewise, d = (sum of all u)/4 - y/2, times the row's weight;
                                                    re-randomised for each host
            g        data party -> arbiter          F ciphertexts: sum x_ij d_i in slot m-1, sums across rows in the
                                                    2m-2 others, a uniform mask of the party in every slot; rho^n
            opened   arbiter -> data party          slot m-1 of each, and no other
            loss     guest -> arbiter               [[sum -yz/2 + z^2/8]] in slot m-1, uniform masks in the others; with
                                                    one host and no weights
            sums     data party -> arbiter          six products (`gradients.PRODUCTS`) under pads that cancel
            go       arbiter -> data party          alpha, beta, stop; to the guest also loss, decrease and change

A party adds the penalty's gradient l2 w to its own opened gradient itself, so neither l2 w nor its encryption travels.

Semi-honest parties that do not collude learn, besides their own weights:
    each data party  the other parties' number of columns, alpha and beta of each round, and its own gradient at each
                     trial point, exactly: as integers, sums of the encoded rows (`encoding`). It learns no sum across
                     rows: of the slots of a sum the arbiter returns the one that holds the gradient.
    host             hence X'y, from its first gradient. Nothing tells it a single label as long as rows are many times
                     its columns (`maths.labels_hide`), no column and no class is rare, and no person outweighs all
                     others in a column or a combination of columns (`design` refuses those, though not near-copies of
                     columns that differ for a few people). Two trainings, one with and one without a person, show that
                     person's label. With weights: that there are some, and X' diag(weights) y, exactly. Weights of few
                     different values can be told from that. So class_weight: balanced, which makes two integers of the
                     class sizes, tells the number of people with label 1, from one gradient and by trying all numbers;
                     two trainings on the same rows, with and without weights, would tell it even if weights were
                     rounded at random. `weights` refuses weights by which single people stand out, but the checks of a
                     host's columns are the host's and count every row alike.
    guest            J, its decrease, and the squared length of each update; as it knows its own addends, with one host
                     that host's: the length of its update, so the size of its weight if it has one column only
    arbiter          numbers of rows and columns, whether rows have weights, the loss at each trial point (one host, no
                     weights), the six products summed over the parties, hence J, and the decisions. No gradient, no
                     weight, nothing per row.
What rows that share a plaintext change: the arbiter decrypts masked sums across rows too. Every slot is within 2^-41 of
uniform noise, and slots carry into each other with no more probability: the sums it decrypts in a training, F in each
round and the loss, are together within (2m-1) 2^-41 per ciphertext of noise that depends on nothing, where a mask
modulo n would hide perfectly. What guest and hosts learn is the same as with a ciphertext for each row.

If the arbiter colludes with a host they read d, and the labels from it; with the guest, they read u of every row at
every trial point. Guest and host together learn nothing from the arbiter but what each is told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from fedspark.conf.options import TrainOptions
from fedspark.crypto.paillier import PrivateKey
from fedspark.errors import ConfigError, PolicyRefused
from fedspark.exchange.mailbox import Receipt
from fedspark.models import pads
from fedspark.models.vertical_lr import messages, tasks
from fedspark.models.vertical_lr.encoding import Encoding
from fedspark.models.vertical_lr.gradients import PRODUCTS, START_LOSS, Decision, State, decide
from fedspark.models.vertical_lr.messages import STEP, Facts
from fedspark.models.vertical_lr.side import Played, Side, Trained, agree, sends_loss
from fedspark.models.vertical_lr.tasks import from_message
from fedspark.party import Role
from fedspark.psi.align import Alignment
from fedspark.run import Run


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
    loss = side.partials("loss", number) if side.has_loss else None

    def residuals() -> dict[str, Any]:
        u = tuple(run.receive("u", host, round=number) for host in hosts)
        sent = tuple(run.mailbox.outgoing(run.address("d", receiver=host, round=number)) for host in hosts)
        keys = tuple(run.subkey("d", number, host.name) for host in hosts)
        context = tasks.Residuals(side.rows(state), u, sent, side.partials("gradient", number), loss, keys)
        found = run.parts(
            f"round {number}: residuals", tasks.send_residuals, side.design.parts, context, rows=side.total
        )
        return {
            "receipts": [[receipt.to_json() for receipt in receipts] for receipts, _ in found],
            "loss": f"{sum(own for _, own in found):x}",
        }

    written = run.once(f"rounds/{number:04d}/d", residuals)
    for index, host in enumerate(hosts):
        address = run.address("d", receiver=host, round=number)
        if not run.mailbox.committed(address):
            run.mailbox.commit(address, [Receipt.from_json(part[index]) for part in written["receipts"]])
    played = side.close_round(number, state, int(written["loss"], 16))
    for host in hosts:  # all of them have sent their products, or there would be no answer
        run.remove_read("d", host, round=number)
    return played


# ---- host ------------------------------------------------------------------------------------------------------------


def host(run: Run, alignment: Alignment, options: TrainOptions) -> Trained:
    """A party with features only."""
    side = Side.set_up(run, alignment, options)
    return side.iterate(host_round)


def host_round(side: Side, number: int, state: State) -> Played:
    """Send u, receive d."""
    run, rows = side.run, side.rows(state)
    predicting = tasks.Predicting(rows, side.has_loss, run.subkey("u", number))
    run.send_parts(
        "u", run.roster.guest, f"round {number}: predictors", tasks.encrypt_predictor, side.design.parts, predicting,
        round=number, rows=side.total,
    )  # fmt: skip

    def summed() -> int:
        d = run.receive("d", run.roster.guest, round=number)
        summing = tasks.Summing(rows, d, side.partials("gradient", number))
        run.parts(f"round {number}: gradient", tasks.sum_residuals, side.design.parts, summing, rows=side.total)
        return side.design.parts

    run.once(f"rounds/{number:04d}/summed", summed)
    run.remove_read("u", run.roster.guest, round=number)
    return side.close_round(number, state)


# ---- arbiter ---------------------------------------------------------------------------------------------------------


def arbiter(run: Run, options: TrainOptions) -> Trained:
    """The party with the key."""
    parties = run.roster.data_parties
    facts = {party.name: messages.read_facts(run.receive("facts", party).json(), party) for party in parties}
    encoding = agree(run, options, facts)
    key = PrivateKey.generate(run.stream("paillier"), options.key_bits)
    for party in parties:
        run.send("key", party, key.public.to_json())
    history: list[Decision] = []
    while not (history and history[-1].stop):
        number = len(history)
        play = partial(arbiter_round, run, key, encoding, facts, history, options)
        history.append(Decision(**run.once(f"rounds/{number:04d}/decision", play)))
        run.progress.say(messages.describe(number, history[-1].to_json()))
    return Trained(history[-1].stop, [decision.to_json() for decision in history])


def arbiter_round(
    run: Run,
    key: PrivateKey,
    encoding: Encoding,
    facts: Mapping[str, Facts],
    history: list[Decision],
    options: TrainOptions,
) -> dict[str, Any]:
    """Open one slot of every masked sum, read the loss, decide."""
    parties, guest, number, loss = run.roster.data_parties, run.roster.guest, len(history), None
    layout, rows = encoding.layout, encoding.layout.rows
    for party in parties:
        message = run.receive("g", party, round=number).read(0)
        (masked,) = from_message(message, party.name, key.public, (facts[party.name].columns, encoding.d_fraction))
        # One slot only: the others hold sums across rows, which nobody may read.
        opened = [f"{layout.wanted(value, key.public):x}" for value in key.decrypt(masked)]
        run.send("opened", party, {"opened": opened}, round=number)
    if sends_loss(run, encoding):
        message = run.receive("loss", guest, round=number).read(0)
        (summed,) = from_message(message, guest.name, key.public, (1, encoding.loss_fraction))
        (plain,) = key.decrypt(summed)
        loss = START_LOSS + math.ldexp(layout.value(layout.wanted(plain, key.public)), -encoding.loss_fraction) / rows
    hidden = []
    for party in parties:
        message = run.receive("sums", party, round=number).json()
        hidden.append(messages.read_numbers(message, "sums", party, len(PRODUCTS)))
    products = dict(zip(PRODUCTS, pads.reveal(hidden), strict=True))
    decision = decide(
        products, loss, history, rows, options.max_rounds, options.tolerance, warm=options.warm_start is not None
    )
    for party in parties:
        told = decision.to_json()
        run.send("go", party, told if party.name == guest.name else {name: told[name] for name in STEP}, round=number)
    return decision.to_json()
