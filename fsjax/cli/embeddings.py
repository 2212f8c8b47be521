"""Embeddings of base and novel classes by t-SNE, and their scatter within and between classes (AFLM paper, Fig. 4).

    fsjax embeddings runs/gap_tiny runs/proto_tiny --out fig4.png --json fig4.json
    fsjax embeddings runs/aflm_mini --classes train base novel --classes-shown 5 --out fig.png

Of base classes, "base" is the images kept out of training, and "train" those that the run saw. W is the mean squared
distance of an image to the mean of its class, B that of the class means to their mean; both of all images, and at
length 1, as classification by cosine reads no lengths, unless --raw is given. W/B is small where classes are tight and
far apart; its 95 % interval is by bootstrap over the classes. Means of few images differ by chance: the number
"without bias" allows for that, and is the one to compare where classes have more images on one side.

With several runs, each one's W/B is also divided by the first's, with an interval that is paired by classes: where it
leaves out 1, the two differ.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

from fsjax.cli.arguments import add_run, check_output, open_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    add_run(parser, nargs="+")
    known = ("base", "novel", "train", "validation")
    parser.add_argument("--classes", nargs="+", choices=known, default=["base", "novel"], help="(base novel)")
    parser.add_argument(
        "--classes-shown", type=int, default=8, help="classes that are drawn of each kind, at most 8 (8)"
    )
    parser.add_argument("--per-class", type=int, default=60, help="images that are drawn of each class, at most (60)")
    parser.add_argument("--perplexity", type=float, default=30.0, help="of t-SNE (30)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn, of t-SNE and of the bootstrap")
    parser.add_argument("--raw", action="store_true", help="leave embeddings as long as they are")
    parser.add_argument("--out", type=Path, required=True, help="the PNG file to write")
    parser.add_argument("--json", type=Path, help="write the numbers to this JSON file")


def run(args: argparse.Namespace) -> None:
    """Print the numbers, and draw."""
    from fsjax.evaluation.embedding_maps import Drawing, check_same_classes, draw_embeddings, embedding_panel

    check_output("--out", args.out, ".png")
    check_output("--json", args.json, ".json")
    drawing = Drawing(args.classes_shown, args.per_class, args.perplexity, args.seed, not args.raw)
    names, rows, numbers = [], [], []
    for path in args.run:
        run = open_run(args, path)
        evaluator = run.evaluator(data_path=args.data_path, batch_size=args.batch_size)
        names.append(run.config.name if run.config.name not in names else path)
        rows.append([embedding_panel(evaluator, part, drawing) for part in args.classes])
        check_same_classes(rows)
        similarity = run.method.rule(run.params).similarity
        facts = {"run": str(run.workdir), "method": run.config.method.name, "step": run.step, "similarity": similarity}
        for panel in rows[-1]:
            numbers.append(facts | _numbers(panel))
            print(f"{names[-1]}  {_in_words(numbers[-1])}", flush=True)
    quotients = list(_quotients(args.run, rows))
    for found in quotients:
        runs, (low, high) = f"{found['run']} / {found['by']}", found["interval"]
        print(f"{found['classes']:10} W/B of {runs}: {found['quotient']:.3f} [{low:.3f}, {high:.3f}]")
    draw_embeddings(names, rows, drawing, args.out)
    print(f"{len(rows)} runs: {args.out}")
    if args.json:
        facts = {"normalised": drawing.normalised, "seed": drawing.seed}
        args.json.write_text(json.dumps({**facts, "scatter": numbers, "quotients": quotients}, indent=1) + "\n")


def _numbers(panel: Any) -> dict[str, Any]:
    found = panel.scatter
    return {
        "classes": panel.part,
        "within": found.within,
        "between": found.between,
        "ratio": found.ratio,
        "interval": list(found.interval),
        # JSON has no infinity, which it is where the classes are no further apart than chance has them.
        "unbiased": found.unbiased if math.isfinite(found.unbiased) else None,
        "images": found.images,
        "num_classes": found.classes,
        "class_names_drawn": [panel.class_names[label] for label in panel.shown],
    }


def _in_words(found: dict[str, Any]) -> str:
    low, high = found["interval"]
    unbiased = "-" if found["unbiased"] is None else f"{found['unbiased']:.3f}"
    return (
        f"{found['classes']:10} W {found['within']:.4g}  B {found['between']:.4g}  "
        f"W/B {found['ratio']:.3f} [{low:.3f}, {high:.3f}]  without bias {unbiased}  "
        f"({found['images']:,} images of {found['num_classes']} classes)"
    )


def _quotients(paths: list[str], rows: list[list[Any]]) -> Any:
    """Each run's ratios divided by those of the first."""
    from fsjax.evaluation.scatter import quotient

    for path, row in zip(paths[1:], rows[1:], strict=True):
        for panel, first in zip(row, rows[0], strict=True):
            value, interval = quotient(panel.scatter, first.scatter)
            yield {"run": path, "by": paths[0], "classes": panel.part, "quotient": value, "interval": list(interval)}
