"""Which model governs a key path: needed to name the nearest valid key and to place an override."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from fedspark.conf.model import KeyPath

DISCRIMINATORS = ("step", "kind")


def shape_at(model: type[BaseModel], path: KeyPath, data: Any) -> Any:
    """Type of the value at ``path`` of ``data``, a file's raw content for ``model``; None where none is."""
    shape: Any = model
    for key in path:
        shape = _plain(shape, data)
        if is_model(shape):
            fields = {field.alias or name: field for name, field in shape.model_fields.items()}
            shape = fields[str(key)].annotation if key in fields else None
        elif get_origin(shape) in (list, dict):
            shape = get_args(shape)[-1]
        else:
            return None
        data = child(data, key)
    return _plain(shape, data)


def is_model(shape: Any) -> bool:
    """Whether the type is a configuration model."""
    return isinstance(shape, type) and issubclass(shape, BaseModel)


def keys_of(shape: Any) -> list[str]:
    """The keys that a mapping of this type may have; empty for a mapping with free keys."""
    return [field.alias or name for name, field in shape.model_fields.items()] if is_model(shape) else []


def is_settings(shape: Any) -> bool:
    """Whether the type is a mapping with free keys and single values, whose keys may contain dots."""
    value = _plain(get_args(shape)[-1], None) if get_origin(shape) is dict else ()
    return not isinstance(value, tuple) and not is_model(value)


def child(data: Any, key: str | int) -> Any:
    """Value under a key or list index; None when there is none."""
    if isinstance(data, Mapping):
        return data.get(key)
    if isinstance(data, list) and isinstance(key, int) and key < len(data):
        return data[key]
    return None


def _plain(shape: Any, data: Any) -> Any:
    """The type without annotations and null; of several models the one that ``data`` says it is, else all of them."""
    while get_origin(shape) is Annotated or (get_origin(shape) is list and isinstance(data, Mapping)):
        shape = get_args(shape)[0]  # a mapping may stand for a list of one
    if get_origin(shape) not in (Union, types.UnionType):
        return shape
    choices = tuple(_plain(choice, data) for choice in get_args(shape) if choice is not types.NoneType)
    if len(choices) == 1:
        return choices[0]
    for choice in choices:
        for tag in DISCRIMINATORS:
            if tag in choice.model_fields and choice.model_fields[tag].default == child(data, tag):
                return choice
    return choices
