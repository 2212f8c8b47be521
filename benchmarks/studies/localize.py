"""The rows of Table 2 of Hanselmann & Ney over seeds: accuracy, and IoU with the true boxes.

    TFDS_DATA_DIR=... python -m benchmarks.studies.localize tiny     # trains and evaluates what is missing, and prints
    TFDS_DATA_DIR=... python -m benchmarks.studies.localize tiny --only=table
    python -m benchmarks.studies.localize planted --rows baseline end_to_end --seeds 0 1

On planted digits the recipe is that of `configs/localize_planted.py`. On tiny_imagenet_fs it is the one of
`configs/localize_tiny.py:reduced`, trained from scratch on two cores in minutes: against the paper, another data set,
64x64 images and crops of 32x32 in the place of 448x448, a small network without ImageNet's weights. Rows of one seed
start from the same weights and see the same batches. IoU is over all test images, with their true boxes, which no
training reads: of the predicted box, and of the boxes that it should beat.
"""

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from fsjax.training.xla import set_cpu_flags

set_cpu_flags()

from benchmarks.studies.shared import folder, spread, train  # noqa: E402 - XLA's flags come first
from fsjax.configs.common_localize import ROWS  # noqa: E402
from fsjax.configs.localize_planted import get_config as planted_config  # noqa: E402
from fsjax.configs.localize_tiny import get_config as tiny_config  # noqa: E402

WHOLE = "end_to_end"
TITLES = {
    "baseline": "the whole image", "no_local": "no local supervision", "no_end_to_end": "no end-to-end",
    "no_att_gradient": "no gradient from AffNet to AttNet", WHOLE: "end-to-end",
}  # fmt: skip
BOXES = {"predicted": "AffNet", "attention": "AttNet alone", "classifier": "classifier's map", "whole": "whole image"}


# The config of a data set, and the variants of it that are not rows.
DATA = {"tiny": (tiny_config, ["reduced"]), "planted": (planted_config, [])}


def config_of(data: str, row: str, seed: int) -> Any:
    """The config of one run."""
    get_config, variants = DATA[data]
    config = get_config(",".join([*variants, *([] if row == WHOLE else [row])]))
    config.seed = seed
    config.train.update(log_every=100, checkpoint_every=config.train.steps, progress=False)
    return config


def evaluate(path: Path) -> None:
    """Compare the boxes of a trained run with the true ones, in a file of its folder."""
    from fsjax import restore
    from fsjax.evaluation.papers.localization import box_figures, boxes_of, in_words

    run = restore(path)
    test = run.splits().test
    figures = box_figures(boxes_of(run.locate(test.images)), test.boxes)
    (path / "boxes.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(path.name, in_words(figures), sep="\n", flush=True)


def table(found: dict[str, dict[int, dict[str, Any]]]) -> None:
    """Print accuracies and IoU as Markdown, mean ± deviation over the seeds that are there.

    Args:
      found: for each row, by seed, "accuracy", the mean IoU of each of `BOXES`, and "median", of the predicted.
    """
    heads = ["accuracy, %", "− whole image", *(f"IoU: {title}" for title in BOXES.values()), "AffNet, median", "seeds"]
    print(f"| row | {' | '.join(heads)} |\n|{'---|' * (len(heads) + 1)}")
    for row, runs in found.items():
        base = found.get("baseline", {})
        paired = [100 * (run["accuracy"] - base[seed]["accuracy"]) for seed, run in runs.items() if seed in base]
        cells = [
            spread([100 * run["accuracy"] for run in runs.values()]),
            "–" if row == "baseline" else spread(paired, sign="+"),
            *(spread([run[box] for run in runs.values()], digits=3) for box in (*BOXES, "median")),
            ", ".join(map(str, runs)),
        ]
        print(f"| {TITLES[row]} | {' | '.join(cells)} |")


def main() -> None:
    """Train and evaluate what is missing, and print the table."""
    rows = (*ROWS, WHOLE)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=DATA)
    parser.add_argument("--workdir", type=Path, default=Path("runs/localize_study"))
    parser.add_argument("--rows", nargs="+", choices=rows, default=list(rows))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--only", choices=("train", "table"))
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for seed in args.seeds:

        def folder_of(row: str, seed: int = seed) -> Path:
            return folder(args.workdir, args.data, row, seed)

        for row in args.rows:
            path = folder_of(row)
            if args.only != "table":
                train([row], lambda row, seed=seed: config_of(args.data, row, seed), folder_of)
                if not (path / "boxes.json").exists():
                    evaluate(path)
            if (path / "boxes.json").exists():
                result, boxes = (json.loads((path / name).read_text()) for name in ("result.json", "boxes.json"))
                figures = {name: box["mean"] for name, box in boxes.items()} | {"median": boxes["predicted"]["median"]}
                found.setdefault(row, {})[seed] = {"accuracy": result["test"]["accuracy"], **figures}
    if args.only != "train":
        table(found)


if __name__ == "__main__":
    main()
