"""The network that comes with fsjax: made from its run, and what it can do with classes it has never seen.

    python train.py --config=configs/starter.py --workdir=runs/starter
    python -m benchmarks.starter --pack runs/starter              # writes fsjax/starter/
    TFDS_DATA_DIR=... python -m benchmarks.starter --record       # prints the table, and keeps the figures
    python -m benchmarks.starter --only digits drawings           # without a download

5-way tasks of 15 queries per class, the same for every row: by the starter's own rule; by that of the same network with
random weights; and by the nearest mean of the support images' 16x16 pixels. Pictures are brought to 48x48 in
colour, at most `--images` of each class. None of the data but "drawings" (its novel classes) was trained on.
"""

import argparse
import dataclasses
import json
import logging
import shutil
from pathlib import Path
from typing import Any

from fsjax.training.xla import set_cpu_flags

set_cpu_flags()

import numpy as np  # noqa: E402 - XLA's flags come first

from fsjax.data.config import parse_config  # noqa: E402
from fsjax.data.examples import find_reference, load_arrays  # noqa: E402
from fsjax.data.load import view_of  # noqa: E402
from fsjax.data.sources import Part, load_source, merged  # noqa: E402

# By name: fields of `config.data`, and the parts of the source that are taken.
DATA: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "digits": ({"name": "digits"}, ("train",)),
    "mnist": ({"name": "mnist"}, ("test",)),
    "omniglot_small1": ({"name": "omniglot", "train_split": "small1", "test_split": ""}, ("train",)),
    "omniglot_small2": ({"name": "omniglot", "train_split": "small2", "test_split": ""}, ("train",)),
    "cifar100": ({"name": "cifar100"}, ("test",)),
    "tiny_imagenet_fs": (
        {"name": "tiny_imagenet_fs", "train_split": "train+validation", "test_split": ""},
        ("train",),
    ),
}
ROWS = ("starter", "untrained", "pixels")
PACKAGE = Path(__file__).parents[1] / "fsjax" / "starter"
PIXELS = 16


def pictures(name: str, per_class: int, size: int) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """At most so many pictures of each class, uint8 `[n, size, size, 3]`, with their labels and the classes' names."""
    fields, parts = DATA[name]
    config = parse_config({**fields, "image_size": size, "channels": 3})
    source = load_source(config)
    part = first_of_each(merged([getattr(source, name) for name in parts]), per_class)
    images = load_arrays(part, view_of(config), find_reference(part, size)).images
    labels = np.unique(part.labels, return_inverse=True)[1]
    return images, labels, tuple(source.class_names[i] for i in np.unique(part.labels))


def first_of_each(part: Part, count: int) -> Part:
    """The part with the first images of each class, at most so many."""
    order = np.argsort(part.labels, kind="stable")
    labels = part.labels[order]
    rank = np.arange(len(order)) - np.searchsorted(labels, labels)
    return part.take(np.sort(order[rank < count]))


def novel_drawings(run: Any, per_class: int) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Pictures of the run's novel classes, as `pictures`."""
    from fsjax.data import images_at

    splits = run.splits()
    test = dataclasses.replace(splits.test, part=first_of_each(splits.test.part, per_class))
    return images_at(test, np.arange(len(test))), test.labels, run.info.test_classes


def pixels(images: np.ndarray) -> np.ndarray:
    """Means over squares, float32 `[n, PIXELS * PIXELS * 3]` in 0..1."""
    count, side = len(images), images.shape[1] // PIXELS
    blocks = images.reshape(count, PIXELS, side, PIXELS, side, 3)
    return (blocks.mean(axis=(2, 4), dtype=np.float32) / 255).reshape(count, -1)


def untrained(run: Any) -> Any:
    """The run with random weights, and batch statistics of none."""
    import jax
    import jax.numpy as jnp

    rng = jax.random.key(run.config.seed)
    variables = dict(run.method.init(rng, jnp.zeros((1, *run.info.image_shape))))
    return dataclasses.replace(run, params=variables.pop("params"), collections=variables)


def scored(
    run: Any, name: str, *, per_class: int, tasks: int, shots: tuple[int, ...], rows: tuple[str, ...] = ROWS
) -> list[dict[str, Any]]:
    """The figures of these rows on one data set, each with the accuracy of its tasks under "each"."""
    from fsjax.data import parse_spec
    from fsjax.evaluation.few_shot.protocol import make_figure
    from fsjax.evaluation.few_shot.tasks import Bank, score_tasks
    from fsjax.methods.rules import Rule

    size = run.info.image_shape[0]
    images, labels, names = novel_drawings(run, per_class) if name == "drawings" else pictures(name, per_class, size)
    found = []
    for row in rows:
        if row == "pixels":
            rule, features = Rule("squared_euclid", "embedding", "embedding", 1.0), {"embedding": pixels(images)}
        else:
            own = run if row == "starter" else untrained(run)
            rule = own.method.rule(own.params)
            features = {pool: own._apply(pool, images, 256) for pool in rule.features}
        bank = Bank.of(features, labels, names, f"the classes of {name}")
        for shot in shots:
            spec = parse_spec(way=5, shot=shot, query=15)
            (scores,) = score_tasks(bank, [rule], spec=spec, seed=0, tasks=tasks)
            facts = make_figure(scores, names, {}).facts
            del facts["per_class"]
            known = {"data": name, "row": row, "shot": shot, "classes": len(names), "images": len(images)}
            found.append(known | facts | {"each": scores.accuracy})
    return found


def table(figures: list[dict[str, Any]]) -> str:
    """A line of Markdown for each data set and shot: accuracy in percent, and the paired difference to the pixels."""
    from fsjax.evaluation.few_shot.statistics import paired_difference

    lines = ["| data | classes | shot | starter | untrained | pixels | starter − pixels |", "|---" * 7 + "|"]
    for data, shot in dict.fromkeys((f["data"], f["shot"]) for f in figures):
        rows = {f["row"]: f for f in figures if (f["data"], f["shot"]) == (data, shot)}
        cells = [f"{100 * rows[r]['accuracy']:.1f} ± {100 * rows[r]['interval']:.1f}" for r in ROWS]
        gain = paired_difference(rows["starter"]["each"], rows["pixels"]["each"])
        cells.append(f"{100 * gain.mean:+.1f} ± {100 * gain.half_width:.1f}")
        lines.append(f"| {data} | {rows['starter']['classes']} | {shot} | {' | '.join(cells)} |")
    return "\n".join(lines)


def pack(workdir: Path) -> None:
    """Write the package's files from a run, and say what rounding its weights to half precision does."""
    from fsjax.runs import starter
    from fsjax.training import packaged
    from fsjax.training.restored import restored

    found = restored(workdir.absolute())
    result = json.loads((workdir / "result.json").read_text())
    packaged.write(found, PACKAGE, {"seconds": result["training"]["seconds"]})
    shutil.copyfile(workdir / "result.json", PACKAGE / "result.json")
    run = starter()
    exact = dataclasses.replace(run, params=found.params, collections=found.collections)
    images = np.random.default_rng(0).integers(0, 256, (64, *run.info.image_shape), dtype=np.uint8)
    first, second = exact.embed(images), run.embed(images)
    size = (PACKAGE / packaged.WEIGHTS).stat().st_size
    print(f"{size:,} bytes; embeddings of noise differ by {np.abs(first - second).max() / np.abs(first).max():.1e}")


def main(argv: list[str] | None = None) -> None:
    """Pack, or evaluate and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=Path, help="a finished run of configs/starter.py")
    parser.add_argument("--run", type=Path, help="another run to evaluate in the starter's place")
    parser.add_argument("--only", nargs="+", choices=("drawings", *DATA), default=["drawings", *DATA])
    parser.add_argument("--images", type=int, default=100, help="of each class, at most (100)")
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument(
        "--record",
        action="store_true",
        help="write figures.json beside the weights; the table goes into README.md there and docs/results.md by hand",
    )
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    if args.record and (args.run or len(args.only) != len(DATA) + 1 or args.tasks != parser.get_default("tasks")):
        parser.error(
            "--record keeps the figures of the starter, on all data and all tasks: leave --run, --only, --tasks out"
        )
    if args.pack:
        pack(args.pack)
        return
    from fsjax.runs import restore, starter

    run, figures = restore(args.run) if args.run else starter(), []
    for name in args.only:
        found = scored(run, name, per_class=args.images, tasks=args.tasks, shots=(1, 5))
        figures += found
        for figure in found:
            print(json.dumps({key: value for key, value in figure.items() if key != "each"}), flush=True)
    print(table(figures))
    if args.record:
        plain = [{key: value for key, value in figure.items() if key != "each"} for figure in figures]
        facts = {"images_a_class": args.images, "figures": plain}
        (PACKAGE / "figures.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
