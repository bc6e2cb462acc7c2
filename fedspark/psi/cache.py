"""What lies in a workspace for longer than a run, and the clock by which it ends (see ``rsa_epochs``)."""

from __future__ import annotations

import time

FOLDER = "psi-cache"
COUNTED = "psi-cache-counted"
"""Ids that were signed, by peer and day (see ``daily_limit``)."""

DAY_SECONDS = 86_400


def now() -> int:
    """Seconds since 1970 by this machine's clock."""
    return int(time.time())
