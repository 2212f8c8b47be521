"""Losses compared under one recipe: data set x imbalance x label noise x loss x seed.

    TFDS_DATA_DIR=... python -m benchmarks.losses mnist --noise 0 0.2 0.4
    TFDS_DATA_DIR=... python -m benchmarks.losses cifar100 --imbalance 100 --losses softmax opl zloss
    python -m benchmarks.losses digits --seeds 0 --steps 50 --out losses.csv

Trains what is missing, each run in a folder of its own, so that a study that was stopped goes on where it was; prints a
Markdown table: mean and deviation over the seeds, and the difference from softmax cross-entropy on the same seeds.
`--out` writes a line per run as CSV.

The recipes are reduced to two CPU cores: small networks, Adam at 0.002 with a cosine, batches of 128, MNIST as it is.
Losses have their defaults (`fsjax.options.losses`), but for the changes of `LOSSES`, made where a paper's value is
for another number of classes: none was tuned on these data, so the table says what a loss does where it is switched on,
not what it can do. No data are held out, the last step is tested.
"""

import argparse
import csv
import itertools
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fsjax.training.xla import set_cpu_flags

set_cpu_flags()

from benchmarks.studies.shared import spread  # noqa: E402 - XLA's flags come first
from fsjax.configs.common import base  # noqa: E402

# What each name of the table changes of a config with the loss "softmax".
LOSSES: dict[str, dict[str, Any]] = {
    **{
        name: {"loss.name": name}
        for name in (
            "softmax", "focal", "class_balanced", "center", "icu", "zloss", "spherical", "harmonic", "ldr", "opl",
            "bias", "contrastive", "metrix",
        )
    },
    # The papers' scale of 64 is for tens of thousands of identities; with 10 classes the margins stop learning there.
    "elasticface": {"loss.name": "elasticface", "loss.elasticface.scale": 16.0},
    "unpg": {"loss.name": "unpg", "loss.unpg.scale": 16.0},
    # Of 10 classes all others are negatives; the paper draws a tenth of a million.
    "mlcd": {"loss.name": "mlcd", "loss.mlcd.negatives": 1.0},
    "taylor": {"loss.name": "spherical", "loss.spherical.kind": "taylor"},
    "harmonic_manhattan": {"loss.name": "harmonic", "loss.harmonic.distance": "manhattan"},
    "harmonic_cosine": {"loss.name": "harmonic", "loss.harmonic.distance": "cosine"},
    "aldr": {"loss.name": "aldr", "loss.aldr.input": "softplus"},
    "dataset_equity": {"loss.name": "dataset_equity", "data.clusters": "class"},  # for unbalanced classes
    "multi_sample": {"feature_dropout.name": "multi_sample"},
    "co_teaching": {"method.name": "co_teaching"},  # two networks, and told the share of wrong labels
    "kd": {"loss.name": "kd"},  # the teacher is the softmax run of the same seed, data and noise: a second training
    "nd": {"loss.name": "nd"},
    "dual_head": {"loss.name": "dual_head"},
}  # fmt: skip
TAUGHT = ("kd", "nd", "dual_head")
BASE = "softmax"


def mnist(config: Any) -> None:
    """5,000 images, two convolutions, 10 epochs."""
    config.data.limit.train = 5000
    config.model.cnn.update(stages=((8,), (16,)), pool="flatten", dim=64)
    config.train.steps = 400


def cifar100(config: Any) -> None:
    """Six convolutions, 500 steps; crops and mirror images."""
    config.data.augment.update(crop="pad", pad=4, flip=True)
    config.model.cnn.update(stages=((16, 16), (32, 32), (64, 64)))
    config.train.steps = 500


def digits(config: Any) -> None:
    """Scikit-learn's, to try the script without a download."""
    config.model.cnn.update(stages=((8,), (16,)), pool="flatten", dim=16)
    config.train.steps = 200


DATA = {"mnist": mnist, "cifar100": cifar100, "digits": digits}


def config_of(data: str, imbalance: float, noise: float, loss: str, seed: int, *, steps: int, teacher: Path) -> Any:
    """The config of one run; `steps` of 0 are the recipe's."""
    config = base()
    config.name, config.seed = f"{data}_{loss}", seed
    config.data.name, config.data.longtail_ratio, config.data.label_noise = data, imbalance, noise
    config.loss.name, config.model.name = "softmax", "cnn"
    config.optimizer.update(name="adam", learning_rate=2e-3, weight_decay=1e-4)
    config.schedule.update(name="cosine", unit="steps")
    config.train.update(batch_size=128, epochs=0.0, log_every=100, eval_every=0, progress=False)
    config.eval.batch_size = 1000
    DATA[data](config)
    config.train.steps = steps or config.train.steps
    config.train.checkpoint_every = config.train.steps
    config.method.co_teaching.update(forget=noise, gradual_steps=config.train.steps // 4)
    config.update_from_flattened_dict(LOSSES[loss])
    if loss in TAUGHT:
        config.teacher.run = str(teacher)
    return config


def table(found: dict[str, dict[int, float]]) -> str:
    """Markdown: test accuracy in % by loss, and its difference from softmax, paired by seed.

    Args:
      found: for each loss, by seed, the accuracy.
    """
    rows = [f"| loss | accuracy, % | − {BASE} | seeds |", "|---|---|---|---|"]
    of_base = found.get(BASE, {})
    for loss, runs in found.items():
        paired = [100 * (value - of_base[seed]) for seed, value in runs.items() if seed in of_base]
        difference = spread(paired, sign="+") if paired and loss != BASE else "–"
        rows.append(f"| {loss} | {spread([100 * v for v in runs.values()])} | {difference} | {len(runs)} |")
    return "\n".join(rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Train what is missing, and print a table for each imbalance and noise."""
    args = _arguments(argv)
    from fsjax.training import run

    logging.getLogger("fsjax").setLevel(logging.WARNING)
    lines = []
    for imbalance, noise in itertools.product(args.imbalance, args.noise):
        found: dict[str, dict[int, float]] = {}
        for seed, loss in itertools.product(args.seeds, args.losses):

            def folder(loss: str, where: str = f"{args.data}-{imbalance:g}-{noise:g}", seed: int = seed) -> Path:
                return args.workdir / f"{where}-{loss}-{seed}"

            path = folder(loss)
            if not args.only_table:
                teacher = folder(BASE)
                run(config_of(args.data, imbalance, noise, loss, seed, steps=args.steps, teacher=teacher), path)
            if (path / "result.json").exists():
                result = json.loads((path / "result.json").read_text())
                found.setdefault(loss, {})[seed] = result["test"]["accuracy"]
                line = {"data": args.data, "imbalance": imbalance, "noise": noise, "loss": loss, "seed": seed}
                line |= {"accuracy": result["test"]["accuracy"], "seconds": round(result["training"]["seconds"], 1)}
                lines.append(line)
                print(json.dumps(line), flush=True)
        if found:
            print(f"\n{args.data}, imbalance {imbalance:g}, {noise:.0%} wrong labels\n\n{table(found)}\n", flush=True)
    if args.out and lines:
        with args.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, lines[0])
            writer.writeheader()
            writer.writerows(lines)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=DATA)
    parser.add_argument("--workdir", type=Path, default=Path("runs/losses"))
    parser.add_argument("--imbalance", nargs="+", type=float, default=[0.0], help="largest over smallest class (0)")
    parser.add_argument("--noise", nargs="+", type=float, default=[0.0], help="shares of wrong training labels (0)")
    parser.add_argument(
        "--losses", nargs="+", choices=LOSSES, default=list(LOSSES), metavar="LOSS", help=f"{[*LOSSES]}"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=0, help="in the place of the recipe's")
    parser.add_argument("--only-table", action="store_true", help="train nothing")
    parser.add_argument("--out", type=Path, help="a CSV file, a line per run")
    args = parser.parse_args(argv)
    # The teacher of others first.
    args.losses.sort(key=lambda loss: loss != BASE)
    missing = [loss for loss in args.losses if loss in TAUGHT and BASE not in args.losses]
    if missing and not args.only_table:
        parser.error(f"{', '.join(missing)}: the teacher is the run of {BASE!r}; name it in --losses too")
    return args


if __name__ == "__main__":
    main()
