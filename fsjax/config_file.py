"""Configs by a recipe's name or by a file, read without jax: `load_config("icu_digits:smoke")`; overrides of a line.

Internal, but for `fsjax.load_config`.
"""

import difflib
import importlib
import importlib.util
import os
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict

from fsjax.config import complete, find, set_text
from fsjax.errors import UserError, one_line

_LIST = "`fsjax train --list` names the recipes"
_LONGEST = 100


def recipes() -> dict[str, Path]:
    """The recipes that come with fsjax: the file of each by its name, sorted."""
    folder = Path(importlib.import_module("fsjax.configs").__path__[0])
    return {path.stem: path for path in sorted(folder.glob("*.py")) if not path.name.startswith(("_", "common"))}


def names() -> list[str]:
    """What a recipe can be called without a variant: of a family, which has a file for several data sets, each."""
    return [one for name, path in recipes().items() for one in ([f"{name}_{d}" for d in datasets(path)] or [name])]


def load_config(text: str) -> Any:
    """The config of "icu_digits" or "path/to/file.py", with ":VARIANT" behind it where it has variants.

    A file that is there comes before a recipe of that name. Of a family of recipes, "dc_fc100:gap" is "dc:fc100,gap",
    and "configs/dc_fc100.py" is "configs/dc.py:fc100".

    Raises:
      UserError: if there is no such recipe, file or variant, or the file is no config.
    """
    name, _, variant = text.partition(":")
    path, dataset = _find(name)
    module = _loaded(path, text)
    if not hasattr(module, "get_config"):
        raise UserError(f"--config={text}: the file has no function get_config")
    arguments = [part for part in (dataset, variant) if part]
    try:
        config = module.get_config(*([",".join(arguments)] if arguments else []))
    except Exception as error:
        raise UserError(f"--config={text}: {_slip(error, path)}") from error
    if not isinstance(config, ConfigDict):
        raise UserError(f"--config={text}: get_config must return a ConfigDict, not {type(config).__name__}")
    complete(config)
    return config


def _loaded(path: Path, text: str) -> ModuleType:
    """A config file's module; `text` is what the user asked for."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UserError(f"--config={text}: {path.name} is no Python file; its name must end with .py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"--config={text}: {_slip(error, path)}") from error
    return module


def datasets(path: Path) -> tuple[str, ...]:
    """The data sets of a family's file, one of which its variants begin with; of another file none."""
    return getattr(_loaded(path, str(path)), "DATASETS", ())


def _find(name: str) -> tuple[Path, str]:
    """The file that is meant by a path, or by the name of a recipe; and the data set, of a family's older name."""
    path, known = Path(name), recipes()
    if os.path.isfile(path):  # unlike the path's own method, no error for a name that is too long
        return path, ""
    if name in known:
        return known[name], ""
    family, _, dataset = path.stem.rpartition("_")
    file = known.get(family) if name == path.name == path.stem else path.with_name(f"{family}.py")
    if family and path.suffix in ("", ".py") and file is not None and os.path.isfile(file):
        if dataset in datasets(file):
            return file, dataset
    raise UserError(_not_found(name, path, known))


def _not_found(name: str, path: Path, known: Mapping[str, Path]) -> str:
    """What to say of a file or a recipe that is not there."""
    name = one_line(name if len(name) < _LONGEST else f"{name[:_LONGEST]}...")
    if os.path.isdir(path):
        return f"--config={name} is a folder: give a file in it, or a recipe ({_LIST})"
    recipes_and_names = list(dict.fromkeys([*known, *names()]))
    if path.suffix == ".py" or len(path.parts) > 1:
        beside = [str(p) for p in path.parent.glob("*.py")]
        near = [path.stem] if path.stem in known else _near(name, beside) + _near(path.stem, recipes_and_names)
        return f"--config={name}: there is no such file{_meant(near)}"
    own = [str(p) for p in Path().glob("*.py")]
    return f"--config={name}: there is no recipe {name!r}{_meant(_near(name, recipes_and_names) + _near(name, own))}"


def _near(name: str, known: Iterable[str]) -> list[str]:
    """Up to five names like this one: those that it is the beginning of, then those that are spelt alike."""
    known = list(known)
    begun = sorted(other for other in known if name and other.startswith(name))
    return [*begun, *(n for n in difflib.get_close_matches(name, known, n=5) if n not in begun)][:5]


def _meant(near: list[str]) -> str:
    return f"; did you mean {', '.join(near)}?" if near else f"; {_LIST}"


def _slip(error: Exception, path: Path) -> str:
    """What a config file has raised, and in which of its lines."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}: {error.msg}" + (f": {error.text.strip()}" if error.text else "")
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, ValueError) and str(frames[-1].line).startswith("raise "):
        return str(error)  # configs refuse a variant so, in words
    # The config's own line says more than one of a library's that it called.
    own = [frame for frame in frames if Path(frame.filename).resolve().parent == path.resolve().parent]
    where = f"{own[-1].filename}, line {own[-1].lineno}: " if own else ""
    return f"{where}{type(error).__name__}: {error}"


def set_option(config: Any, text: str) -> tuple[str, str]:
    """Set a key of a config by "KEY=VALUE", such as "data.augment.flip=True".

    Returns:
      The key and the value, as texts.

    Raises:
      UserError: for a text of another form, an unknown key, or a value of the wrong type or out of range.
    """
    key, separator, value = text.removeprefix("config.").partition("=")
    if not separator:
        raise UserError(f"--set {text}: must be KEY=VALUE, such as model.remat=True")
    set_text(config, key, value)
    return key, value


def split_overrides(arguments: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Divide a command line into overrides of a config, `--config.KEY=VALUE`, and the rest.

    `--config.KEY VALUE` is another way to write it; `--config.KEY` alone, of an option that is True or False, is True.

    Returns:
      The overrides as keys and texts, and the other arguments, both in order.

    Raises:
      UserError: for an unknown key, or one without a value.
    """
    overrides, rest, left = [], [], list(arguments)
    while left:
        name, separator, value = left.pop(0).partition("=")
        key = name.lstrip("-").removeprefix("config.")
        if not name.startswith("-") or name.lstrip("-") == key:
            rest.append(name + separator + value)
            continue
        if not separator and find(key).kind is bool:
            value = "True"
        elif not separator and (not left or left[0].startswith("--")):
            raise UserError(f"{name} needs a value: {name}=VALUE")
        elif not separator:
            value = left.pop(0)
        overrides.append((key, value))
    return overrides, rest
