"""Print every test that a run left out, and fail unless its reason is the one that CI accepts.

Usage: python .ci/skips.py REPORT.xml    (the file that pytest writes with --junitxml)

A test may be left out only where the data shared between the machines of the project is absent, and its reason must say
so with the words "shared data". An expected failure is a skip by another name. Exit status: 0 fine, 1 a skip that is
not accepted, 2 no readable report.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET

ACCEPTED = "shared data"


def skips(report: str) -> list[tuple[str, str]]:
    """Return (test, reason) of every test that ``report`` (JUnit XML) says was skipped or expected to fail."""
    found = []
    for case in ET.fromstring(report).iter("testcase"):
        for skip in case.iter("skipped"):
            name = "::".join(part for part in (case.get("classname"), case.get("name")) if part)
            # A module skipped as a whole keeps its reason in the text; a skipped test has it in the attribute too.
            words = {skip.get("message") or "", (skip.text or "").strip()} - {"", "collection skipped"}
            found.append((name, " | ".join(sorted(words, key=len)) or "no reason given"))
    return found


def main(path: str) -> int:
    try:
        with open(path, encoding="utf-8") as file:
            found = skips(file.read())
    except (OSError, ET.ParseError) as error:
        print(f"skips: no readable report of the tests: {error}", file=sys.stderr)
        return 2
    refused = 0
    for name, reason in found:
        fine = ACCEPTED in reason
        refused += not fine
        print(f"{'skipped' if fine else 'NOT ACCEPTED'}: {name}: {reason}")
    print(f"skips: {len(found)} in all, {refused} of them not accepted (only {ACCEPTED!r} may be absent)")
    return 1 if refused else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
