"""Compare the losses of the ICU paper under a recipe reduced to 2 CPU cores, over several seeds.

    python -m benchmarks.studies.icu cifar100 --workdir=runs/study
    python -m benchmarks.studies.icu longtail --workdir=runs/study
    python -m benchmarks.studies.icu mnist --workdir=runs/study

Each run is one of train.py's, with its own folder, so that a study that was stopped goes on where it was. Prints one
JSON line per run, then a Markdown table: mean and standard deviation over the seeds, and the difference from softmax on
the same seeds.
"""

import argparse
import contextlib
import json
import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.studies.shared import spread
from fsjax.configs import icu_cifar100, icu_cifar_lt, icu_mnist
from fsjax.messages import show_messages
from fsjax.training import run


def cifar100(loss: str, seed: int):
    """CIFAR-100: six convolutions for thirteen, 3 epochs (2,230 steps of 64) for 323 (120,000 of 128).

    L-GM's margin stays at its 0.1 of the first 5,000 steps: doubled at the same share of the run it was 0.3 after 186
    steps, and drew all features to one point (3 % accuracy).
    """
    config = icu_cifar100.get_config()
    _narrow(config)
    config.train.steps = 2230
    config.train.batch_size = 64
    config.schedule.boundaries = (1115, 1672)
    return _reduced(config, loss, seed)


def longtail(loss: str, seed: int):
    """CIFAR-100 at ratio 100 (CIFAR-10 could not be had): six convolutions, 8 epochs for 200, rate 0.05 for 0.02."""
    config = icu_cifar_lt.get_config("cifar100,100")
    _narrow(config)
    config.optimizer.learning_rate = 0.05
    config.train.epochs = 8.0
    config.schedule.warmup = 0.2
    config.schedule.boundaries = (4.8, 6.4)
    return _reduced(config, loss, seed)


def mnist(loss: str, seed: int):
    """The 2-D network at its width, 4 epochs in the place of 30."""
    config = icu_mnist.get_config("2d")
    config.train.epochs = 4.0
    config.schedule.boundaries = (2.0, 3.0)
    return _reduced(config, loss, seed)


STUDIES = {
    "cifar100": (cifar100, ("softmax", "center", "lgm", "icu"), 3),
    "longtail": (longtail, ("softmax", "center", "lgm", "class_balanced", "icu"), 3),
    "mnist": (mnist, ("softmax", "icu"), 1),
}


def _narrow(config) -> None:
    config.model.name = "cnn"
    config.model.cnn.stages = ((16, 16), (32, 32), (64, 64))


def _reduced(config, loss: str, seed: int):
    config.loss.name = loss
    config.seed = seed
    config.train.progress = False
    config.train.eval_every = 500
    config.train.checkpoint_every = 500
    return config


def main(argv: Sequence[str] | None = None) -> None:
    """Run, or finish, a study and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--workdir", default="runs/study", type=Path)
    parser.add_argument("--losses", default="", help="comma-separated; all of the study's by default")
    parser.add_argument("--seeds", default="", help="comma-separated; 0, 1, 2 by default (mnist: 0)")
    args = parser.parse_args(argv)
    show_messages()
    recipe, losses, seeds = STUDIES[args.study]
    losses = tuple(args.losses.split(",")) if args.losses else losses
    results: dict[str, list[dict]] = {loss: [] for loss in losses}
    for seed in map(int, args.seeds.split(",")) if args.seeds else range(seeds):
        for loss in losses:
            result = run(recipe(loss, seed), args.workdir / args.study / f"{loss}-{seed}")
            results[loss].append(result)
            print(json.dumps({"study": args.study, "loss": loss, "seed": seed, **_figures(result)}), flush=True)
    print(table(results))


def _figures(result: dict) -> dict:
    shown = {k: v for k, v in result["test"].items() if k.endswith("accuracy")}
    return {**shown, "steps": result["training"]["steps"], "seconds": round(result["training"]["seconds"], 1)}


def table(results: dict[str, list[dict]]) -> str:
    """A Markdown table of test accuracies in %, a row a loss."""
    first = next(iter(results.values()))[0]["test"]
    names = [n for n in ("accuracy", "many_shot_accuracy", "medium_shot_accuracy", "few_shot_accuracy") if n in first]
    rows = ["| loss | " + " | ".join(n.replace("_", " ") for n in names) + " | − softmax, same seeds | seconds a run |"]
    rows.append("|" + "---|" * (len(names) + 3))
    base = [r["test"]["accuracy"] for r in results.get("softmax", [])]
    for loss, runs in results.items():
        cells = [spread([100 * r["test"][name] for r in runs]) for name in names]
        paired = [100 * (r["test"]["accuracy"] - b) for r, b in zip(runs, base, strict=False)]
        cells.append("" if loss == "softmax" or not paired else spread(paired, sign="+"))
        cells.append(f"{statistics.mean(r['training']['seconds'] for r in runs):.0f}")
        rows.append(f"| {loss} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
