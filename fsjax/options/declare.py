"""How an option is declared: a field of a dataclass, with what is valid for it."""

import dataclasses
from collections.abc import Collection
from typing import Any

_KEY = "option"


@dataclasses.dataclass(frozen=True)
class Option:
    """What a field holds besides its type and default.

    Attributes:
      meaning: in a line.
      at_least, above, at_most, below: ends of the range of a number, or of each number of a tuple.
      or_: numbers beside the range, such as the 0 that switches something off.
      among: the valid texts or numbers, where these are few; of a table its names, plug-ins' among them.
      entries: least and most entries of a tuple.
      filled: whether a text must not be empty.
      shapes_network: of a method, whether it decides which parameters the network has, or what they mean.
    """

    meaning: str
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    or_: tuple[float, ...] = ()
    among: Collection[Any] = ()
    entries: tuple[int, int] = (0, 100)
    filled: bool = False
    shapes_network: bool = False

    def __post_init__(self) -> None:
        if (self.at_least is not None and self.above is not None) or (
            self.at_most is not None and self.below is not None
        ):
            raise TypeError(f"{self.meaning!r}: a range has one lower and one upper end")

    @property
    def choices(self) -> tuple[Any, ...]:
        """What is in `among` now: plug-ins come after the declaration."""
        return tuple(self.among)

    def holds(self, number: float) -> bool:
        """Whether a number is in the range; no NaN is, and no infinity."""
        if number in self.or_:
            return True
        low = number > self.above if self.above is not None else self.at_least is not None and number >= self.at_least
        high = number < self.below if self.below is not None else self.at_most is not None and number <= self.at_most
        return low and high

    def range_in_words(self) -> str:
        """Such as "0, or at least 2 and at most 10,000"."""
        ends = {"above": self.above, "at least": self.at_least, "below": self.below, "at most": self.at_most}
        words = " and ".join(f"{word} {shown_number(end)}" for word, end in ends.items() if end is not None)
        return f"{' or '.join(shown_number(x) for x in self.or_)}, or {words}" if self.or_ else words


def option(
    default: Any,
    meaning: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    or_: tuple[float, ...] = (),
    choices: Collection[Any] = (),
    entries: tuple[int, int] = (0, 100),
    filled: bool = False,
    shapes_network: bool = False,
) -> Any:
    """A field of a dataclass of options.

    Args:
      default: its default. "" where `choices` or `filled` forbid it stands for what must be chosen.
      meaning: in a line.
      at_least, above, at_most, below, or_, entries, filled, shapes_network: see `Option`; a number needs choices, or a
        lower and an upper end.
      choices: `Option.among`.
    """
    declared = Option(meaning, at_least, above, at_most, below, or_, choices, entries, filled, shapes_network)
    return dataclasses.field(default=default, metadata={_KEY: declared})


def is_option(field: dataclasses.Field) -> bool:
    """Whether a field was made by `option`."""
    return _KEY in field.metadata


def declared(field: dataclasses.Field) -> Option:
    """What was said of a field."""
    return field.metadata[_KEY]


def choices(kind: type, name: str) -> tuple[Any, ...]:
    """The valid values of an option of a class."""
    (field,) = (field for field in dataclasses.fields(kind) if field.name == name)
    return declared(field).choices


def shown_number(number: float) -> str:
    """ "0.5", "10,000", "1e-06"."""
    if isinstance(number, int) or (abs(number) >= 1 and number == int(number)):
        return f"{int(number):,}"
    return f"{number:g}"
