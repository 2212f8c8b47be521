"""Arguments that several commands share."""

import argparse
from pathlib import Path
from typing import Any

from fsjax.errors import UserError
from fsjax.files import absolute_path, check_writable


def add_run(parser: argparse.ArgumentParser, **more: Any) -> None:
    """The run or runs, and where their data lie."""
    parser.add_argument(
        "run", help="the workdir of a trained run, or the name of a network (see fsjax networks)", **more
    )
    parser.add_argument("--which", choices=("best", "latest"), default="best", help="which checkpoint (best)")
    parser.add_argument("--data-path", default="", help="where the run's data lie here, if elsewhere than in training")
    parser.add_argument("--batch-size", type=int, default=256, help="images through the network at once (256)")


def count(text: str) -> int | tuple[int, int]:
    """A number, "5", or a range, "1-5", from which it is drawn anew for each class or task."""
    first, _, last = text.partition("-")
    if not first.isdigit() or (last and not last.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number, such as 5, nor a range, such as 1-5")
    return (int(first), int(last)) if last else int(first)


def path_of(text: str) -> Path:
    """A path; "~" is the home folder also where no shell has seen to it, as in `--out=~/a.json`."""
    try:
        absolute_path(text, what="the path")
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return Path(text).expanduser()


def add_reject(parser: argparse.ArgumentParser) -> None:
    """Whether, and below which similarity, a picture is none of the classes: False, True or a number."""
    parser.add_argument(
        "--reject",
        nargs="?",
        const=True,
        default=False,
        type=float,
        metavar="THRESHOLD",
        help='call pictures "none of these" below this similarity, or below one chosen on the pictures of --support',
    )


def add_head(parser: argparse.ArgumentParser) -> None:
    """What classifies by the features of the pictures of --support."""
    parser.add_argument(
        "--head",
        # Those of `fsjax.labelling.heads`, which imports NumPy: `--help` need not wait for it.
        choices=("auto", "prototypes", "centred", "ridge", "logistic", "naive_bayes"),
        default="auto",
        help="what classifies by the features of --support (auto: the best on its pictures left out)",
    )


def check_output(flag: str, path: Path | None, suffix: str) -> None:
    """Raise a `UserError`, before anything is computed, for a file that cannot be written at the end."""
    if path is None:
        return
    if path.suffix != suffix:
        raise UserError(f"{flag}={path}: the name must end with {suffix}")
    check_writable(path, what=f"{flag}={path}")


def open_run(args: argparse.Namespace, path: str) -> Any:
    """The run of this workdir."""
    if args.batch_size is not None and args.batch_size < 1:
        raise UserError(f"--batch-size={args.batch_size} must be at least 1")
    from fsjax.training.xla import set_cpu_flags

    set_cpu_flags()
    from fsjax.runs import restore

    return restore(path, which=args.which)
