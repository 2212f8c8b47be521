"""What the gates of AFLM's attention do, by image and by task of base and novel classes (after Sec. 4.3 of its paper).

    fsjax gates runs/aflm_mini --out gates.png --json gates.json
    fsjax gates runs/aflm_mini --shot 1 --tasks 2000 --out gates.png

The gates of all images of novel and base classes, and of the "reconstructed" tasks that `fsjax evaluate` draws: a
task's gate is the mean over its support images. If the gates balance the branches by task, those of a task with more
base classes differ. They would for any two groups of classes, so the p-value is by permutation of "base" and "novel"
among the classes; intervals are over tasks, which share classes, and are narrower than they should be.
"""

import argparse
import json
from typing import Any

from fsjax import data
from fsjax.cli.arguments import add_run, check_output, count, open_run, path_of
from fsjax.errors import UserError
from fsjax.evaluation.few_shot.protocol import Protocol
from fsjax.files import write_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    add_run(parser)
    parser.add_argument("--way", type=count, help="classes of a task (that of the run's config)")
    parser.add_argument("--shot", type=count, default=5, help="support images per class (5)")
    parser.add_argument(
        "--query", type=count, help="queries per class, which are not read: see the tasks (the config's)"
    )
    parser.add_argument("--tasks", type=int, help="how many tasks (the config's)")
    parser.add_argument("--seed", type=int, help="of the tasks and of the permutations (the config's)")
    parser.add_argument("--out", type=path_of, required=True, help="the PNG file to write")
    parser.add_argument("--json", type=path_of, help="write the numbers to this JSON file")


def run(args: argparse.Namespace) -> None:
    """Print the numbers, and draw."""
    from fsjax.evaluation.papers.gate_plot import draw_gates
    from fsjax.evaluation.papers.gates import gates_of, study_gates

    check_output("--out", args.out, ".png")
    check_output("--json", args.json, ".json")
    if args.tasks is not None and args.tasks < 1:
        raise UserError(f"--tasks={args.tasks} must be at least 1")
    run = open_run(args, args.run)
    gates_of(run.method, run.params, run.collections, run.info.image_shape)  # refused before the data are read
    protocol = Protocol.of(run.config.few_shot)
    stated = {name: getattr(args, name) for name in ("way", "query") if getattr(args, name) is not None}
    spec = data.parse_spec({"way": protocol.way, "shot": args.shot, "query": protocol.query, **stated})
    study = study_gates(
        run.evaluator(data_path=args.data_path, batch_size=args.batch_size),
        spec=spec,
        tasks=protocol.tasks if args.tasks is None else args.tasks,
        seed=protocol.seed if args.seed is None else args.seed,
        reconstructed=protocol.reconstructed,
    )
    facts = {"run": str(run.workdir), "method": run.config.method.name, "step": run.step, **study.facts}
    for gate in study.gates:
        print(_in_words(gate.numbers), flush=True)
    classes = study.facts["num_classes"]
    caption = (
        f"{run.config.name}, step {run.step}: gates of {facts['images']:,} images of {classes['base']} base and "
        f"{classes['novel']} novel classes;\n{facts['tasks']:,} tasks, {spec}, seed {facts['seed']}"
    )
    draw_gates(study.gates, caption, args.out, way=spec.max_way if data.ends(spec.way)[0] == spec.max_way else None)
    print(f"{len(study.gates)} gates, {facts['tasks']} tasks, episodes {facts['episodes']}: {args.out}")
    if args.json:
        gates = [gate.numbers for gate in study.gates]
        write_file(args.json, json.dumps({**facts, "gates": gates}, indent=1) + "\n")


def _in_words(numbers: dict[str, Any]) -> str:
    slope, channels = numbers["slope"], numbers["channels_that_follow"]
    low, high = slope["interval"]
    return (
        f"{numbers['gate']:14} mean {numbers['mean']:.4f}; deviation over channels {numbers['std_channels']:.4f}, "
        f"over images {numbers['std_images']:.4f}, over tasks {numbers['std_tasks']:.4f}; slope by the share of base "
        f"classes {slope['value']:+.5f} [{low:+.5f}, {high:+.5f}], p {slope['p_value']:.3f} by class; "
        f"{100 * channels['share']:.0f} % of channels follow it ({100 * channels['permuted']:.0f} % with classes "
        f"permuted; {100 * channels['share_by_class']:.0f} % by class)"
    )
