"""Embeddings of base and novel classes by t-SNE, and their scatter within and between classes (AFLM paper, Fig. 4).

    fsjax embeddings runs/gap_tiny runs/proto_tiny --out fig4.png --json fig4.json
    fsjax embeddings runs/aflm_mini --classes train base novel --classes-shown 5 --out fig.png

Of base classes, "base" is the images kept out of training, and "train" those that the run saw. W is the mean squared
distance of an image to the mean of its class, B that of the class means to their mean; both of all images, and at
length 1, as classification by cosine reads no lengths, unless --raw is given. W/B is small where classes are tight and
far apart. Means of few images differ by chance: the W/B "without bias" allows for that, and is the one to compare, of
base and novel classes and of runs. Its 95 % interval is by jackknife over the classes; of fewer than 5 there is none,
nor where the classes lie about as far apart as chance would have them.

With several runs, each one's W/B without bias is also divided by the first's, with an interval that is paired by
classes: where it leaves out 1, the two differ.
"""

import argparse
import json
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fsjax.cli.arguments import add_run, check_output, open_run, path_of
from fsjax.errors import UserError
from fsjax.files import write_file

if TYPE_CHECKING:
    from fsjax.evaluation.few_shot.evaluator import Evaluator

# Of classes, as `Evaluator.part` names them.
_KINDS = ("base", "novel", "train", "validation")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    add_run(parser, nargs="+")
    parser.add_argument("--classes", nargs="+", choices=_KINDS, default=["base", "novel"], help="(base novel)")
    parser.add_argument(
        "--classes-shown", type=int, default=8, help="classes that are drawn of each kind, at most 8 (8)"
    )
    parser.add_argument("--per-class", type=int, default=60, help="images that are drawn of each class, at most (60)")
    parser.add_argument("--perplexity", type=float, default=30.0, help="of t-SNE (30)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn, and of t-SNE")
    parser.add_argument("--raw", action="store_true", help="leave embeddings as long as they are")
    parser.add_argument("--out", type=path_of, required=True, help="the PNG file to write")
    parser.add_argument("--json", type=path_of, help="write the numbers to this JSON file")


def run(args: argparse.Namespace) -> None:
    """Print the numbers, and draw."""
    from fsjax.evaluation.analysis.embedding_maps import Drawing, check_same_classes, draw_embeddings, embedding_panel

    check_output("--out", args.out, ".png")
    check_output("--json", args.json, ".json")
    drawing = Drawing(args.classes_shown, args.per_class, args.perplexity, args.seed, not args.raw)
    names, rows, numbers = [], [], []
    for path in args.run:
        run = open_run(args, path)
        evaluator = run.evaluator(data_path=args.data_path, batch_size=args.batch_size)
        check_kinds(evaluator, args.classes, path)
        names.append(run.config.name if run.config.name not in names else path)
        rows.append([embedding_panel(evaluator, part, drawing) for part in args.classes])
        check_same_classes(rows)
        similarity = run.method.rule(run.params).similarity
        facts = {"run": str(run.workdir), "method": run.config.method.name, "step": run.step, "similarity": similarity}
        for panel in rows[-1]:
            numbers.append(_storable(facts | _numbers(panel)))
            print(f"{names[-1]}  {_in_words(panel)}", flush=True)
    quotients = [_storable(found) for found in _print_quotients(args.run, rows)]
    draw_embeddings(names, rows, drawing, args.out)
    print(f"{len(rows)} runs: {args.out}")
    if args.json:
        facts = {"normalised": drawing.normalised, "seed": drawing.seed}
        write_file(args.json, json.dumps({**facts, "scatter": numbers, "quotients": quotients}, indent=1) + "\n")


def check_kinds(evaluator: "Evaluator", asked: list[str], path: str) -> None:
    """Raise a `UserError` unless the run's data have images of these kinds of classes."""
    there = [kind for kind in _KINDS if _has(evaluator, kind)]
    missing = [kind for kind in asked if kind not in there]
    if not missing:
        return
    others = [kind for kind in asked if kind in there]
    if missing[0] == "base":
        what = "kept no images of base classes out of training"
        more = ", or train anew with config.data.base_holdout above 0"
        others += ["train"] if "train" not in others else []
    else:
        what, more = f"has no images of {missing[0]} classes", ""
    raise UserError(f"{path} {what}: draw others, with --classes {' '.join(others or there)}{more}")


def _has(evaluator: "Evaluator", kind: str) -> bool:
    try:
        evaluator.part(kind)
    except UserError:
        return False
    return True


def _numbers(panel: Any) -> dict[str, Any]:
    found = panel.scatter
    return {
        "classes": panel.part,
        "within": found.within,
        "between": found.between,
        "ratio": found.ratio,
        "unbiased": found.unbiased,
        "interval": found.interval,  # of `unbiased`
        "images": found.images,
        "num_classes": found.classes,
        "class_names_drawn": [panel.class_names[label] for label in panel.shown],
    }


def _storable(found: dict[str, Any]) -> dict[str, Any]:
    """None for numbers that JSON does not have: infinity, where classes are no further apart than chance has them."""
    return {k: None if isinstance(x, float) and not math.isfinite(x) else x for k, x in found.items()}


def _in_words(panel: Any) -> str:
    from fsjax.evaluation.analysis.scatter import with_interval

    found = panel.scatter
    return (
        f"{panel.part:10} W {found.within:.4g}  B {found.between:.4g}  "
        f"W/B {with_interval(found.ratio, None, digits=3)}  "
        f"without bias {with_interval(found.unbiased, found.interval, digits=3)}  "
        f"({found.images:,} images of {found.classes} classes)"
    )


def _print_quotients(paths: list[str], rows: list[list[Any]]) -> Iterator[dict[str, Any]]:
    """Each run's ratios without bias, divided by those of the first."""
    from fsjax.evaluation.analysis.scatter import quotient, with_interval

    for path, row in zip(paths[1:], rows[1:], strict=True):
        for panel, first in zip(row, rows[0], strict=True):
            value, interval = quotient(panel.scatter, first.scatter)
            text = with_interval(value, interval, digits=3)
            print(f"{panel.part:10} W/B without bias, {path} / {paths[0]}: {text}")
            yield {"run": path, "by": paths[0], "classes": panel.part, "quotient": value, "interval": interval}
