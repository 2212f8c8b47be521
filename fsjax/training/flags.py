"""The command line of training: a config, `--workdir`, and overrides such as `--config.loss.name=lgm`."""

import contextlib
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
from absl import flags
from ml_collections import config_flags

from fsjax.config_file import load_config
from fsjax.errors import UserError, one_line, unknown
from fsjax.training.connect import connect, leave

# What is trained if the line names nothing.
DEFAULT = "icu_digits"
# Of a process that was interrupted from the keyboard, as shells have it.
_INTERRUPTED = 130
_PROCESSES = ("coordinator", "num_processes", "process_id")


def main(argv: Sequence[str], run: Callable[[Any, str], Any]) -> None:
    """Parse a command line, call `run(config, workdir)`, and print a `UserError` in a line.

    Args:
      argv: the arguments: a config, as the first one or by `--config`, and options.
      run: what to do; `fsjax.training.run`.
    """
    with _user_errors():
        config, workdir, processes = parse(argv)
        connect(**processes)
        run(config, workdir)


def parse(argv: Sequence[str]) -> tuple[Any, str, dict[str, Any]]:
    """What a command line says.

    Returns:
      The config with its overrides, the workdir, and the arguments of `connect`.

    Raises:
      UserError: for a recipe, file, variant, option or key that is not there, or a value of another type.
    """
    named, rest = _split(argv)
    config = load_config(named)
    for argument in rest:
        key = argument.lstrip("-").partition("=")[0]
        if argument.startswith("-") and key.removeprefix("no").startswith("config."):
            _check_key(config, key.removeprefix("no"))
    values = flags.FlagValues()
    values.set_gnu_getopt(True)  # options may stand behind what is not understood, which is then named
    config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=rest)
    flags.DEFINE_string("workdir", None, "", flag_values=values)
    flags.DEFINE_string("coordinator", None, "", flag_values=values)
    flags.DEFINE_integer("num_processes", None, "", flag_values=values)
    flags.DEFINE_integer("process_id", None, "", flag_values=values)
    try:
        _, *others = values(["train", *rest])
    except (flags.Error, TypeError, ValueError) as error:
        raise UserError(one_line(" ".join(str(error).split()))) from error
    if others:
        raise UserError(
            f"{one_line(others[0])!r} is not understood: a config comes first, as in `fsjax train {DEFAULT}`, and "
            "options begin with --, such as --config.seed=1"
        )
    return values.config, values.workdir or f"runs/{config.name}", {name: values[name].value for name in _PROCESSES}


def _split(argv: Sequence[str]) -> tuple[str, list[str]]:
    """The config that a line names, and the rest of it.

    Raises:
      UserError: for two of them.
    """
    named, rest = [], list(argv)
    if rest and not rest[0].startswith("-"):
        named.append(rest.pop(0))
    others: list[str] = []
    while rest:
        argument = rest.pop(0)
        if argument in ("--config", "-config"):
            if not rest:
                raise UserError(f"--config needs a recipe or a file behind it, such as --config={DEFAULT}")
            named.append(rest.pop(0))
        elif argument.startswith(("--config=", "-config=")):
            named.append(argument.partition("=")[2])
        else:
            others.append(argument)
    if len(named) > 1:
        raise UserError(f"a run has one config, not {' and '.join(map(one_line, named))}")
    return (named or [DEFAULT])[0], others


def _check_key(config: Any, key: str) -> None:
    node, path = config, "config"
    for part in key.split(".")[1:]:
        part = part.partition("[")[0]
        if not hasattr(node, "keys"):
            raise UserError(f"--{key}: {path} is a value, {node!r}, and has no keys")
        if part not in node:
            raise unknown(f"key in --{path}:", part, node.keys())
        node, path = node[part], f"{path}.{part}"


@contextlib.contextmanager
def _user_errors() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        leave(2)
    except KeyboardInterrupt:
        print("interrupted at once: the same command continues the run from its last checkpoint", file=sys.stderr)
        leave(_INTERRUPTED)
    except Exception:
        if not jax.distributed.is_initialized():
            raise
        traceback.print_exc()
        leave(1)
