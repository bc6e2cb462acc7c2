"""ClickHouse tables in a party file."""

from __future__ import annotations

from pathlib import Path

from fedspark.conf.tables import ClickHouseTable


def test_the_file_with_an_authority_lies_beside_the_party_file():
    data = {"kind": "clickhouse", "host": "db.example", "table": "t", "id": "id", "ca": "keys/ca.pem"}
    table = ClickHouseTable.model_validate(data, context={"directory": Path("/party")})
    assert table.ca == "/party/keys/ca.pem"
    absolute = ClickHouseTable.model_validate({**data, "ca": "/etc/ca.pem"}, context={"directory": Path("/party")})
    assert absolute.ca == "/etc/ca.pem"
