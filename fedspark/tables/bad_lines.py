"""Some of the malformed lines of delimited text: where they are, and, masked, what they hold."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from urllib.parse import unquote, urlsplit

from fedspark.tables.look import OPENERS
from fedspark.tables.problems import EXAMPLES, mask
from fedspark.tables.source import Source

_LONGEST_SEARCH = 1 << 30


def bad_lines(source: Source) -> list[str]:
    """Up to three, as ``people.csv line 7 (d***9, 14 characters)``; one job that ends when it has them.

    Spark does not count lines. A file on this machine, of at most a gigabyte, is read again for their numbers.
    """
    # Spark refuses to read nothing but the text of malformed lines: hence c0.
    found = source.frame.where("malformed").select("c0", "file", "line").limit(EXAMPLES).collect()
    numbers = {
        url: _numbers(url, {row.line for row in found if row.file == url}) for url in {row.file for row in found}
    }
    places = sorted((row.file, numbers[row.file].get(row.line, 0), row.line) for row in found)
    return [
        f"{url.rsplit('/', 1)[-1]}{f' line {number}' if number else ''}: {mask(line)}" for url, number, line in places
    ]


def _numbers(url: str, lines: Collection[str]) -> dict[str, int]:
    """Where in the file each line is first, counted from 1, of those that can be found."""
    parts = urlsplit(url)  # Spark writes one slash or three
    path = Path(unquote(parts.path))
    if parts.scheme != "file" or not path.is_file() or path.stat().st_size > _LONGEST_SEARCH:
        return {}
    wanted = {line.encode(): line for line in lines}
    found: dict[str, int] = {}
    with OPENERS.get(path.suffix, open)(path, "rb") as file:
        for number, text in enumerate(file, 1):
            line = wanted.pop(text.rstrip(b"\r\n"), None)
            if line is not None:
                found[line] = number
            if not wanted:
                break
    return found
