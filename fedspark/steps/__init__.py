"""Steps: open tables, run this party's half of a protocol, write tables, artifacts and a section of the report."""
