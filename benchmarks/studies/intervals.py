"""Do intervals over new images and new classes hold the truth as often as they say? On CIFAR-100, where it is known.

    TFDS_DATA_DIR=... python -m benchmarks.studies.intervals          # resumed where it stopped; prints the table
    python -m benchmarks.studies.intervals --only=table

Features of all 600 images of each of the 100 classes by the network that comes with fsjax, which has seen none of them.
"classes": pools of 20 of the classes, 100 images of each; the truth is the accuracy over all classes and images.
"images": pools of 100 images of each of 20 classes, the same for all pools; the truth is that over all their images.
Each pool is evaluated on its own tasks by three heads, and they are compared in pairs.

Both truths are of finite populations, of which a pool is a fifth and a sixth: its accuracy is nearer to such a truth
than to that over all classes or images there could be, which an interval is of, by the square root of 1 - 1/5 and 1 -
1/6. So coverage is also given of intervals whose part of the pool is narrower by as much, which is the sharper test.
"""

import argparse
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fsjax.training.xla import set_cpu_flags

set_cpu_flags()

import numpy as np  # noqa: E402 - XLA's flags come first

from fsjax.data import EpisodeSpec, class_table  # noqa: E402
from fsjax.evaluation.few_shot.intervals import KINDS, Intervals, intervals_of, paired_intervals  # noqa: E402
from fsjax.evaluation.few_shot.statistics import mean_interval, wilson_interval  # noqa: E402
from fsjax.evaluation.few_shot.tasks import Bank, score_tasks  # noqa: E402
from fsjax.methods.rules import Rule  # noqa: E402

HEADS = {
    "cosine": Rule("cosine", "embedding", "embedding", 1.0),
    "Euclid": Rule("squared_euclid", "embedding", "embedding", 1.0),
    "naive Bayes": Rule("cosine", "embedding", "embedding", 1.0, head="naive_bayes", shrinkage=0.5),
}
PAIRS = (("cosine", "Euclid"), ("naive Bayes", "Euclid"))
SPECS = {shot: EpisodeSpec(way=5, shot=shot, query=15) for shot in (1, 5)}
CLASSES, IMAGES = 20, 100  # of a pool
# Of a pool, among all classes or images.
SHARES = {"classes": CLASSES / 100, "images": IMAGES / 600}
WIDTHS = ("interval", *(f"interval_{name}" for name in KINDS))
_AT_ONCE = 4096


def embeddings(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Features `[60000, dim]` and labels of CIFAR-100, computed where the file is missing."""
    if not path.exists():
        from benchmarks.starter import load_arrays, load_source, merged, parse_config, view_of
        from fsjax.data.examples import find_reference
        from fsjax.runs import starter

        run = starter()
        size = run.info.image_shape[0]
        config = parse_config({"name": "cifar100", "image_size": size, "channels": 3})
        source = load_source(config)
        part = merged([source.train, source.test])
        images = load_arrays(part, view_of(config), find_reference(part, size)).images
        found = [run.embed(images[start : start + _AT_ONCE]) for start in range(0, len(images), _AT_ONCE)]
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, features=np.concatenate(found), labels=part.labels)
    with np.load(path) as file:
        return file["features"], file["labels"].astype(np.int64)


def bank_of(features: np.ndarray, labels: np.ndarray, index: np.ndarray) -> Bank:
    """A bank of the images at these positions; their classes are numbered anew."""
    found = np.unique(labels[index], return_inverse=True)
    return Bank.of({"embedding": features[index]}, found[1], tuple(map(str, found[0])), "the pool's classes")


def drawn(labels: np.ndarray, classes: Sequence[int], images: int, rng: np.random.Generator) -> np.ndarray:
    """Positions of so many images of each of these classes."""
    table = class_table(labels, 100)
    of = [table.order[table.start[c] : table.start[c] + table.count[c]] for c in classes]
    return np.concatenate([rng.choice(positions, images, replace=False) for positions in of])


def pool(labels: np.ndarray, part: str, number: int) -> np.ndarray:
    """Positions of the images of a pool; of number -1, those that it is drawn from."""
    fixed = np.random.default_rng(0).choice(100, CLASSES, replace=False)
    if number < 0:
        return np.arange(len(labels)) if part == "classes" else drawn(labels, fixed, 600, np.random.default_rng(0))
    rng = np.random.default_rng([1 + list(SHARES).index(part), number])
    return drawn(labels, rng.choice(100, CLASSES, replace=False) if part == "classes" else fixed, IMAGES, rng)


def evaluated(bank: Bank, *, seed: int, tasks: int) -> Iterator[dict[str, Any]]:
    """The mean and the intervals of each number of shots, head and pair."""
    for shot, spec in SPECS.items():
        # From one image per class there is no variance to be seen: naive Bayes would be the nearest mean.
        heads = [name for name in HEADS if shot > 1 or name != "naive Bayes"]
        of = score_tasks(bank, [HEADS[name] for name in heads], spec=spec, seed=seed, tasks=tasks)
        scores = dict(zip(heads, of, strict=True))
        for name in heads:
            yield _facts(shot, name, intervals_of(mean_interval(scores[name].accuracy), scores[name]))
        for first, second in PAIRS:
            if first in heads:
                yield _facts(shot, f"{first} − {second}", paired_intervals(scores[first], scores[second]))


def _facts(shot: int, name: str, found: Intervals) -> dict[str, Any]:
    return {"shot": shot, "figure": name, "mean": found.tasks.mean, **found.to_json()}


def run(workdir: Path, *, pools: int, tasks: int, true_tasks: int) -> Path:
    """Evaluate the pools that are missing; the file of their figures, a line each."""
    file = workdir / f"pools-{tasks}.jsonl"
    known = {(line["part"], line["pool"]) for line in read(file)}
    missing = [key for key in itertools.product(SHARES, range(-1, pools)) if key not in known]
    if missing:
        features, labels = embeddings(workdir / "features.npz")
    for part, number in missing:
        bank = bank_of(features, labels, pool(labels, part, number))
        found = evaluated(bank, seed=number + 1, tasks=true_tasks if number < 0 else tasks)
        lines = [json.dumps({"part": part, "pool": number, **facts}) + "\n" for facts in found]
        with file.open("a") as stream:
            stream.write("".join(lines))
    return file


def read(file: Path) -> list[dict[str, Any]]:
    """The lines of the figures; none of a file that is not there."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def table(lines: Sequence[dict[str, Any]]) -> str:
    """A line of Markdown for each part, number of shots and figure."""
    header = (
        "pools of",
        "shot",
        "figure",
        "truth",
        "bias",
        "deviation",
        "half-width: tasks",
        "new images",
        "new classes",
        "coverage: tasks",
        "new …",
        "new …, narrowed",
    )
    made = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for part, shot, figure in dict.fromkeys((line["part"], line["shot"], line["figure"]) for line in lines):
        of = [x for x in lines if (x["part"], x["shot"], x["figure"]) == (part, shot, figure)]
        truth = next(x["mean"] for x in of if x["pool"] < 0)
        of = [x for x in of if x["pool"] >= 0]
        error = np.array([x["mean"] for x in of]) - truth
        widths = {name: np.array([x[name] for x in of]) for name in WIDTHS}
        own = widths[f"interval_new_{part}"]
        # What the tasks' number adds does not depend on what the pool is a part of.
        pooled = np.sqrt((own**2 - widths["interval"] ** 2) * (1 - SHARES[part]) + widths["interval"] ** 2)
        numbers = [100 * truth, 100 * error.mean(), 100 * error.std(ddof=1)]
        numbers += [100 * np.sqrt(np.mean(width**2)) for width in widths.values()]
        cells = [f"{numbers[0]:.2f}", f"{numbers[1]:+.2f}", *(f"{x:.2f}" for x in numbers[2:])]
        cells += [coverage(error, width) for width in (widths["interval"], own, pooled)]
        made.append(f"| {part} | {shot} | {figure} | {' | '.join(cells)} |")
    return "\n".join(made)


def coverage(error: np.ndarray, width: np.ndarray) -> str:
    """The share of intervals that hold the truth, in %, with its own 95 % interval (Wilson's)."""
    held = np.abs(error) <= width
    low, high = wilson_interval(int(held.sum()), len(held))
    return f"{100 * held.mean():.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def main(argv: list[str] | None = None) -> None:
    """Evaluate what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, default=Path("runs/intervals_study"))
    parser.add_argument("--pools", type=int, default=300)
    parser.add_argument("--tasks", type=int, default=2000, help="of each pool (2000)")
    parser.add_argument("--true-tasks", type=int, default=200_000, help="of all classes and images (200000)")
    parser.add_argument("--only", choices=("table",))
    args = parser.parse_args(argv)
    file = args.workdir / f"pools-{args.tasks}.jsonl"
    if args.only is None:
        run(args.workdir, pools=args.pools, tasks=args.tasks, true_tasks=args.true_tasks)
    print(table(read(file)))


if __name__ == "__main__":
    main()
