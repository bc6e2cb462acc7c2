"""A guest's process that writes its scores to a sink and kills itself with SIGKILL at the first moment of a list at
which no earlier one has died: ``python -m tests.integration.mortal_delivery FOLDER``.

FOLDER has ``sink.json`` (the sink), ``moments.json`` (the list), and gets ``died`` (a line per death). A moment is an
SQL statement that contains the text, just before it is sent or, after ``after ``, just after its answer.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fedspark.scoring import deliver
from tests.scoring.given_scores import guest, written


@contextmanager
def watched(death: Callable[[str], None]) -> Iterator[None]:
    """Call ``death`` before and after every statement to any server."""
    import clickhouse_driver
    import pymysql.cursors

    def watching(real: Callable[..., Any]) -> Callable[..., Any]:
        def execute(self: Any, sql: Any, *args: Any, **options: Any) -> Any:
            words = sql.decode(errors="replace") if isinstance(sql, (bytes, bytearray)) else sql
            death(words)
            answer = real(self, sql, *args, **options)
            death(f"after {words}")
            return answer

        return execute

    with pytest.MonkeyPatch.context() as patch:
        for kind in (clickhouse_driver.Client, pymysql.cursors.Cursor):
            patch.setattr(kind, "execute", watching(kind.execute))
        yield


def main(folder: Path) -> None:
    """One life."""
    moments, diary = json.loads((folder / "moments.json").read_text()), folder / "died"
    died = diary.read_text().splitlines() if diary.exists() else []

    def death(statement: str) -> None:
        for moment in moments:
            if moment not in died and moment.startswith("after ") == statement.startswith("after "):
                if moment.removeprefix("after ") in statement:
                    with diary.open("a") as lines:
                        lines.write(f"{moment}\n")
                    os.kill(os.getpid(), signal.SIGKILL)
                return  # in their order

    run = guest({"predict": json.loads((folder / "sink.json").read_text())}, base=folder / "stores")
    with watched(death):
        (delivery,) = deliver(run, written(run), {"person": "bigint"})
    print(delivery.rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
