"""The command line of `train.py`: `--config`, `--workdir`, and overrides such as `--config.loss.name=lgm`."""

import contextlib
import itertools
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import absl.logging
import jax
from absl import app, flags
from ml_collections import config_flags

from fsjax.config_file import load_config
from fsjax.errors import UserError, unknown
from fsjax.messages import show_messages
from fsjax.training.connect import connect, leave

# Of a process that was interrupted from the keyboard, as shells have it.
_INTERRUPTED = 130
_PROCESSES = ("coordinator", "num_processes", "process_id")


def main(run: Callable[[Any, str], Any], *, default_config: Path) -> None:
    """Parse the command line, call `run(config, workdir)`, and print a `UserError` in a line.

    Args:
      run: what to do; `fsjax.training.run`.
      default_config: the config file of a command line without `--config`.
    """
    with _user_errors():
        check_overrides(sys.argv, default_config)  # before absl, whose own answer is a traceback
    config = config_flags.DEFINE_config_file(
        "config",
        str(default_config),
        "A config file, with :VARIANT behind it where it has variants, such as :smoke.",
    )
    workdir = flags.DEFINE_string(
        "workdir",
        None,
        "The run's folder. The same command again continues the run in it. Default: runs/NAME.",
    )
    flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, where no launcher starts the processes.")
    flags.DEFINE_integer("num_processes", None, "How many processes make the run.")
    flags.DEFINE_integer("process_id", None, "Which of them this is, from 0.")
    for name in ("config", "workdir", *_PROCESSES):
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])  # so that --help shows them
    show_messages()

    def start(argv: list[str]) -> None:
        absl.logging.set_verbosity(absl.logging.WARNING)
        with _user_errors():
            if len(argv) > 1:
                raise UserError(f"{argv[1]!r} is not understood; options begin with --, such as --config.seed=1")
            connect(**{name: flags.FLAGS[name].value for name in _PROCESSES})
            run(config.value, workdir.value or f"runs/{config.value.name}")

    app.run(start)


def check_overrides(argv: list[str], default_config: Path) -> None:
    """Check the config file and the keys of the overrides before absl parses them.

    Raises:
      UserError: for a file, variant or key that is not there, naming those that are.
    """
    options = [arg.lstrip("-") for arg in argv[1:] if arg.startswith("-")]
    pairs = itertools.pairwise(argv[1:])  # absl also takes the value from the next argument
    options += [f"config={value}" for flag, value in pairs if flag.lstrip("-") == "config" and flag[:1] == "-"]
    files = [option.partition("=")[2] for option in options if option.startswith("config=")]
    config = load_config(files[-1] if files else str(default_config))
    for option in options:
        key = option.partition("=")[0]
        if key.startswith("config."):
            _check_key(config, key)


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
