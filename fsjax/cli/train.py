"""Train a model by a recipe, or by a config file of your own.

    fsjax train icu_digits                                          # half a minute; into runs/icu_digits
    fsjax train icu_cifar100 --workdir=runs/icu --config.loss.icu.alpha=0.001
    fsjax train dc_fc100:gap --workdir=runs/gap                     # a variant of a recipe
    fsjax train my_config.py --workdir=runs/mine --config.seed=1
    fsjax train --list                                              # the recipes

The config is the first argument, or that of --config; `python train.py --config=configs/icu_digits.py` in a clone is
the same program. A file that is there comes before a recipe of that name. Without a config the recipe is icu_digits.

`--config.KEY=VALUE` changes a value of the config: --config.train.steps=1000, --config.data.path=pictures,
--config.model.vgg13.widths=(8,8,8). A key that is not there answers with those that are.

The same command again continues the run in its folder.
"""

import argparse
import ast
import textwrap
from collections.abc import Sequence

_WIDTH = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command, for its help and for completion: `main` leaves the line to absl."""
    parser.add_argument("recipe", nargs="?", metavar="CONFIG[:VARIANT]", help="a recipe or a config file (icu_digits)")
    parser.add_argument("--config", metavar="CONFIG[:VARIANT]", help="the same")
    parser.add_argument("--workdir", metavar="FOLDER", help="the folder of the run (runs/NAME)")
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="of process 0, where no launcher starts them")
    parser.add_argument("--num_processes", metavar="N", help="how many processes make the run")
    parser.add_argument("--process_id", metavar="I", help="which of them this is, from 0")
    parser.add_argument("--list", action="store_true", help="list the recipes, and train nothing")


def main(argv: Sequence[str]) -> None:
    """Run the line behind `fsjax train`."""
    if "--list" in argv:
        print(listing())
        return
    from fsjax.training import flags, run

    flags.main(argv, run)


def listing() -> str:
    """The recipes, a line each: the name, and the first line of what the file says of itself."""
    from fsjax.config_file import recipes

    files = recipes()
    width = max(map(len, files))
    lines = []
    for name, path in files.items():
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        summary = textwrap.shorten(said.partition("\n\n")[0], _WIDTH - width - 2, placeholder=" ...")
        lines.append(f"{name:<{width}}  {summary}")
    return "\n".join(lines)
