"""Train a model by a recipe, or by a config file of your own.

    fsjax train icu_digits                                          # half a minute; into runs/icu_digits
    fsjax train icu_cifar100 --workdir=runs/icu --config.loss.icu.alpha=0.001
    fsjax train dc_fc100:gap --workdir=runs/gap                     # a variant of a recipe
    fsjax train my_config.py --workdir=runs/mine --config.seed=1
    fsjax train --list                                              # the recipes

The config is the first argument, or that of --config; `python train.py --config=configs/icu_digits.py` in a clone is
the same program. A file that is there comes before a recipe of that name. Without a config the recipe is icu_digits.

`--config.KEY=VALUE` changes a value of the config: --config.train.steps=1000, --config.data.path=pictures,
--config.model.vgg13.widths=(8,8,8). An unknown key fails and lists the valid ones; `fsjax config
CONFIG` prints every option, with what is valid.

The same command again continues the run in its folder.
"""

import argparse
import ast
import textwrap
from typing import Any

from fsjax.config import check, folder_of, set_text
from fsjax.config_file import datasets, load_config, recipes
from fsjax.errors import UserError, one_line

TAKES_OVERRIDES = True
# What is trained if the line names nothing.
DEFAULT = "icu_digits"
_WIDTH = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    what = f"a recipe or a config file, with a variant of it such as :smoke ({DEFAULT})"
    parser.add_argument("recipe", nargs="?", metavar="CONFIG[:VARIANT]", help=what)
    parser.add_argument("--config", metavar="CONFIG[:VARIANT]", help="the same")
    parser.add_argument(
        "--workdir",
        metavar="FOLDER",
        help="the run's folder; the same command again continues the run in it (runs/NAME)",
    )
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="of process 0, where no launcher starts them")
    parser.add_argument("--num_processes", type=int, metavar="N", help="how many processes make the run")
    parser.add_argument("--process_id", type=int, metavar="I", help="which of them this is, from 0")
    parser.add_argument("--list", action="store_true", help="list the recipes, and train nothing")


def run(args: argparse.Namespace) -> None:
    """Train, or list the recipes."""
    if args.list:
        print(listing())
        return
    config, workdir = read(args)
    # A config is checked before jax is imported, which takes seconds.
    from fsjax import training
    from fsjax.training import process

    processes = {name: getattr(args, name) for name in ("coordinator", "num_processes", "process_id")}
    process.start(lambda: training.run(config, workdir), **processes)


def read(args: argparse.Namespace) -> tuple[Any, str]:
    """The config of a line, with its overrides and checked, and the workdir.

    Raises:
      UserError: for two configs, one that is not there, or an option that is not valid.
    """
    if args.recipe is not None and args.config is not None:
        raise UserError(f"a run has one config, not {one_line(args.recipe)} and {one_line(args.config)}")
    config = load_config(next((named for named in (args.recipe, args.config) if named is not None), DEFAULT))
    for key, text in args.overrides:
        set_text(config, key, text)
    check(config)
    return config, args.workdir or folder_of(config.name)


def listing() -> str:
    """The recipes, one line each: the name, the first line of what the file says of itself, a family's data sets."""
    files = recipes()
    width = max(map(len, files))
    lines = []
    for name, path in files.items():
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        variants = ", ".join(f":{one}" for one in datasets(path))
        known = f" [{variants}]" if variants else ""
        summary = textwrap.shorten(said.partition("\n\n")[0], _WIDTH - width - len(known) - 2, placeholder=" ...")
        lines.append(f"{name:<{width}}  {summary}{known}")
    return "\n".join(lines)
