"""Class activation maps over pictures of novel and base classes, one column per run (Fig. 3 of the DC paper).

    fsjax activations runs/gap_tiny runs/dc_tiny --out maps.png
    fsjax activations runs/dc_tiny --classes novel --count 8 --seed 3 --out maps.png

Red is where the map is most like the picture's own class: the weights of a base class, or the prototype of a novel one
from the support images of a 5-way 5-shot task. A tick says that the run classifies the picture rightly.
"""

import argparse

from fsjax.cli.arguments import add_run, check_output, open_run, path_of
from fsjax.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    add_run(parser, nargs="+")
    parser.add_argument("--classes", nargs="+", choices=("novel", "base"), default=["base", "novel"])
    parser.add_argument("--count", type=int, default=4, help="pictures of each kind of classes (4)")
    parser.add_argument("--seed", type=int, default=0, help="of the tasks that the pictures are queries of")
    parser.add_argument("--out", type=path_of, required=True, help="the PNG file to write")


def run(args: argparse.Namespace) -> None:
    """Draw the maps."""
    from fsjax.evaluation.analysis.activation_maps import activation_rows, draw_activation_maps

    if args.count < 1:
        raise UserError(f"--count={args.count} must be at least 1")
    check_output("--out", args.out, ".png")
    columns = {}
    for path in args.run:
        run = open_run(args, path)
        evaluator = run.evaluator(data_path=args.data_path, batch_size=args.batch_size)
        name = run.config.name if run.config.name not in columns else str(run.workdir)
        columns[name] = [
            row
            for classes in args.classes
            for row in activation_rows(evaluator, classes, count=args.count, seed=args.seed)
        ]
    draw_activation_maps(columns, args.out)
    print(f"{len(next(iter(columns.values())))} pictures, {len(columns)} runs: {args.out}")
