"""Files of delimited text read by Python tasks. Executors import this file: no Spark in it.

Only what has one meaning is read here: UTF-8, lines that end in LF or CR LF, quotes around whole fields, doubled inside
of them. A file with anything else, a null byte or a lone quote say, is left to Spark as a whole.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv as pa_csv

from fedspark.tables.direct import Batches, Piece, Unplain, numbers_in, spoken

_BLOCK = 4 << 20
_LONGEST_LINE = 64 << 20
_BLANK = "".join(map(chr, range(33)))
_BLANK_LINE = re.compile(rb"^[\x00-\x09\x0b-\x20]*[\x00-\x09\x0b\x0c\x0e-\x20][\x00-\x09\x0b-\x20]*$", re.MULTILINE)
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class CsvPieces:
    """Reads the lines that begin in a piece; ``tasks`` have the pieces of each.

    ``fields`` are those of every line, named c0, c1, ..., ``wanted`` the names of those to hand on, as text, null
    where there is nothing; with them comes ``malformed``, which none is: a line of too many or too few fields is
    Unplain.
    ``header`` is what every file begins with, None if that is data.
    """

    tasks: tuple[tuple[Piece, ...], ...]
    fields: int
    wanted: tuple[str, ...]
    delimiter: str
    header: tuple[str, ...] | None

    def __call__(self, batches: Batches) -> Batches:
        """The rows of the tasks with the given numbers; called by Spark."""
        for number in numbers_in(batches):
            for piece in self.tasks[number]:
                try:
                    yield from self._rows(piece)
                except (pa.ArrowException, OSError) as error:
                    raise Unplain(f"{spoken(piece.path)}: {str(error).splitlines()[0]}") from None

    def _rows(self, piece: Piece) -> Batches:
        first = piece.start == 0
        for block in _blocks(piece):
            block = self._without_header(block, piece) if first else block
            first = False
            yield from self._parsed(block, piece)

    def _without_header(self, block: bytes, piece: Piece) -> bytes:
        block = block.removeprefix(_BOM)
        if self.header is None:
            return block
        while block:
            line, _, block = block.partition(b"\n")
            if line.strip():
                try:
                    found = next(csv.reader([line.decode().rstrip("\r")], delimiter=self.delimiter, strict=True))
                except (csv.Error, UnicodeDecodeError):
                    raise Unplain(f"{spoken(piece.path)} has a header with odd quotes, or not in UTF-8") from None
                if tuple(found) != self.header:
                    raise Unplain(f"{spoken(piece.path)} begins with another header")
                return block
        raise Unplain(f"{spoken(piece.path)} has no header")

    def _parsed(self, block: bytes, piece: Piece) -> Batches:
        quoted = self._check(block, piece)
        if not block.strip():
            return
        text = pa.string()
        names = [f"c{k}" for k in range(self.fields)]
        try:
            reader = pa_csv.open_csv(
                pa.BufferReader(block),
                pa_csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=names),
                pa_csv.ParseOptions(
                    delimiter=self.delimiter, quote_char='"' if quoted else False, invalid_row_handler=_only_blank
                ),
                pa_csv.ConvertOptions(
                    column_types=dict.fromkeys(names, text),
                    include_columns=list(self.wanted),
                    null_values=[""],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=True,
                ),
            )
            read = list(reader)
        except pa.ArrowInvalid as error:
            raise Unplain(f"{spoken(piece.path)}: {str(error).splitlines()[0]}") from None
        for batch in read:
            if batch.num_rows:
                yield batch.append_column("malformed", pa.repeat(False, batch.num_rows))

    def _check(self, block: bytes, piece: Piece) -> bool:
        """Whether the block has quotes, all in their places. Unplain where they are not, or lines end in a lone CR."""
        if b"\r" in block and block.count(b"\r") != block.count(b"\r\n"):
            raise Unplain(f"{spoken(piece.path)} has carriage returns within lines")
        if b"\0" in block:
            raise Unplain(f"{spoken(piece.path)} has null bytes")
        if self.delimiter <= " " and _BLANK_LINE.search(block):  # a row of nothing, or no row
            raise Unplain(f"{spoken(piece.path)} has lines of nothing but white space")
        if b'"' not in block:
            return False
        if b'"' in _whole_fields(self.delimiter).sub(b"", block):
            raise Unplain(f"{spoken(piece.path)} has quotes within fields")
        return True


def _only_blank(row: pa_csv.InvalidRow) -> str:
    """What to do with a line of too many or too few fields: Spark, too, passes over those of nothing but blanks."""
    return "skip" if row.text is not None and not row.text.strip(_BLANK) else "error"


def _whole_fields(delimiter: str) -> re.Pattern[bytes]:
    mark = re.escape(delimiter.encode())
    return re.compile(rb"(?:(?<=" + mark + rb')|^)"(?:[^"\n]|"")*"(?=' + mark + rb"|\r?$)", re.MULTILINE)


def _blocks(piece: Piece) -> Iterator[bytes]:
    """The lines that begin in the piece, whole, some megabytes of them at a time."""
    with open(piece.path, "rb") as file:
        if piece.start:
            file.seek(piece.start - 1)
            _rest_of_line(file)
        while file.tell() < piece.end:
            block = file.read(min(_BLOCK, piece.end - file.tell()))
            if not block:
                return
            yield block if block.endswith(b"\n") else block + _rest_of_line(file)


def _rest_of_line(file: BinaryIO) -> bytes:
    line = file.readline(_LONGEST_LINE)
    if len(line) == _LONGEST_LINE:
        raise Unplain("a line of more than 64 MiB")
    return line
