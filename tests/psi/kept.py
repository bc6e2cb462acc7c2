"""Queries on kept signatures, in two lines, and what they leave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from fedspark.conf import PsiOptions
from fedspark.party import Role
from fedspark.psi import rsa_cached
from fedspark.run import Run
from tests.federation import Federation
from tests.psi.people import message_tag, names, source, staged


def options(bucket_rows: int = 65536, **more: Any) -> PsiOptions:
    return PsiOptions(table="people", protocol="rsa", bucket_rows=bucket_rows, cache=True, **more)


def half(table: pa.Table, settings: PsiOptions) -> Callable[[Run], Any]:
    def role(run: Run) -> Any:
        return (rsa_cached.guest if run.role is Role.GUEST else rsa_cached.host)(run, settings, source(table))

    return role


def query(federation: Federation, tables: dict[str, pa.Table], bucket_rows: int = 65536, **more: Any) -> Any:
    return federation.play("psi", {name: half(table, options(bucket_rows, **more)) for name, table in tables.items()})


def sent(federation: Federation) -> dict[str, int]:
    """Bytes of the parts that this run has sent, by tag."""
    sizes: dict[str, int] = {}
    for name, data in federation.objects(federation.exchange).items():
        if f"/{federation.label}/" in name and "/part-" in name:
            tag = message_tag(name)
            sizes[tag] = sizes.get(tag, 0) + len(data)
    return sizes


def epochs_of(federation: Federation, name: str = "host") -> list[str]:
    """The epochs in a party's workspace that have a document."""
    names = federation.objects(federation.files(name))
    return sorted(
        path.split("/")[-2] for path in names if path.startswith("psi-cache/") and path.endswith("epoch.json")
    )


def tables_of(guest: list[str], host: list[str]) -> dict[str, pa.Table]:
    return {"guest": staged(guest, label=True), "host": staged(host)}


HOST = names(20, 320)
TABLES = tables_of(names(0, 40), HOST)


def home_of(federation: Federation, name: str) -> str:
    (path,) = [
        p for p in federation.objects(federation.files(name)) if p.startswith("psi-cache/") and p.endswith("epoch.json")
    ]
    return path.rpartition("/")[0]
