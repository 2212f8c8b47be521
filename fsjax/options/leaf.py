"""One option as a value of a config: whether a value is of its type and in its range, and both in words."""

import ast
import dataclasses
import difflib
import numbers
import types
import typing
from typing import Any

from fsjax.errors import UserError, one_line
from fsjax.options.declare import Option

# No path is longer.
_LONGEST_TEXT = 4096
_WORDS = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}
_PLURAL = {int: "whole numbers", float: "numbers", str: "texts"}


class _WrongType(Exception):
    """A value is not of the type."""


@dataclasses.dataclass(frozen=True)
class Leaf:
    """An option of a section.

    Attributes:
      kind: its type, as it is annotated: bool, int, float, str, of these a tuple of any length or a pair, or None
        beside one of them.
      default: its default.
      option: what else was declared.
    """

    kind: Any
    default: Any
    option: Option

    def __post_init__(self) -> None:
        numeric = {int, float} & self.scalars and not self.option.choices
        if numeric and None in (
            _either(self.option.at_least, self.option.above),
            _either(self.option.at_most, self.option.below),
        ):
            raise TypeError(f"{self.option.meaning!r}: a number needs a lower and an upper end")

    @property
    def scalars(self) -> set[type]:
        """The types of single values in the type."""
        return set(_scalars(self.kind))

    @property
    def of_tuples(self) -> bool:
        """Whether values are tuples."""
        return any(typing.get_origin(part) is tuple for part in _parts(self.kind))

    @property
    def optional(self) -> bool:
        """Whether None is a value."""
        return type(None) in _parts(self.kind)

    def read(self, value: Any, key: str) -> Any:
        """The value, lists as tuples and whole numbers as floats where these are meant.

        Args:
          value: as it was given.
          key: for the message, such as "config.optimizer.eps".

        Raises:
          UserError: for a value of another type, or out of range.
        """
        try:
            found = self._typed(self.kind, value)
        except _WrongType:
            raise UserError(f"{key}={shown(value)} must be {self.in_words()} ({self.option.meaning})") from None
        for part in _flat(found):
            if not self._valid(part):
                valid = self._range_in_words() + (", or None" if self.optional else "")
                must = ": each must be" if self.of_tuples else " must be"
                raise UserError(f"{key}={shown(value)}{must} {valid} ({self.option.meaning}){self._guess(part)}")
        return float(found) if self.kind in (float, float | None) and found is not None else found

    def parse(self, text: str) -> Any:
        """The value that a text of a command line stands for, not checked: "0.1", "True", "(5,1)", "gap"."""
        if self.kind is str:
            return text
        if self.kind is bool:
            return {"true": True, "false": False}.get(text.lower(), text)
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            value = _number_or_words(text)
        if self.of_tuples and not (isinstance(value, tuple | list) or value is None):
            value = tuple(value.split(",")) if isinstance(value, str) else (value,)
        return value

    def in_words(self) -> str:
        """What is valid, such as "a whole number, at least 1 and at most 1,000"."""
        kinds = [kind for kind in (bool, int, float, str) if kind in self.scalars]
        if self.of_tuples:
            least, most = self.option.entries
            count = f"{least} to {most}" if least < most else str(most)
            words = f"a tuple of {count} {self._entries_in_words(_PLURAL[kinds[0]])}"
        else:
            words = " or ".join(_WORDS[kind] for kind in kinds)
        valid = self._range_in_words()
        if valid and kinds != [bool]:
            each = "each " if self.of_tuples else ""
            words = valid if self.option.choices and not self.of_tuples else f"{words}, {each}{valid}"
        return f"{words}, or None" if self.optional else words

    def _entries_in_words(self, scalars: str) -> str:
        (entry, *_) = typing.get_args(_parts(self.kind)[0])
        if typing.get_origin(entry) is tuple:
            return f"tuples of {scalars}"
        return f"{scalars} or pairs of them" if len(_parts(entry)) > 1 else scalars

    def _range_in_words(self) -> str:
        if self.option.choices:
            return f"one of {', '.join(map(repr, self.option.choices))}"
        if {int, float} & self.scalars:
            return self.option.range_in_words()
        if str not in self.scalars:
            return ""
        filled = "at least 1 and " if self.option.filled else ""
        return f"of {filled}at most {_LONGEST_TEXT:,} printable characters"

    def _guess(self, value: Any) -> str:
        known = [choice for choice in self.option.choices if isinstance(choice, str)]
        close = difflib.get_close_matches(value, known, n=1) if isinstance(value, str) else ()
        return f". Did you mean {close[0]!r}?" if close else ""

    def _valid(self, value: Any) -> bool:
        if value is None or isinstance(value, bool):
            return True
        if self.option.choices:
            return value in self.option.choices
        if isinstance(value, str):
            # Bytes of a path that are no UTF-8 are surrogates, which are not printable and yet can be opened.
            printable = all(c.isprintable() or "\ud800" <= c <= "\udfff" for c in value)
            return printable and bool(value or not self.option.filled) and len(value) <= _LONGEST_TEXT
        return self.option.holds(value)

    def _typed(self, kind: Any, value: Any) -> Any:
        """The value as one of this type."""
        if isinstance(kind, types.UnionType):
            for part in typing.get_args(kind):
                try:
                    return self._typed(part, value)
                except _WrongType:
                    pass
            raise _WrongType
        if typing.get_origin(kind) is tuple:
            return self._tuple(typing.get_args(kind), value)
        if kind is type(None):
            if value is None:
                return None
            raise _WrongType
        return _scalar(kind, value)

    def _tuple(self, kinds: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
        if not isinstance(value, tuple | list):
            raise _WrongType
        if kinds[-1] is not Ellipsis:  # a pair
            if len(value) != len(kinds):
                raise _WrongType
            return tuple(self._typed(kind, part) for kind, part in zip(kinds, value, strict=True))
        least, most = self.option.entries
        if not least <= len(value) <= most:
            raise _WrongType
        return tuple(self._typed(kinds[0], part) for part in value)


def shown(value: Any) -> str:
    """A value in a message: in one line, cut off where it is long."""
    try:
        text = one_line(" ".join(repr(value).split()))
    except ValueError:  # Python writes no whole numbers of thousands of digits
        text = f"a number of {value.bit_length():,} bits" if isinstance(value, int) else type(value).__name__
    return text if len(text) <= 200 else f"{text[:200]}…"


def _number_or_words(text: str) -> Any:
    try:
        return float(text)  # "nan" and "inf", which are no literals
    except ValueError:
        return text


def _scalar(kind: type, value: Any) -> Any:
    if kind is bool or isinstance(value, bool):
        if kind is bool and isinstance(value, bool):
            return value
        raise _WrongType
    if kind is str:
        if isinstance(value, str):
            return value
        if hasattr(value, "__fspath__"):
            return str(value)
        raise _WrongType
    if kind is int and isinstance(value, numbers.Integral):
        return int(value)
    if kind is float and isinstance(value, numbers.Real):
        # Of whole numbers that no float holds the range has no room either.
        return int(value) if isinstance(value, numbers.Integral) else float(value)
    raise _WrongType


def _parts(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)


def _scalars(kind: Any) -> list[type]:
    found = []
    for part in _parts(kind):
        if typing.get_origin(part) is tuple:
            found += [x for inner in typing.get_args(part) if inner is not Ellipsis for x in _scalars(inner)]
        elif part is not type(None):
            found.append(part)
    return found


def _flat(value: Any) -> list[Any]:
    return [x for part in value for x in _flat(part)] if isinstance(value, tuple) else [value]


def _either(first: float | None, second: float | None) -> float | None:
    return second if first is None else first
