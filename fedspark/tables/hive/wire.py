"""Thrift's compiled decoder for the messages that PyHive brings. Executors import this file: no Spark in it.

PyHive's classes were made by an old Thrift. They describe themselves by tuples where today's decoder wants lists, so
that PyHive itself decodes every value in Python; here their descriptions are made anew.
"""

from __future__ import annotations

from functools import cache
from typing import Any


def protocol(transport: Any) -> Any:
    """The binary protocol on a transport, with the compiled decoder where Thrift has one."""
    from thrift.protocol.TBinaryProtocol import TBinaryProtocol

    made = TBinaryProtocol(transport)
    try:
        from thrift.protocol import fastbinary
    except ImportError:
        return made

    def decode(message: Any, source: Any, described: tuple[type, Any]) -> None:
        fastbinary.decode_binary(message, source, _struct(described[0]))

    made._fast_decode = decode
    return made


@cache
def _struct(kind: Any) -> list[Any]:
    """A struct for the decoder: its class, and what its fields are."""
    fields = kind.thrift_spec
    return [kind, tuple(one and (*one[:3], _described(one[3]), *one[4:]) for one in fields)]


def _described(arguments: Any) -> Any:
    """What a field holds: of a struct (class, fields), of a list or map a tuple with such descriptions inside."""
    if not isinstance(arguments, tuple):
        return arguments
    if isinstance(arguments[0], type):
        return _struct(arguments[0])
    return tuple(map(_described, arguments))
