"""The difference of two runs on the same tasks or images, paired one by one, with its 95 % intervals.

    fsjax evaluate runs/gap --out gap.json
    fsjax evaluate runs/dc --out dc.json
    fsjax compare dc.json gap.json       # dc - gap
    fsjax evaluate runs/icu_digits --out icu.json
    fsjax evaluate runs/softmax_digits --out softmax.json
    fsjax compare icu.json softmax.json  # by image

Figures are paired where data, classes, way, shots, queries and the hash of the tasks agree. What tasks have in common,
their difficulty, cancels: the intervals are narrower than those of the two accuracies. They say what other tasks of the
same images would change; other images of the same classes; and other classes, with their images. Of reconstructed tasks
the differences on base and on novel queries follow, over the tasks that have such, and those by the number of base
classes, with the interval over tasks.

Splits that were classified are paired by image, if both files are of the same split of the same data; the interval is
what other images of the same classes would change. By a digest of
all pixels pictures are told from others of the same names and number; where two networks take pictures of different
sizes it cannot tell, which is said.
"""

import argparse
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fsjax.cli.arguments import path_of
from fsjax.errors import UserError
from fsjax.evaluation.classified import Classified, paired
from fsjax.evaluation.few_shot.intervals import tasks_in_words
from fsjax.evaluation.few_shot.kept import scores_of
from fsjax.evaluation.few_shot.paired import differences_by_kind, pairs, same_content
from fsjax.evaluation.few_shot.protocol import Figure, in_pools
from fsjax.evaluation.few_shot.reconstructed import PARTS
from fsjax.evaluation.few_shot.statistics import Interval
from fsjax.files import parse_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("first", type=path_of, help="a file that `fsjax evaluate --out` wrote")
    parser.add_argument("second", type=path_of, help="another, which is subtracted")


def run(args: argparse.Namespace) -> None:
    """Print the differences."""
    of_first, of_second = (read_classified(path) for path in (args.first, args.second))
    if of_first is not None and of_second is not None:
        print(_by_image(of_first, of_second))
        return
    if of_first is not None or of_second is not None:
        raise UserError(
            f"one of {args.first} and {args.second} is of a split that was classified, the other of few-shot tasks: "
            "there is nothing to pair"
        )
    found = False
    for first, second, difference in pairs(read_figures(args.first), read_figures(args.second)):
        found, facts = True, first.facts
        words = _in_words(difference.tasks, str(difference), f"episodes {facts['episodes']}")
        print(
            f"{facts['classes']:10} {facts['way']}-way {facts['shot']}-shot  {_name(facts)} − "
            f"{_name(second.facts)}: {words}{_unchecked(facts, second.facts)}"
        )
        for what, of_kind in differences_by_kind(first, second).items():
            print(f"  {what}: {_in_words(of_kind, tasks_in_words(of_kind.half_width))}")
    if not found:
        raise UserError(
            f"{args.first} and {args.second} have no tasks in common: evaluate both with the same --classes, --way, "
            "--shots, --query, --tasks and --seed, on the same data"
        )


def read_classified(path: Path) -> Classified | None:
    """The classified split of a file; None for a file of other figures.

    Raises:
      UserError: if it, or the `.npz` file beside it, cannot be read.
    """
    try:
        facts = parse_json(path.read_text()).get("classification")
        if facts is None:
            return None
        with np.load(path.with_suffix(".npz"), allow_pickle=False) as file:
            found = Classified(file["predicted"], file["label"], facts)
        if len(found.labels) != facts["images"] or len(found.predicted) != facts["images"] or not facts["identity"]:
            raise ValueError("the two files are not of the same images")
        return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error


def _by_image(first: Classified, second: Classified) -> str:
    """The difference of two accuracies over the same images, in a line."""
    difference = paired(first, second)
    accuracies = " − ".join(f"{100 * x.facts['accuracy']:.2f}" for x in (first, second))
    better, worse = (int((a.correct & ~b.correct).sum()) for a, b in ((first, second), (second, first)))
    return (
        f"{first.facts['split']:10} {accuracies}: {100 * difference.mean:+.2f} ± {100 * difference.half_width:.2f} "
        f"new images ({difference.count:,} images of {first.facts['data']}; {better:,} right by the first alone, "
        f"{worse:,} by the second alone)"
    ) + _unchecked(first.facts, second.facts)


def _unchecked(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """What is to be said of images of which it cannot be told whether they are the same."""
    if same_content(first, second) is not None:
        return ""
    return (
        "\n  that the pictures are the same is not known: they came to different sizes, or one file is of an earlier "
        "fsjax"
    )


def read_figures(path: Path) -> list[Figure]:
    """The figures of a file.

    Raises:
      UserError: if it, or the `.npz` file beside it, cannot be read.
    """
    try:
        figures = parse_json(path.read_text())["figures"]
        with np.load(path.with_suffix(".npz"), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return [_figure(facts, arrays, str(number)) for number, facts in enumerate(figures)]
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path} cannot be read as figures with {path.with_suffix('.npz').name} beside it ({error}): write them with "
        "`fsjax evaluate RUN --out FILE.json`"
    )


def _figure(facts: dict[str, Any], arrays: dict[str, np.ndarray], name: str) -> Figure:
    parts = {part: arrays[f"{name}_{part}"] for part in PARTS if f"{name}_{part}" in arrays}
    scores = scores_of(arrays, name, facts["episodes"])
    if scores is not None and len(scores.classes) != len(arrays[name]):
        raise ValueError(f"figure {name} has {len(arrays[name])} tasks, of which {len(scores.classes)} were kept")
    return Figure(facts, arrays[name], scores, parts)


def _in_words(difference: Interval, intervals: str, *more: str) -> str:
    tasks = f"{difference.count} task{'s' if difference.count > 1 else ''}"
    mean = f"{100 * difference.mean:+.2f} {intervals}".rstrip()  # one task has no interval
    return f"{mean} ({', '.join((tasks, *more))})"


def _name(figure: dict[str, Any]) -> str:
    name = f"{in_pools(figure)} {100 * figure['accuracy']:.2f}"
    return name + (" with implants" if figure.get("implants") else "")
