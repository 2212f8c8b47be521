"""GAP, DC, DC + implants, prototypical networks and Meta-Baseline on real data, with a reduced recipe.

    TFDS_DATA_DIR=... python -m benchmarks.few_shot_study fc100 --workdir=runs/study          # trains what is missing
    TFDS_DATA_DIR=... python -m benchmarks.few_shot_study fc100 --workdir=runs/study --table  # evaluates, and prints

Against the recipes of the papers: a ResNet-12 of a quarter of the widths (16, 32, 64, 128), a few thousand steps of
64 images (`RECIPES`), SGD with Nesterov momentum for all but the prototypical network (Adam, as its paper has it), one
seed. A run that is stopped is continued by the same command. Every method meets the same tasks.
"""

import argparse
import json
import logging
from pathlib import Path

from fsjax.training.xla import set_cpu_flags

set_cpu_flags()

from configs.common import base  # noqa: E402 - XLA's flags come first
from configs.common_few_shot import episodic, few_shot  # noqa: E402

WIDTHS = (16, 32, 64, 128)
METHODS = ("gap", "dc", "prototypical", "metabaseline")
# Steps of 64 images for classifiers, of 100 (an episode, 5-way 5-shot 15-query) for the others.
RECIPES = {
    "fc100": {"gap": 2000, "dc": 2000, "prototypical": 1280, "metabaseline": 200},
    "tiny": {"gap": 1200, "dc": 1200, "prototypical": 768, "metabaseline": 120},
}


def config_of(dataset: str, method: str, workdir: Path, seed: int):
    """The config of one run."""
    config = base()
    few_shot(config, dataset)
    config.name, config.seed = f"{dataset}_{method}", seed
    config.model.resnet12.widths = WIDTHS
    config.loss.name = "cosine"
    config.loss.cosine.tau_init = 10.0
    config.optimizer.update(name="sgd", learning_rate=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    config.train.batch_size = 64
    config.train.steps = steps = RECIPES[dataset][method]
    config.schedule.boundaries = tuple(steps * part // 100 for part in (50, 75, 90))
    if method == "dc":
        config.method.name = "dense"
    if method in ("prototypical", "metabaseline"):
        episodic(config, steps=steps)
    if method == "prototypical":
        config.method.name = "prototypical"
        config.optimizer.update(name="adam", learning_rate=1e-3, weight_decay=0.0)
    if method == "metabaseline":
        config.method.name = "meta_baseline"
        config.optimizer.update(learning_rate=1e-3)
        config.start_from = str(folder(workdir, dataset, "gap", seed))
    config.train.log_every = 50
    config.train.eval_every = steps // 4
    config.train.checkpoint_every = steps // 4
    config.few_shot.tasks = 2000
    config.few_shot.shots = (1, 5, 10)
    config.few_shot.classes = ("novel", "base", "both")
    config.few_shot.validation.tasks = 500
    return config


def folder(workdir: Path, dataset: str, method: str, seed: int) -> Path:
    """Where a run lies."""
    return workdir / f"{dataset}-{method}-{seed}"


def train(dataset: str, methods: list[str], workdir: Path, seed: int) -> None:
    """Train the runs that are missing, one after the other."""
    from fsjax.training import run

    for method in methods:
        result = run(config_of(dataset, method, workdir, seed), folder(workdir, dataset, method, seed))
        print(json.dumps({"run": f"{dataset}-{method}-{seed}", "seconds": result["training"]["seconds"]}), flush=True)


def main() -> None:
    """Train, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=RECIPES)
    parser.add_argument("--workdir", type=Path, default=Path("runs/few_shot_study"))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    train(args.dataset, args.methods, args.workdir, args.seed)


if __name__ == "__main__":
    main()
