"""How many ids a host signs for one peer in a day out of what it keeps for longer than a run (see ``rsa_cached``).

Every run leaves one create-only note per step in ``psi-cache-counted/PEER/DAY/`` of the host's workspace, PEER being
the beginning of the peer's identity key, DAY a UTC date. A run writes its note first and then adds up those of the day,
so two runs at the same time cannot both get the last ids. A run that was counted is not counted again when it is
resumed, on whatever day.
"""

from __future__ import annotations

import json
import time
from typing import Any

from fedspark.errors import PolicyRefused
from fedspark.exchange.signed import canonical_json
from fedspark.party import Party
from fedspark.psi import cache
from fedspark.run import Run


def count_ids(run: Run, peer: Party, ids: int) -> None:
    """Count ``ids`` for ``peer`` today; PolicyRefused, and nothing is counted, when that is more than
    ``max_cached_ids_per_day``.
    """
    run.once("psi/counted", lambda: _counted(run, peer, ids))


def _counted(run: Run, peer: Party, ids: int) -> dict[str, Any]:
    day = time.strftime("%Y-%m-%d", time.gmtime(cache.now()))
    folder = f"{cache.COUNTED}/{peer.identity.hex()[:32]}/{day}"
    store, note = run.workspace.store, f"{folder}/{run.id[:32]}.{run.step_name}.json"
    store.create(note, canonical_json({"ids": ids}))
    total = sum(json.loads(store.read(name))["ids"] for name, _ in store.list(folder))
    limit = run.party_conf.policy.max_cached_ids_per_day
    if limit is not None and total > limit:
        store.delete(note)
        raise PolicyRefused(
            f"{peer.name} would have {ids:,} more ids signed, {total:,} on {day} (UTC), dummies included; this party's "
            f"limit max_cached_ids_per_day is {limit:,}.",
            remedy="Go on tomorrow, or raise policy.max_cached_ids_per_day in the party file.",
        )
    return {"day": day, "ids": ids}
