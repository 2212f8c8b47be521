"""The difference of two runs on the same tasks, paired task by task, with its 95 % interval.

    fsjax evaluate runs/gap --out gap.json
    fsjax evaluate runs/dc --out dc.json
    fsjax compare dc.json gap.json       # dc - gap

Figures are paired where data, classes, way, shots, queries and the hash of the tasks agree. What tasks have in common,
their difficulty, cancels: the interval is narrower than those of the two accuracies.
"""

import argparse
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fsjax.errors import UserError
from fsjax.evaluation.statistics import Interval, paired_difference

_SAME = ("data", "classes", "way", "shot", "query", "episodes")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("first", type=Path, help="a file that `fsjax evaluate --out` wrote")
    parser.add_argument("second", type=Path, help="another, which is subtracted")


def run(args: argparse.Namespace) -> None:
    """Print the differences."""
    found = False
    for first, second, difference in pairs(read(args.first), read(args.second)):
        found = True
        print(
            f"{first['classes']:10} {first['way']}-way {first['shot']}-shot  {_name(first)} − {_name(second)}: "
            f"{100 * difference.mean:+.2f} ± {100 * difference.half_width:.2f} "
            f"({difference.count} tasks, episodes {first['episodes']})"
        )
    if not found:
        raise UserError(
            f"{args.first} and {args.second} have no tasks in common: evaluate both with the same --classes, --way, "
            "--shots, --query, --tasks and --seed, on the same data"
        )


def read(path: Path) -> list[tuple[dict[str, Any], np.ndarray]]:
    """The figures of a file with the accuracies of their tasks.

    Raises:
      UserError: if it, or the `.npz` file beside it, cannot be read.
    """
    try:
        figures = json.loads(path.read_text())["figures"]
        with np.load(path.with_suffix(".npz"), allow_pickle=False) as file:
            return [(facts, file[str(number)]) for number, facts in enumerate(figures)]
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path} cannot be read as figures with {path.with_suffix('.npz').name} beside it ({error}): write them "
            "with `fsjax evaluate RUN --out FILE.json`"
        ) from error


def pairs(
    first: list[tuple[dict[str, Any], np.ndarray]], second: list[tuple[dict[str, Any], np.ndarray]]
) -> Iterator[tuple[dict[str, Any], dict[str, Any], Interval]]:
    """Every figure of the first with every one of the second on the same tasks, and their difference."""
    for a, of_a in first:
        for b, of_b in second:
            # The hash is of positions: other classes of the same sizes would have the same.
            if all(a.get(name) == b.get(name) for name in _SAME) and a["per_class"].keys() == b["per_class"].keys():
                yield a, b, paired_difference(of_a, of_b)


def _name(figure: dict[str, Any]) -> str:
    name = f"{figure['support_pool']}/{figure['query_pool']} {100 * figure['accuracy']:.2f}"
    return name + (" with implants" if figure.get("implants") else "")
