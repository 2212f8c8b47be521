"""Neural collapse, uniformity, tolerance and hardness of a trained run's embeddings, on training and test images.

    fsjax geometry runs/icu                                   # a column per split
    fsjax geometry runs/dc_fc100 --split train base test --json geometry.json

NC1 to NC4 are 0 at collapse (Papyan et al. 2020): the images of a class come together (NC1), the class means and the
classifier's rows form a simplex of equal lengths, or, from unbalanced data without a bias, an orthogonal frame (NC2),
both agree (NC3), and the classifier takes the nearest mean (NC4). The simplex is about the mean of the class means, the
orthogonal frame about the origin. Under a class split, "test" holds novel classes, for which there is no classifier:
"base" is held-out images of the training classes.

Uniformity is ln E exp(-2 |f - g|^2) over pairs of images: the lower, the more evenly embeddings cover the sphere. Of
more than 10,000 images it is of a million random pairs, with its 95 % interval. Tolerance is the mean cosine of two
images of one class. Hardness is the share of a contrastive loss's penalty on an image's negatives (images of other
classes) that falls on the tenth that is most similar to it: 0.1 where all are alike, 1 where the hardest take all; of
up to 1,000 images against up to 10,000. "–" stands for what is not defined.
"""

import argparse
import json

from fsjax.cli.arguments import add_run, check_output, open_run, path_of
from fsjax.errors import UserError
from fsjax.files import write_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    add_run(parser)
    parser.add_argument(
        "--split",
        nargs="+",
        choices=("train", "validation", "base", "test"),
        default=["train", "test"],
        help="(train test)",
    )
    parser.add_argument("--tau", type=float, default=0.2, help="temperature of the hardness (0.2)")
    parser.add_argument("--json", type=path_of, help="write the numbers to this JSON file")


def run(args: argparse.Namespace) -> None:
    """Print the table, and write."""
    from fsjax.evaluation.analysis.geometry import examples_of, measure, table

    check_output("--json", args.json, ".json")
    if not args.tau > 0:
        raise UserError(f"--tau={args.tau:g} must be above 0")
    run = open_run(args, args.run)
    splits = run.splits(data_path=args.data_path)
    for split in args.split:
        examples_of(splits, split)
    found = [
        measure(run.method, run.params, run.collections, splits, split, tau=args.tau, batch_size=args.batch_size)
        for split in args.split
    ]
    print(f"{run.config.name}, step {run.step}\n\n{table(found)}")
    if args.json:
        facts = {"run": str(run.workdir), "method": run.config.method.name, "step": run.step}
        write_file(args.json, json.dumps({**facts, "splits": [one.to_json() for one in found]}, indent=1) + "\n")
