"""Tables of what has a name: what comes with fsjax, what installed packages add, and what a plug-in module adds.

A package adds a loss by an entry point, in its pyproject.toml:

    [project.entry-points."fsjax.losses"]
    smoothed = "my_package.options:SMOOTHED"   # a `fsjax.options.Choice`

A module, `--plugin my_module` or `use_plugin("my_module")`, adds what is in its `LOSSES`, `MODELS`, `METHODS`,
`SOURCES` and `METRICS`, dicts of `Choice` by name. Nothing is imported before its name is asked for, and never because
a run names it.
"""

import functools
import hashlib
import importlib
import importlib.metadata
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from fsjax.errors import UserError, one_line

# By kind, as in the groups of entry points: what one of it is called in messages.
KINDS = {
    "losses": "loss", "models": "model", "methods": "method", "sources": "source of data", "metrics": "metric",
}  # fmt: skip


class Choice(NamedTuple):
    """One of several losses, networks, methods, sources of data or metrics: its options, and where it is.

    Attributes:
      options: the dataclass of its options; `NoOptions` for none. Sources and metrics have none.
      made_by: "package.module:object", as in an entry point; it is imported when it is chosen.
    """

    options: type
    made_by: str

    def load(self) -> Any:
        """The object that `made_by` names."""
        module, _, name = self.made_by.partition(":")
        return getattr(importlib.import_module(module), name)


class Table(MutableMapping[str, Choice]):
    """Choices by name.

    Attributes:
      kind: of `KINDS`.
      own: those of fsjax.
    """

    def __init__(self, kind: str, own: Mapping[str, Choice]) -> None:
        self.kind, self.own = kind, dict(own)

    def __getitem__(self, name: str) -> Choice:
        """The choice of a name; that of a plug-in is imported now.

        Raises:
          KeyError: for a name that is not there.
          UserError: for one that two have, or that cannot be imported.
        """
        if name in _ADDED[self.kind]:
            return _ADDED[self.kind][name][0]
        installed = _installed(tuple(sys.path)).get((self.kind, name), ())
        holders = [*(["fsjax"] if name in self.own else []), *map(_provider, installed)]
        if len(holders) > 1:
            raise UserError(
                f"the {KINDS[self.kind]} {name!r} is there {len(holders)} times, in {' and '.join(holders)}: uninstall "
                "all packages but one of these"
            )
        return _imported(installed[0], self.kind) if installed else self.own[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self.own, *self.plugged()]))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return name in self.own or name in self.plugged()

    def __setitem__(self, name: str, choice: Choice) -> None:
        self.own[name] = choice

    def __delitem__(self, name: str) -> None:
        del self.own[name]

    def plugged(self) -> dict[str, str]:
        """The names that plug-ins add, each with where it comes from; none is imported."""
        return plugged(self.kind)


# What plug-in modules have added: by kind and name the choice, and the module in words.
_ADDED: dict[str, dict[str, tuple[Choice, str]]] = {kind: {} for kind in KINDS}


def use_plugin(module: str | ModuleType) -> None:
    """Add what a module has in its `LOSSES`, `MODELS`, `METHODS`, `SOURCES` and `METRICS`, dicts of `Choice` by name.

    Args:
      module: the module, or its name; a module in the current folder is found too.

    Raises:
      UserError: for a module that cannot be imported or has none of these, a value that is no `Choice`, and a name that
        fsjax or another plug-in has.
    """
    if isinstance(module, str):
        module = _module(module)
    tables = {kind: getattr(module, kind.upper()) for kind in KINDS if hasattr(module, kind.upper())}
    if not tables:
        raise UserError(
            f"the plug-in {module.__name__} adds nothing: it has none of {', '.join(kind.upper() for kind in KINDS)}"
        )
    provider = _in_words(module)
    for kind, table in tables.items():
        if not isinstance(table, Mapping):
            raise UserError(f"{module.__name__}.{kind.upper()} must be a dict of choices by name, not {table!r}")
        for name, choice in table.items():
            others = _others(kind, name, provider)
            if others:
                raise UserError(
                    f"the plug-in {module.__name__} has a {KINDS[kind]} {name!r}, and {others} has one: rename it"
                )
            _ADDED[kind][name] = _checked(choice, f"{module.__name__}.{kind.upper()}[{name!r}]"), provider


def plugged(kind: str) -> dict[str, str]:
    """The names of a kind that plug-ins add, each with where it comes from: {"smoothed": "fsjax-example 0.1"}."""
    installed = _installed(tuple(sys.path)).items()
    found = {name: _provider(points[0]) for (of, name), points in installed if of == kind}
    return found | {name: provider for name, (_, provider) in _ADDED[kind].items()}


def _module(name: str) -> ModuleType:
    importlib.invalidate_caches()
    try:
        # A command that pip installs does not look into the current folder, as `python -m` does.
        sys.path.insert(0, "")
        try:
            return importlib.import_module(name)
        finally:
            sys.path.remove("")
    except Exception as error:
        raise UserError(
            f"--plugin {one_line(name)}: the module cannot be imported ({type(error).__name__}: {one_line(str(error))})"
        ) from error


def _in_words(module: ModuleType) -> str:
    """A module's name, with eight digits of the SHA-256 of its file: it has no version."""
    file = getattr(module, "__file__", None)
    digest = hashlib.sha256(Path(file).read_bytes()).hexdigest()[:8] if file else "no file"
    return f"the module {module.__name__} ({digest})"


def _others(kind: str, name: str, provider: str) -> str:
    """Who else has this name, beside this module; "" for nobody."""
    if name in _ADDED[kind] and _ADDED[kind][name][1] != provider:
        return _ADDED[kind][name][1]
    points = _installed(tuple(sys.path)).get((kind, name), ())
    return _provider(points[0]) if points else "fsjax" if name in _own_names(kind) else ""


def _own_names(kind: str) -> Mapping[str, Choice]:
    """The names of fsjax's own choices."""
    rooms = {"sources": "fsjax.data.sources", "metrics": "fsjax.options.metrics"}
    room = importlib.import_module(rooms.get(kind, f"fsjax.options.{kind}"))
    return getattr(room, kind.upper()).own


@functools.cache
def _installed(path: tuple[str, ...]) -> dict[tuple[str, str], list[importlib.metadata.EntryPoint]]:
    """The entry points of all installed packages by kind and name; `path` is `sys.path`, where they are looked for."""
    found: dict[tuple[str, str], list[importlib.metadata.EntryPoint]] = {}
    points = importlib.metadata.entry_points()  # of all groups at once: each call reads those of every package
    for kind in KINDS:
        for point in points.select(group=f"fsjax.{kind}"):
            found.setdefault((kind, point.name), []).append(point)
    return found


def _provider(point: importlib.metadata.EntryPoint) -> str:
    """The package of an entry point, with its version."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


def _imported(point: importlib.metadata.EntryPoint, kind: str) -> Choice:
    what = f"the {KINDS[kind]} {point.name!r} of {_provider(point)} ({point.value})"
    try:
        found = point.load()
    except Exception as error:
        raise UserError(f"{what} cannot be imported ({type(error).__name__}: {one_line(str(error))})") from error
    return _checked(found, what)


def _checked(choice: Any, what: str) -> Choice:
    if not isinstance(choice, Choice):
        raise UserError(f"{what} must be a fsjax.options.Choice, not {one_line(repr(choice))}")
    return choice
