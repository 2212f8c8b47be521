"""EXPERIMENTAL: representation calibration (RCAL) of a run on long-tailed or noisy data.

    fsjax rcal runs/lt --frequent 100

Prints test accuracies of the run's own classifier, of a logistic regression on its embeddings, and of one on embeddings
that were balanced by draws from calibrated class distributions. What could not be recovered of the paper, and what is
left out, is in `fsjax/evaluation/papers/rcal.py`.
"""

import argparse
import json

from fsjax.cli.arguments import add_run, check_output, open_run, path_of
from fsjax.files import write_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    add_run(parser)
    parser.add_argument(
        "--frequent", type=int, default=100, help="classes with so many images lend, others borrow (100)"
    )
    parser.add_argument("--nearest", type=int, default=2, help="frequent classes that a rare one borrows from (2)")
    parser.add_argument("--neighbors", type=int, default=20, help="of the local outlier factor (20)")
    parser.add_argument("--seed", type=int, default=0, help="of the drawn embeddings (0)")
    parser.add_argument("--json", type=path_of, help="write the numbers to this JSON file")


def run(args: argparse.Namespace) -> None:
    """Print the accuracies, and write."""
    from fsjax.evaluation.papers.rcal import Calibration, rcal

    check_output("--json", args.json, ".json")
    chosen = Calibration(args.frequent, args.nearest, args.neighbors, args.seed)
    run = open_run(args, args.run)
    splits = run.splits(data_path=args.data_path)
    found = rcal(run.method, run.params, run.collections, splits, chosen, batch_size=args.batch_size)
    titles = {"own": "the run's classifier", "plain": "logistic regression", "calibrated": "the same, calibrated"}
    print(f"{'experimental':24}  accuracy  balanced")
    for name, figures in found.items():
        print(f"{titles[name]:24}  {100 * figures['accuracy']:7.2f}%  {100 * figures['balanced_accuracy']:7.2f}%")
    if args.json:
        write_file(args.json, json.dumps({"run": str(run.workdir), **vars(chosen), **found}, indent=1) + "\n")
