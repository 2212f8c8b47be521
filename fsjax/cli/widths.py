"""Accuracy of a run with nested dropout by how many of its first features are read.

    fsjax widths runs/nested            # the best number on validation data, and the test accuracy with it

Nested dropout orders features by what they say; the last ones are those that fit wrong labels. The number is chosen on
the validation split (`config.data.validation`), of two that are as good the smaller one, and the test split is read
with it. Without validation data accuracies are shown and nothing is chosen. A run that is trained with
`--config.feature_dropout.keep=K` is evaluated so itself.
"""

import argparse
import json

import numpy as np

from fsjax.cli.arguments import add_run, check_output, open_run, path_of
from fsjax.errors import UserError
from fsjax.files import write_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    add_run(parser)
    parser.add_argument("--json", type=path_of, help="write all accuracies to this JSON file")


def run(args: argparse.Namespace) -> None:
    """Print accuracies by width, and write."""
    from fsjax.evaluation.analysis.widths import accuracy_by_width, best_width, check_nested

    check_output("--json", args.json, ".json")
    run = open_run(args, args.run)
    check_nested(run.method, run.info, str(run.workdir))
    splits = run.splits(data_path=args.data_path)
    found = {
        name: accuracy_by_width(run.method, run.params, run.collections, examples, run.info, args.batch_size)
        for name in ("validation", "test")
        if (examples := getattr(splits, name)) is not None
    }
    if not found:
        raise UserError(f"{run.workdir} has neither validation nor test images")
    dim = len(next(iter(found.values())))
    shown = sorted({min(2**i, dim) for i in range(dim.bit_length() + 1)})
    print("features  " + "  ".join(f"{name:>10}" for name in found))
    for width in shown:
        print(f"{width:8d}  " + "  ".join(f"{100 * values[width - 1]:9.2f}%" for values in found.values()))
    chosen = best_width(found["validation"]) if "validation" in found else None
    if chosen and "test" in found:
        accuracy = 100 * found["test"][chosen - 1]
        print(f"the first {chosen} of {dim} features are best on validation data: test accuracy {accuracy:.2f}%")
    if args.json:
        facts = {"run": str(run.workdir), "chosen": chosen}
        write_file(args.json, json.dumps(facts | {k: np.round(v, 6).tolist() for k, v in found.items()}) + "\n")
