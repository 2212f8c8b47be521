"""What episodes are asked for, and whether the classes of a split can make them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fsjax.data.errors import DataError
from fsjax.errors import unknown

Count = int | tuple[int, int]

_FIELDS = ("way", "shot", "query")
_LEAST = {"way": 2, "shot": 1, "query": 1}


@dataclasses.dataclass(frozen=True)
class EpisodeSpec:
    """The size of episodes; a pair (least, most) is drawn uniformly, both ends included.

    Attributes:
      way: classes of an episode; a pair is drawn for each episode.
      shot: support images of a class; a pair is drawn for each class of each episode.
      query: query images of a class; likewise.
    """

    way: Count
    shot: Count
    query: Count

    @property
    def max_way(self) -> int:
        """The most classes of an episode."""
        return ends(self.way)[1]

    @property
    def max_shot(self) -> int:
        """The most support images of a class."""
        return ends(self.shot)[1]

    @property
    def max_query(self) -> int:
        """The most query images of a class."""
        return ends(self.query)[1]

    @property
    def images(self) -> int:
        """The most images of a class: what every class must have."""
        return self.max_shot + self.max_query

    @property
    def rows(self) -> int:
        """Images of an episode, the padding of a ragged one included."""
        return self.max_way * self.images

    @property
    def ragged(self) -> bool:
        """Whether ways, shots or queries vary."""
        return any(low != high for low, high in map(ends, (self.way, self.shot, self.query)))

    @property
    def words(self) -> int:
        """32-bit words that an episode draws."""
        return self.max_way + self.rows + self.ragged * (1 + 2 * self.max_way)

    def __str__(self) -> str:
        return " ".join(f"{in_words(getattr(self, name), '-')}-{name}" for name in _FIELDS)

    def to_json(self) -> dict[str, Any]:
        """The fields as plain types that JSON keeps; `parse_spec` reads them."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(self).items()}


def parse_spec(values: Mapping[str, Any] | None = None, *, allow_no_query: bool = False, **fields: Any) -> EpisodeSpec:
    """The checked spec of a mapping or of keywords.

    Args:
      values: `way`, `shot` and `query`, each a whole number or a pair (least, most).
      allow_no_query: whether `query` may be 0.
      **fields: the same; they go before the mapping's.

    Raises:
      UserError: for a key that is unknown or missing, and for a value that is not a count.
    """
    given = {**dict(values or {}), **fields}
    for name in given:
        if name not in _FIELDS:
            raise unknown("key of episodes", name, _FIELDS)
    for name in _FIELDS:
        if name not in given:
            raise DataError(f"episodes need {name!r}: give way, shot and query, such as way=5, shot=1, query=15")
    least = _LEAST | ({"query": 0} if allow_no_query else {})
    return EpisodeSpec(**{name: _count(name, given[name], least[name]) for name in _FIELDS})


def _count(name: str, value: Any, least: int) -> Count:
    """A checked field of a spec; a pair of equal ends is a number, and so is a tuple of one."""
    pair = list(value) if isinstance(value, (list, tuple)) else [value]
    pair = pair * 2 if len(pair) == 1 else pair
    if len(pair) != 2 or not all(_whole(end) for end in pair):
        raise DataError(f"{name}={value!r} of episodes must be a whole number, or a pair (least, most) of them")
    low, high = map(int, pair)
    if low < least:
        raise DataError(f"{name}={value!r} of episodes must be at least {least}")
    if high < low:
        raise DataError(f"{name}={value!r} of episodes is a pair (least, most): write ({high}, {low})")
    return low if low == high else (low, high)


def _whole(value: Any) -> bool:
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


@dataclasses.dataclass(frozen=True, eq=False)
class ClassTable:
    """Which examples each class has.

    Attributes:
      order: int32 `[n]`, positions in the split by class, those of a class in the split's order.
      start: int32 `[classes]`, where in `order` each class begins.
      count: int32 `[classes]`, examples of each class.
    """

    order: np.ndarray
    start: np.ndarray
    count: np.ndarray


def class_table(labels: np.ndarray, num_classes: int) -> ClassTable:
    """The table of a split with these labels, integers in `[0, num_classes)`."""
    count = np.bincount(labels, minlength=num_classes).astype(np.int32)
    order = np.argsort(labels, kind="stable").astype(np.int32)
    return ClassTable(order=order, start=np.cumsum(count, dtype=np.int32) - count, count=count)


def check_feasible(
    table: ClassTable, spec: EpisodeSpec, class_names: Sequence[str] | None = None, where: str = ""
) -> None:
    """Raise a `DataError` where these classes cannot make such episodes.

    Every class must have the most shots and the most queries together, also where these vary: an episode's
    draws would otherwise depend on which classes it meets.

    Args:
      table: of the classes.
      spec: of the episodes.
      class_names: for the message; None gives the labels.
      where: what the classes are, for the message, such as "the novel classes".
    """
    classes = len(table.count)
    if classes < spec.max_way:
        held = _plural(classes, "class", "classes") + (f" ({where})" if where else "")
        out = f"set way to {classes} or less" if classes > 1 else "an episode needs at least 2"
        raise DataError(f"{held} cannot make {in_words(spec.way, '-')}-way episodes: {out}")
    short = np.flatnonzero(table.count < spec.images)
    if len(short):
        worst = short[np.argmin(table.count[short])]
        name, has = class_names[worst] if class_names is not None else int(worst), int(table.count[worst])
        queries = f"with {in_words(spec.query, ' ')} {'query' if spec.query == 1 else 'queries'}"
        more = ""
        if len(short) > 1:
            more = f" ({len(short) - 1} more of {classes} classes have fewer than {spec.images})"
        ways_out = [f"lower shot and query to {has} in all"] if has > 1 else []
        # Where too few classes would remain, that is no way out.
        ways_out.append("leave such classes out" if classes - len(short) >= spec.max_way else "add images")
        raise DataError(
            f"class {name!r}{f' of {where}' if where else ''} has {_plural(has, 'image', 'images')}; "
            f"{in_words(spec.shot, '-')}-shot episodes {queries if spec.max_query else 'without queries'} need "
            f"{spec.images}{more}: {', or '.join(ways_out)}"
        )


def ends(count: Count) -> tuple[int, int]:
    """The least and the most of a count."""
    return count if isinstance(count, tuple) else (count, count)


def in_words(count: Count, between: str) -> str:
    """ "5", or "5 to 10" with a space or a hyphen between the words."""
    low, high = ends(count)
    return str(low) if low == high else f"{low}{between}to{between}{high}"


def _plural(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
