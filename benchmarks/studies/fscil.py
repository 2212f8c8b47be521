"""TEEN against plain prototypes in few-shot class-incremental sessions, on real data, with a reduced recipe.

    TFDS_DATA_DIR=... python -m benchmarks.studies.fscil cifar100      # trains what is missing, evaluates, and prints
    TFDS_DATA_DIR=... python -m benchmarks.studies.fscil tiny --train-seeds 0 --steps 1000
    python -m benchmarks.studies.fscil cifar100 --smoke                # a few steps on noise, to see that it runs

Against the recipes of `configs/fscil_*.py`: a ResNet-12 of a quarter of the widths (16, 32, 64, 128), 1,500 steps of 64
images, SGD with Nesterov momentum at 0.05 with a cosine schedule, scale from 10. Each network's sessions are drawn 20
times; the last table is over the networks, a mean over draws each. Training is resumed by checkpoint.
"""

import argparse
import importlib
import json
import logging
from pathlib import Path
from typing import Any

from fsjax.training.xla import set_cpu_flags

set_cpu_flags()

from benchmarks.studies.shared import folder, train  # noqa: E402 - XLA's flags come first
from fsjax.evaluation.papers.sessions import pooled, table  # noqa: E402

# TEEN's shares of the base classes: its paper's, and that of its released script for CIFAR-100.
ALPHAS = (0.5, 0.1)


def config_of(dataset: str, seed: int, steps: int, smoke: bool) -> Any:
    """The config of one network."""
    config = importlib.import_module(f"fsjax.configs.fscil_{dataset}").get_config("smoke" if smoke else "")
    config.name, config.seed = f"fscil_{dataset}", seed
    config.loss.cosine.tau_init = 10.0
    if smoke:
        return config
    config.model.name = "resnet12"
    config.model.resnet12.update(widths=(16, 32, 64, 128), activation="swish")
    config.optimizer.learning_rate = 0.05
    config.train.update(epochs=0.0, steps=steps, batch_size=64, log_every=50)
    config.train.eval_every = config.train.checkpoint_every = max(steps // 4, 1)
    config.few_shot.tasks = 1000
    return config


def main() -> None:
    """Train what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=("cifar100", "tiny"))
    parser.add_argument("--workdir", type=Path, default=Path("runs/fscil_study"))
    parser.add_argument("--train-seeds", type=int, nargs="+", default=[0, 1, 2], help="a network each (0 1 2)")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--draws", type=int, default=20, help="of the shots, for each network (20)")
    parser.add_argument("--smoke", action="store_true", help="a few steps on noise")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    seeds = {str(seed): seed for seed in args.train_seeds}

    def folder_of(name: str) -> Path:
        return folder(args.workdir, args.dataset, "smoke" if args.smoke else "cosine", seeds[name])

    train(seeds, lambda name: config_of(args.dataset, seeds[name], args.steps, args.smoke), folder_of)
    from fsjax import restore

    found = []
    for name in seeds:
        path = folder_of(name)
        found.append(restore(path).sessions(seeds=args.draws, alphas=ALPHAS))
        (path / "sessions.json").write_text(json.dumps(found[-1].to_json(), indent=1) + "\n")
        print(f"\n{path.name}, {args.draws} draws of shots, accuracy in %\n\n{table(found[-1])}", flush=True)
    if len(found) > 1:
        print(f"\n{args.dataset}, {len(found)} networks, accuracy in %\n\n{table(pooled(found))}")


if __name__ == "__main__":
    main()
