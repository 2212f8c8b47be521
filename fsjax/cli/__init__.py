"""The `fsjax` command: `fsjax evaluate RUN`, one file per subcommand, one line here to add it.

Internal: no part of the public interface.
"""

import argparse
import importlib
import os
import sys
from types import ModuleType
from typing import NoReturn

from fsjax.errors import UserError, platform_errors
from fsjax.version import __version__

# By name of the command, which is that of its module here. Modules are imported when they are needed: `--help`, and a
# command that needs no jax, are there at once.
COMMANDS = {
    "train": "a model, by a recipe or a config file",
    "predict": "labels for your own pictures by a few labelled ones: a table, and a page to look at",
    "networks": "the networks that have a name, their size and licence, and whether they are here",
    "evaluate": "accuracy of a run on few-shot tasks, or on a split, with its 95 % interval",
    "compare": "the difference of two evaluations, paired, with its interval",
    "config": "every option of a config: its value, its meaning, what is valid, and where it was set",
    "data": "a check of a data set, in words, before anything is trained",
    "activations": "class activation maps of runs beside each other",
    "embeddings": "embeddings by t-SNE, and their scatter within and between classes",
    "report": "one HTML page of runs: curves, mistakes, worst tasks, comparison; or a paper's tables",
    "geometry": "neural collapse, uniformity, tolerance and hardness of embeddings",
    "localize": "the boxes that a localization run finds",
    "sessions": "new classes in sessions: prototypes and TEEN",
    "gates": "what the gates of AFLM do",
    "widths": "accuracy by how many features are read",
    "cluster": "clusters of the training images, for the loss dataset_equity",
    "rcal": "EXPERIMENTAL: representation calibration",
    "bench": "how fast a config is on this machine",
    "export": "a folder that classifies pictures with jax alone",
    "completion": "completion of commands and flags for your shell",
}
_EPILOG = """\
`fsjax COMMAND --help` explains a command, with examples.

exit status:
  0  done
  1  fsjax itself failed: the traceback is worth an issue
  2  something that you can set right, named in one line that begins with "error:"
  3  done, and something was found or left out that the output names: pictures that cannot be read, say
"""
# Of a process that was interrupted from the keyboard, as shells have it.
_INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """Run a command line, and return its exit status: see `fsjax --help`.

    Args:
      argv: the arguments behind `fsjax`; None: those of the process.
    """
    argv = sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):
        # Names of files and classes hold what an encoding such as ASCII has not.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        args = parse(argv)
        from fsjax.messages import show_messages

        show_messages()
        with platform_errors():
            return command(args.command).run(args) or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # what reads the output has seen enough: `fsjax ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains as it ends
        return 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return _INTERRUPTED


def parse(argv: list[str]) -> argparse.Namespace:
    """What a command line says; `overrides` holds its `--config.KEY=VALUE`. Only the module of its command is imported.

    Raises:
      UserError: for a command or an argument that is not there, or a value that is not valid.
    """
    from fsjax.options import use_plugin

    name = next(iter(argv), "")
    plugins = _Parser(add_help=False, allow_abbrev=False)
    _add_plugin(plugins)
    for plugin in plugins.parse_known_args(argv)[0].plugin:  # first: they say which names and options there are
        use_plugin(plugin)
    overrides: list[tuple[str, str]] = []
    if name in COMMANDS and getattr(command(name), "TAKES_OVERRIDES", False):
        from fsjax.config_file import split_overrides

        overrides, argv = split_overrides(argv)
    args = parser(*(known for known in COMMANDS if known == name)).parse_args(argv)
    args.overrides = overrides
    return args


def command(name: str) -> ModuleType:
    """The module of a command: its docstring, `add_arguments(parser)` and `run(args)`, which may return a status.

    One whose line may hold `--config.KEY=VALUE` says `TAKES_OVERRIDES = True`.
    """
    return importlib.import_module(f"fsjax.cli.{name}")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line, as all of fsjax does."""
        raise UserError(f"{message}; `{self.prog} --help` explains")


def parser(*names: str) -> argparse.ArgumentParser:
    """The parser of the `fsjax` command.

    Args:
      *names: of `COMMANDS`, those whose arguments it knows; of the others it knows their summary alone.
    """
    whole = _Parser(
        prog="fsjax",
        description="Train, evaluate, compare and use image classifiers.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action="version", version=__version__)
    subparsers = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        module = command(name) if name in names else None
        sub = subparsers.add_parser(
            name,
            help=summary.replace("%", "%%"),  # argparse formats help, not descriptions, with %
            description=module.__doc__ if module else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if module:
            module.add_arguments(sub)
        _add_plugin(sub)
    return whole


def _add_plugin(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="MODULE",
        help="a module that adds losses, networks, methods, sources or metrics; repeatable",
    )
