"""Every option of a config: its value, its meaning, what is valid, and where the value comes from.

    fsjax config configs/icu_cifar100.py                      # all of them
    fsjax config configs/icu_cifar100.py loss.icu optimizer   # of these sections
    fsjax config configs/icu_cifar100.py:smoke --config.train.steps=10 train
    fsjax config configs/icu_cifar100.py --changed            # what the file and the command line set

A value comes from "default", the option's declaration; "recipe", the config file; or "flag", the command line. Options
of networks, losses and methods that are not chosen are shown where they are asked for. Anything wrong is named, as
`train.py` would name it: status 2.
"""

import argparse
import shutil
import textwrap
from collections.abc import Iterator

from fsjax.config import check, chosen, options, set_text
from fsjax.config_file import load_config
from fsjax.errors import unknown
from fsjax.options import Leaf, Section

TAKES_OVERRIDES = True  # `--config.KEY=VALUE`, as train.py does
_TABLES = ("method", "model", "loss")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("config", metavar="FILE", help="a config file, with :VARIANT behind it where it has variants")
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help="sections or keys, such as loss.icu or train.steps"
    )
    parser.add_argument("--changed", action="store_true", help="only what is set by the file or the command line")


def run(args: argparse.Namespace) -> None:
    """Print the options."""
    args.sections = [name.removeprefix("config.") for name in args.sections]
    for section in args.sections:
        _check_section(section)
    recipe = load_config(args.config)
    config = recipe.copy_and_resolve_references()
    for key, text in args.overrides:
        set_text(config, key, text)
    check(config)
    set_here = {key for key, _ in args.overrides}
    last = None
    for key, leaf in options(chosen(config)).leaves():
        value, of_recipe = _value(config, key), _value(recipe, key)
        origin = "flag" if key in set_here else "default" if of_recipe == leaf.default else "recipe"
        if not _asked(key, config, args.sections) or (args.changed and origin == "default"):
            continue
        section = key.rpartition(".")[0]
        if section != last:
            print(f"\nconfig.{section}" if section else "\nconfig")
            last = section
        print("\n".join(_lines(key.rpartition(".")[2], value, leaf, origin)))


def _lines(name: str, value: object, leaf: Leaf, origin: str) -> Iterator[str]:
    yield f"  {name} = {value!r}  ({origin})"
    width = max(60, shutil.get_terminal_size((100, 24)).columns)
    for text in (leaf.option.meaning, leaf.in_words()):
        yield from textwrap.wrap(text, width, initial_indent=" " * 6, subsequent_indent=" " * 8)


def _asked(key: str, config: object, sections: list[str]) -> bool:
    """Whether an option is shown."""
    if sections:
        return any(key == section or key.startswith(f"{section}.") for section in sections)
    first, *rest = key.split(".")
    # The options of networks, losses and methods that are not chosen say nothing of the run.
    return first not in _TABLES or len(rest) == 1 or rest[0] == _value(config, f"{first}.name")


def _check_section(name: str) -> None:
    """Raise a `UserError` for a section or key that is not there."""
    node: Leaf | Section = options()
    for part in name.split("."):
        if isinstance(node, Leaf) or part not in node.keys:
            raise unknown(f"section {name}: there is no", part, () if isinstance(node, Leaf) else node.keys)
        node = node.keys[part]


def _value(config: object, key: str) -> object:
    node: object = config
    for part in key.split("."):
        node = node[part]  # type: ignore[index]
    return tuple(node) if isinstance(node, list) else node
