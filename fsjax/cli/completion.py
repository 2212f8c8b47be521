"""Completion of commands and flags for your shell.

    fsjax completion bash > ~/.local/share/bash-completion/completions/fsjax
    fsjax completion zsh > "${fpath[1]}/_fsjax"
    fsjax completion tcsh > ~/.fsjax.tcsh              # and `source ~/.fsjax.tcsh` in ~/.tcshrc

The script holds all commands and flags of this version, so that a shell completes without starting Python; write it
again when fsjax was upgraded. It is there in the next shell.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from fsjax.cli.arguments import path_of

SHELLS = ("bash", "zsh", "tcsh")
# Arguments that are files or folders though their type does not say so.
_PATHS = ("run", "runs", "data_path", "config", "images")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("shell", choices=SHELLS)


def run(args: argparse.Namespace) -> None:
    """Print the script."""
    import shtab

    from fsjax.cli import COMMANDS, parser
    from fsjax.config_file import names

    whole = parser(*COMMANDS)
    for action in _arguments(whole):
        if action.dest == "recipe":
            action.choices = tuple(names())
        if action.type in (Path, path_of) or action.dest in _PATHS:
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # what shtab looks for
    print(shtab.complete(whole, shell=args.shell))


def _arguments(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The arguments of all commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from sub._actions
