"""What a check of a data set finds: a sentence, what to do about it, and where."""

import dataclasses
from collections.abc import Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something in a data set that its user should know of.

    Attributes:
      kind: in a word, "unreadable" for instance.
      what: in a sentence.
      advice: what to do about it.
      serious: whether training fails of it, or its figures would mislead.
      items: where, each a text, or a group of texts.
      between: what stands between the texts of a group.
    """

    kind: str
    what: str
    advice: str = ""
    serious: bool = False
    items: Sequence[str | Sequence[str]] = ()
    between: str = " = "

    def to_json(self) -> dict[str, Any]:
        """The fields as plain types."""
        plain = {name: getattr(self, name) for name in ("kind", "what", "advice", "serious")}
        return plain | {"items": [item if isinstance(item, str) else list(item) for item in self.items]}


def some(names: Sequence[str], most: int = 5) -> str:
    """The first names, in words."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")
