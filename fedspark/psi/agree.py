"""What every intersection protocol begins and ends with: freeze the inputs, draw the salt, compute the plan; refuse
too few.

| tag | from -> to | content | bytes |
|---|---|---|---|
| size | each data party -> each other | rows, snapshot digest, commitment to a nonce, part limit in rows, shows | 220 |
| nonce | each data party -> each other | the nonce; if both sides show them, shapes of ids | 100 to 1000 |

The salt decides who is in which bucket. A party that could choose it after seeing its table, or its table after
seeing the salt, could steer ids into one bucket; so everyone commits to table and nonce, and opens only when all
commitments are there.

Learned: every data party learns the row counts and the part limits of all others. The snapshot digest is sent under a
key of its owner: it pins the table, and nobody else can try out which table it is. Two parties whose policy
``show_id_shapes`` allows it learn of each other which kinds of ids there are (digits, hashes, ...) in whole per cents,
and how long they are: never an id, nor anything that fewer than 20 of the ids looked at have or lack
(``tables.shapes``). Who does not show is shown nothing. Since messages cross, a party that says it shows and then does
not has seen ours; it is refused.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedspark.conf import PolicyConf
from fedspark.conf.options.psi import PsiSettings
from fedspark.crypto.randomness import derive
from fedspark.errors import Mismatch, PolicyRefused, TableError, Tampered
from fedspark.exchange.mailbox import Incoming
from fedspark.exchange.manifest import MAX_PARTS
from fedspark.party import Party, Role
from fedspark.psi.align import Source
from fedspark.psi.looks import Looks, compare, shown_shapes
from fedspark.psi.sizes import MAX_ROWS, Plan, Wave, affordable_part_rows, make_plan
from fedspark.run import Run
from fedspark.tables.shapes import ShownShapes

NONCE_BYTES = 32
ANNOUNCED = "psi/announced"
"""Row counts as ``choose`` heard them, by party; nothing unless it had to."""


@dataclass(frozen=True)
class Size:
    """What a data party says about its table before the salt exists."""

    rows: int
    snapshot: str
    part_rows: int
    commitment: str
    shows: bool

    @staticmethod
    def from_json(value: Any, sender: Party) -> Size:
        """Mismatch when a field is missing, superfluous or of another type, or a number is out of range."""
        fields = {"rows": int, "snapshot": str, "part_rows": int, "commitment": str, "shows": bool}
        if not isinstance(value, dict) or set(value) != set(fields):
            raise _malformed("size", sender, f"fields {', '.join(sorted(fields))}")
        if any(type(value[name]) is not kind for name, kind in fields.items()):
            raise _malformed("size", sender, "rows and part_rows as integers, snapshot and commitment as text, shows")
        if not 0 <= value["rows"] <= MAX_ROWS or value["part_rows"] < 1:
            raise _malformed("size", sender, f"0 <= rows <= {MAX_ROWS:,} and part_rows >= 1")
        return Size(**value)


def agree(run: Run, source: Source, *, value_bytes: int, bucket_rows: int, part_rows: int | None = None) -> Plan:
    """Exchange sizes and nonces with all data parties of the run; the plan is equal at all of them.

    ``value_bytes`` is the size of the protocol's widest per-row value; ``bucket_rows`` comes from the pipeline. A part
    has ``part_rows`` rows at most, by default those of one bucket, and fewer where memory asks for it.
    Raises Tampered when a nonce does not open its commitment, Mismatch when a message would have too many parts.
    """
    parties = run.roster.data_parties
    others = [party for party in parties if party.name != run.me.name]
    nonce = run.subkey("nonce")
    masked = hmac.new(run.subkey("snapshot"), source.snapshot.encode(), hashlib.sha256).hexdigest()
    limit = min(part_rows or bucket_rows, affordable_part_rows(source.row_bytes, value_bytes))
    shapes = shown_shapes(run, source)
    mine: dict[str, Any] = {"rows": source.rows, "snapshot": masked, "part_rows": limit, "shows": shapes is not None}
    mine["commitment"] = commitment(run, run.me, nonce, source.rows, masked)
    mine = pin_table(run, source, mine)  # limits and policies of this party's file count as they were

    for party in others:
        run.send("size", party, mine)
    sizes = {run.me.name: Size.from_json(mine, run.me)}
    for party in others:
        sizes[party.name] = Size.from_json(run.receive("size", party).json(), party)

    rows = {name: size.rows for name, size in sizes.items()}
    check_announced(run, rows)
    refuse_many(run, rows)
    nonces = _exchange_nonces(run, others, sizes, nonce, shapes)
    plan = make_plan(
        rows={party.name: sizes[party.name].rows for party in parties},
        part_rows=[sizes[party.name].part_rows for party in parties],
        bucket_rows=bucket_rows,
        salt=derive(b"".join(nonces[party.name] for party in parties), "fedspark psi salt", run.id, run.step_name),
    )
    if plan.parts > MAX_PARTS:
        shown = ", ".join(f"{name} {rows:,}" for name, rows in plan.rows.items())
        raise Mismatch(
            f"The tables (rows: {shown}) would take {plan.parts:,} parts; a message has {MAX_PARTS:,} at most.",
            remedy="Raise bucket_rows in the pipeline file, or ask whose row count is wrong.",
        )
    return plan


def pin_table(run: Run, source: Source, mine: dict[str, Any]) -> dict[str, Any]:
    """What this run first noted about our table, now that it would note ``mine``; TableError when it is another one."""
    began: dict[str, Any] = run.once("psi/size", lambda: mine)
    if any(began.get(name) != mine.get(name) for name in ("rows", "snapshot", "commitment")):
        raise TableError(
            f"The table {source.name} is not the one that this run began with; it has {source.rows:,} rows now.",
            remedy="A run works on one frozen table. Start a new run (another label) for the new one.",
        )
    return began


def check_announced(run: Run, rows: Mapping[str, int]) -> None:
    """Mismatch when a table has other ``rows`` (by party) than the protocol was chosen for; nothing without auto."""
    path = run.path(f"{ANNOUNCED}.json")
    if not run.workspace.exists(path):
        return
    for name, told in run.workspace.read_json(path).items():
        if told["rows"] != rows[name]:
            raise Mismatch(
                f"{name} announced {told['rows']:,} rows to choose a protocol, and {rows[name]:,} to begin it.",
                remedy="Nothing was computed. Start a new run (another label), and ask them which software they use.",
            )


def _exchange_nonces(
    run: Run, others: Sequence[Party], sizes: Mapping[str, Size], nonce: bytes, shapes: ShownShapes | None
) -> dict[str, bytes]:
    """The nonces of all data parties, opened; and the shapes of ids, compared, among those who show them."""
    outline = None if shapes is None else shapes.to_json()
    for party in others:
        run.send("nonce", party, {"nonce": nonce.hex(), "shapes": outline if sizes[party.name].shows else None})
    nonces, shown = {run.me.name: nonce}, {run.me.name: shapes}
    for party in others:
        message, size = run.receive("nonce", party).json(), sizes[party.name]
        nonces[party.name] = opened_nonce(run, party, message, size)
        shown[party.name] = _told_shapes(party, message, expected=shapes is not None and size.shows)
    compare(run, shown, {name: size.rows for name, size in sizes.items()})
    return nonces


def commitment(run: Run, party: Party, nonce: bytes, rows: int, snapshot: str) -> str:
    """SHA-256 of the 32-byte nonce and of what it is bound to: run, step, party, rows and snapshot."""
    context = "\0".join([run.id, run.step_name, party.name, str(rows), snapshot])
    return hashlib.sha256(nonce + context.encode()).hexdigest()


def opened_nonce(run: Run, party: Party, message: Any, size: Size) -> bytes:
    """The nonce in ``message``; Tampered unless it opens the commitment that ``party`` sent with its size."""
    try:
        nonce = bytes.fromhex(message["nonce"])
    except (TypeError, KeyError, ValueError):
        raise _malformed("nonce", party, "a nonce in hexadecimal digits") from None
    if len(nonce) != NONCE_BYTES:
        raise _malformed("nonce", party, f"a nonce of {NONCE_BYTES} bytes, not {len(nonce)}")
    if not hmac.compare_digest(commitment(run, party, nonce, size.rows, size.snapshot), size.commitment):
        raise Tampered(
            f"The nonce of {party.name} does not open the commitment that it sent before: it was chosen afterwards.",
            remedy="Nothing of the intersection was computed. Start a new run, and ask them which software they use.",
        )
    return nonce


def _told_shapes(party: Party, message: Any, *, expected: bool) -> ShownShapes | None:
    """The shapes in a message ``nonce``; Mismatch unless they are there exactly where both sides show theirs."""
    if set(message) != {"nonce", "shapes"} or (message["shapes"] is not None) != expected:
        raise _malformed("nonce", party, f"fields nonce and shapes, {'which are shown' if expected else 'null'}")
    return ShownShapes.from_json(message["shapes"], party.name) if expected else None


def receive_parts(run: Run, tag: str, sender: Party, plan: Plan, wave: Wave | None = None) -> Incoming:
    """The message of per-row values, of all parts or of a wave; Mismatch unless it has the parts of the plan."""
    parts = range(plan.parts) if wave is None else wave.parts
    incoming = run.receive(tag, sender, round=wave.number if wave else 0, first=parts.start)
    if incoming.parts != len(parts):
        raise Mismatch(
            f"The message {tag!r} of {sender.name} has {incoming.parts} parts, and {len(parts)} were agreed.",
            remedy="Ask them which fedspark version they run.",
        )
    return incoming


def refuse_many(run: Run, rows: Mapping[str, int]) -> None:
    """PolicyRefused when a party that we intersect with brings more ids (``rows`` by party) than we allow."""
    limit = run.party_conf.policy.max_peer_rows
    for peer in run.roster.hosts if run.role is Role.GUEST else [run.roster.guest]:
        if limit is not None and rows[peer.name] > limit:
            raise PolicyRefused(
                f"{peer.name} brings {rows[peer.name]:,} ids; this party's limit max_peer_rows is {limit:,}.",
                remedy="Agree on a smaller table, or raise policy.max_peer_rows in the party file.",
            )


def refuse_few(run: Run, rows: int) -> None:
    """PolicyRefused when an intersection of ``rows`` people is below this party's limit."""
    scoring = run.pipeline.step(run.step_name).step == "predict"
    name = "min_scored" if scoring else "min_intersection"
    limit = getattr(run.party_conf.policy, name)
    if rows < limit:
        raise PolicyRefused(
            f"{rows:,} people are common to all parties; this party's limit {name} is {limit:,}.",
            remedy=f"{Looks.of(run).explain()} Else, policy.{name} in the party file can be lowered.",
        )


def refuse_untold(run: Run, options: PsiSettings) -> None:
    """PolicyRefused, before anything is sent, when a host asks for a smallest intersection that it could not check."""
    limit, default = run.party_conf.policy.min_intersection, PolicyConf().min_intersection
    if options.result == "guest" and run.me.name != run.roster.guest.name and limit > default:
        raise PolicyRefused(
            f"Step {run.step_name} tells the result to the guest only (result: guest), so this party could not check "
            f"its limit min_intersection, which is {limit:,}.",
            remedy="Agree on result: both, or leave policy.min_intersection out of the party file.",
        )


def _malformed(tag: str, sender: Party, rule: str) -> Mismatch:
    return Mismatch(
        f"The message {tag!r} of {sender.name} is malformed: it must have {rule}.",
        remedy="Ask them which fedspark version they run.",
    )
