"""Few-shot class-incremental sessions of a trained run: plain prototypes, and TEEN's calibration of the new ones.

    fsjax sessions runs/fscil_cifar100                          # 8 sessions of 5-way 5-shot, 10 draws of the shots
    fsjax sessions runs/fscil_cifar100 --alpha 0.5 0.1 --seeds 20 --out sessions.md --json sessions.json
    fsjax sessions runs/gap_fc100 --shot 1                      # any run with held-out images of base classes

The network stays as it was trained on the base classes. Each session adds the next novel classes of the class split,
by the prototypes of a few images each, and tests all classes seen so far among all of them. "base" and "new" are means
of the classes' own accuracies, "all" that of all classes seen, the last rows the means over the sessions. The intervals
are of 95 %, over draws of the shots, and the differences paired by draw: another network is not in them.
"""

import argparse
import json

from fsjax.cli.arguments import add_run, check_output, open_run, path_of
from fsjax.files import write_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    add_run(parser)
    parser.add_argument("--way", type=int, default=5, help="new classes per session (5)")
    parser.add_argument("--shot", type=int, default=5, help="images of each (5)")
    parser.add_argument("--seeds", type=int, default=10, help="draws of these images (10)")
    parser.add_argument("--alpha", type=float, nargs="+", default=[0.5], help="TEEN's share of the base classes (0.5)")
    parser.add_argument("--tau", type=float, default=16.0, help="of TEEN's weights of the base classes (16)")
    parser.add_argument("--out", type=path_of, help="write the table to this Markdown file")
    parser.add_argument("--json", type=path_of, help="write the accuracies of each draw to this JSON file")


def run(args: argparse.Namespace) -> None:
    """Print the table, and write."""
    from fsjax.evaluation.papers.sessions import table

    check_output("--out", args.out, ".md")
    check_output("--json", args.json, ".json")
    run = open_run(args, args.run)
    found = run.sessions(
        way=args.way,
        shot=args.shot,
        seeds=args.seeds,
        alphas=tuple(args.alpha),
        tau=args.tau,
        data_path=args.data_path,
        batch_size=args.batch_size,
    )
    facts = found.facts
    text = (
        f"{run.config.name}, step {run.step}: {facts['sessions']} sessions of {facts['way']}-way {facts['shot']}-shot, "
        f"{facts['seeds']} draws of shots from {facts['shots_from']}; accuracy in %\n\n{table(found)}\n"
    )
    print(text, end="")
    if args.out:
        write_file(args.out, text)
    if args.json:
        facts = {"run": str(run.workdir), "method": run.config.method.name, "step": run.step}
        write_file(args.json, json.dumps({**facts, **found.to_json()}, indent=1) + "\n")
