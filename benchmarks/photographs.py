"""How well a few labelled photographs label others, by network and head.

    python -m benchmarks.photographs PHOTOS --tasks 200

PHOTOS is a folder of data sets, each a folder of class folders, such as birds/ and everyday/. All networks and heads
have the same tasks, with 15 queries of each class. Copies of a picture are not looked for.
"""

import argparse
import zlib
from pathlib import Path

from fsjax.training.xla import set_cpu_flags

set_cpu_flags()

import numpy as np  # noqa: E402 - XLA's flags come first

from fsjax import data, restore  # noqa: E402
from fsjax.evaluation.neural_collapse import directions  # noqa: E402
from fsjax.evaluation.statistics import mean_interval  # noqa: E402
from fsjax.labelling import HEADS, PROTOTYPES  # noqa: E402
from fsjax.labelling.heads import class_means, fit_head  # noqa: E402

QUERIES = 15


def features_of(network: str, files: list[Path]) -> np.ndarray:
    """Embeddings `[n, dim]` of pictures."""
    run = restore(network)
    parts = data.read_pictures(files, run.config.data, run.info)
    return np.concatenate([run.embed(part.images, batch_size=16) for part in parts]).astype(np.float64)


def predicted(head: str, x: np.ndarray, y: np.ndarray, queries: np.ndarray, way: int) -> np.ndarray:
    """Labels of queries `[m, dim]` by the labelled features `[n, dim]`."""
    if head == PROTOTYPES:  # the rule of networks that were trained as classifiers: cosine
        return (directions(queries) @ directions(class_means(x, y, way)).T).argmax(axis=1)
    return fit_head(head, x, y, way, copies=np.arange(len(y))).scores(queries).argmax(axis=1)


def accuracies(
    x: np.ndarray, labels: np.ndarray, *, way: int, shot: int, tasks: int, seed: int
) -> dict[str, np.ndarray]:
    """The accuracy of each task, `[tasks]`, by head."""
    draw, found = np.random.default_rng([seed, way, shot]), {head: np.zeros(tasks) for head in (PROTOTYPES, *HEADS)}
    y, truth = np.repeat(np.arange(way), shot), np.repeat(np.arange(way), QUERIES)
    for task in range(tasks):
        classes = draw.permutation(labels.max() + 1)[:way]
        drawn = [draw.permutation(np.flatnonzero(labels == c))[: shot + QUERIES] for c in classes]
        support, queries = np.concatenate([d[:shot] for d in drawn]), np.concatenate([d[shot:] for d in drawn])
        for head, of_tasks in found.items():
            of_tasks[task] = np.mean(predicted(head, x[support], y, x[queries], way) == truth)
    return found


def main() -> None:
    """Print a table for each data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, metavar="PHOTOS")
    parser.add_argument("--data", nargs="+", default=["birds", "everyday"])
    parser.add_argument("--networks", nargs="+", default=["starter", "efficientnet_lite0", "efficientnet_lite2"])
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 2, 5, 10])
    parser.add_argument("--ways", type=int, nargs="+", default=[5, 0], help="0: all classes")
    parser.add_argument("--tasks", type=int, default=200)
    args = parser.parse_args()
    for name in args.data:
        files = data.labelled_files(args.photos / name)
        count = len(files.class_names)
        print(f"\n{name}: {len(files.files)} pictures of {count} classes; accuracy in %, ± 95 % interval over tasks\n")
        heads = (PROTOTYPES, *HEADS)
        print(f"| network | way | shot | {' | '.join(heads)} |\n|---|---|---|{'---|' * len(heads)}", flush=True)
        for network in args.networks:
            x = features_of(network, files.files)
            for way in dict.fromkeys(way or count for way in args.ways):
                for shot in args.shots:
                    found = accuracies(
                        x, files.labels, way=way, shot=shot, tasks=args.tasks, seed=zlib.crc32(name.encode())
                    )
                    cells = " | ".join(str(mean_interval(found[head])) for head in heads)
                    print(f"| {network} | {way} | {shot} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
