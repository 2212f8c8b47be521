"""Dataclasses of the fields of a config: types, names and choices are checked, and answered with what is valid."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from fsjax.data.errors import DataError
from fsjax.errors import unknown


def parse_fields(kind: type, values: Mapping[str, Any], where: str) -> Any:
    """A dataclass of a mapping; what it leaves out keeps its default, and numbers are converted where nothing is lost.

    Args:
      kind: the dataclass; a field whose default is a dataclass is a section of its own.
      values: its fields.
      where: the section of the config, for the messages.

    Raises:
      UserError: for an unknown key, or a value of the wrong type.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}
    parsed = {}
    for name, value in dict(values).items():
        if name not in fields:
            raise unknown(f"key of config.{where}", name, fields)
        default = fields[name].default
        if dataclasses.is_dataclass(default):
            if dataclasses.is_dataclass(value) and not isinstance(value, type):
                value = dataclasses.asdict(value)
            if not isinstance(value, Mapping) and not hasattr(value, "items"):
                raise DataError(f"config.{where}.{name}={value!r} must hold fields, not a value")
            parsed[name] = parse_fields(type(default), value, f"{where}.{name}")
        else:
            parsed[name] = _convert(type(default), value, f"{where}.{name}")
    return kind(**parsed)


def check_choice(name: str, value: object, choices: tuple) -> None:
    """Raise a `DataError` for a value that is none of the choices."""
    if value not in choices:
        raise DataError(f"{name}={value!r} is not one of {', '.join(map(repr, choices))}")


def _convert(kind: type, value: Any, where: str) -> Any:
    if isinstance(value, bool) == (kind is bool):
        if isinstance(value, kind):
            return value
        if kind in (int, float) and isinstance(value, (int, float)) and kind(value) == value:
            return kind(value)
        if kind is str and hasattr(value, "__fspath__"):
            return str(value)
    raise DataError(f"config.{where}={value!r} is a {type(value).__name__}; it must be a {kind.__name__}")
