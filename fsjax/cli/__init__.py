"""The `fsjax` command: `fsjax evaluate RUN`, one file a subcommand, one line here to add it."""

import argparse
import sys

from fsjax.cli import (
    activations,
    bench,
    cluster,
    compare,
    embeddings,
    evaluate,
    gates,
    geometry,
    localize,
    rcal,
    sessions,
    widths,
)
from fsjax.errors import UserError
from fsjax.training.flags import show_messages
from fsjax.version import __version__

COMMANDS = {
    "evaluate": evaluate,
    "compare": compare,
    "activations": activations,
    "cluster": cluster,
    "embeddings": embeddings,
    "gates": gates,
    "geometry": geometry,
    "sessions": sessions,
    "localize": localize,
    "widths": widths,
    "rcal": rcal,
    "bench": bench,
}


def main(argv: list[str] | None = None) -> int:
    """Run a command line, and return its exit status: 0, or 2 for what the user can set right.

    Args:
      argv: the arguments behind `fsjax`; None: those of the process.
    """
    parser = argparse.ArgumentParser(prog="fsjax", description="Evaluation of trained runs, and how fast things are.")
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        summary = module.__doc__.split("\n")[0].replace("%", "%%")  # argparse formats help, not descriptions, with %
        sub = subparsers.add_parser(
            name, help=summary, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        module.add_arguments(sub)
    args = parser.parse_args(argv)
    show_messages()
    try:
        COMMANDS[args.command].run(args)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
