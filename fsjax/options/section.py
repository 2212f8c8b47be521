"""Sections of options: dataclasses of them, tables of named choices, and how both are read from a mapping."""

import dataclasses
import inspect
import sys
from collections.abc import Iterator
from typing import Any, TypeVar

from fsjax.errors import UserError, unknown
from fsjax.options.declare import declared, is_option
from fsjax.options.leaf import Leaf, shown
from fsjax.options.table import Table

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoOptions:
    """Of what has none."""


@dataclasses.dataclass(frozen=True)
class Section:
    """Options and further sections by name.

    Attributes:
      keys: `Leaf` or `Section` by name.
      kind: the dataclass that they are the fields of, if they are.
    """

    keys: dict[str, "Leaf | Section"]
    kind: type | None = None

    def defaults(self) -> dict[str, Any]:
        """The defaults, as nested dicts."""
        return {n: node.defaults() if isinstance(node, Section) else node.default for n, node in self.keys.items()}

    def leaves(self, at: str = "") -> Iterator[tuple[str, Leaf]]:
        """The options with their keys, such as "optimizer.eps"; `at` stands in front of them."""
        for name, node in self.keys.items():
            if isinstance(node, Section):
                yield from node.leaves(f"{at}{name}.")
            else:
                yield at + name, node

    def read(self, values: Any, at: str, *, whole: bool = False) -> Any:
        """The checked values.

        Args:
          values: a mapping; what it leaves out has its default.
          at: the section's own key, for messages: "config.loss".
          whole: whether to refuse a mapping that leaves something out.

        Returns:
          An instance of `kind`, or without one a dict.

        Raises:
          UserError: naming the first key that is unknown, missing, of the wrong type or out of range.
        """
        if dataclasses.is_dataclass(values) and not isinstance(values, type):
            values = {name: getattr(values, name) for name in self.keys}
        if not hasattr(values, "items"):
            raise UserError(f"{at}={shown(values)} must be a section with: {', '.join(sorted(self.keys))}")
        prefix = f"{at}." if at else ""
        for name in values:
            if name not in self.keys:
                raise unknown(f"key {prefix}{name}: there is no" if not at else f"key in {at}:", name, self.keys)
        if whole:
            for name in self.keys:
                if name not in values:
                    raise UserError(f"{prefix}{name} is missing; {at} needs: {', '.join(sorted(self.keys))}")
        found = {}
        for name, value in values.items():
            node = self.keys[name]
            key = prefix + name
            found[name] = node.read(value, key, whole=whole) if isinstance(node, Section) else node.read(value, key)
        if self.kind is None:
            return found
        made = self.kind(**found)
        check_rules(made, prefix)
        return made


_SECTIONS: dict[type, Section] = {}  # those that were made


def section(kind: type) -> Section:
    """The options of a dataclass; a field of another dataclass of options is a section in it."""
    if kind not in _SECTIONS:
        _SECTIONS[kind] = _section(kind)
    return _SECTIONS[kind]


def _section(kind: Any) -> Section:
    keys: dict[str, Leaf | Section] = {}
    for field in dataclasses.fields(kind):
        if is_option(field):
            keys[field.name] = Leaf(_annotated(kind, field.name), field.default, declared(field))
        elif dataclasses.is_dataclass(field.default):
            keys[field.name] = section(type(field.default))
    return Section(keys, kind)


def _annotated(kind: type, name: str) -> Any:
    """The type of a field; a linen module has fields beside the options whose types are of no concern here."""
    (owner, *_) = (base for base in kind.__mro__ if name in inspect.get_annotations(base))
    found = inspect.get_annotations(owner)[name]
    return eval(found, vars(sys.modules[owner.__module__])) if isinstance(found, str) else found


def of_table(own: type, table: Table, chosen: str = "") -> Section:
    """A section such as `config.loss`: options of its own, `name` among them, and a section for each choice.

    Args:
      own: the dataclass of its own options.
      table: what `name` chooses from, as it declares.
      chosen: a name of a plug-in that has a section too; others of plug-ins have none, so that they are not imported.
    """
    names = [*table.own, *([chosen] if chosen in table and chosen not in table.own else [])]
    return Section(section(own).keys | {name: section(table[name].options) for name in names})


def read(kind: type[T], values: Any, at: str) -> T:
    """Checked options of a mapping, such as a section of a config; see `Section.read`."""
    return section(kind).read(values, at)


def check_fields(options: Any, at: str = "") -> None:
    """Check the options of an object of a dataclass with some: their ranges, and the rules between them.

    Raises:
      UserError: for a value of the wrong type or out of range.
    """
    for name, node in section(type(options)).keys.items():
        if isinstance(node, Leaf):
            node.read(getattr(options, name), at + name)
    check_rules(options, at)


def check_rules(options: Any, at: str) -> None:
    """Check the rules between options of a class that has some: its method `check_rules(at)`."""
    if hasattr(options, "check_rules"):
        options.check_rules(at)
