"""How well few labelled pictures label others: networks and heads, on photographs and on small pictures of things.

    FSJAX_PHOTOS=... TFDS_DATA_DIR=... python -m benchmarks.studies.photographs --out photographs.json

FSJAX_PHOTOS is a folder with `birds` and `everyday`, folders of class folders; TFDS_DATA_DIR has cifar100 and
tiny_imagenet_fs; what is not there is left out. Every network and head has the same tasks. "data set's mean" is the
cosine to prototypes, both less the mean of all pictures of the data set: it has to see the pictures to be labelled, in
equal numbers of each class, and is here to compare with others' figures; `fsjax predict` has no such head.
"""

import argparse
import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any

from fsjax.training.xla import set_cpu_flags

set_cpu_flags()

import numpy as np  # noqa: E402 - XLA's flags come first

from benchmarks import starter  # noqa: E402
from fsjax import data, restore  # noqa: E402
from fsjax.evaluation.few_shot.statistics import mean_interval  # noqa: E402
from fsjax.labelling import HEADS, Network, heads  # noqa: E402
from fsjax.labelling.held_out import class_prototypes, class_scores  # noqa: E402

NETWORKS = ("starter", "efficientnet_lite0")
SEEN = "data set's mean"
# Folders of photographs, and data sets of TFDS with the side that their pictures have at most.
FOLDERS = ("birds", "everyday")
TFDS = {"cifar100": 160, "tiny_imagenet_fs": 224}
# Ways and shots beside 5-way, 1 and 5.
MORE = {"birds": ((10, 5),), "everyday": ((8, 5),)}
QUERIES = 15


def pictures_of(name: str, run: Any, per_class: int) -> tuple[np.ndarray, np.ndarray] | None:
    """uint8 pictures and their labels; None where they are not here."""
    if name in FOLDERS:
        folder = Path(os.environ.get("FSJAX_PHOTOS", "/nowhere")) / name
        if not folder.is_dir():
            print(f"{name}: not in FSJAX_PHOTOS")
            return None
        found = data.labelled_files(folder)
        parts = list(data.read_pictures(found.files, run.config.data, run.info))
        return np.concatenate([part.images for part in parts]), found.labels
    try:
        return starter.pictures(name, per_class, min(TFDS[name], run.info.image_shape[0]))[:2]
    except data.DataError as error:
        print(f"{name}: {error}")
        return None


def features_of(run: Any, images: np.ndarray) -> tuple[np.ndarray, Any]:
    """Features `[n, dim]` of pictures of any size, and the rule that reads them."""
    info = dataclasses.replace(run.info, image_shape=images.shape[1:])
    network = Network(run.method, run.params, run.collections, info, batch_size=64)
    rule = run.method.rule(run.params)
    return network.features(images, rule.features)[rule.support_pool], rule


def accuracies(
    features: np.ndarray, labels: np.ndarray, rule: Any, *, way: int, shot: int, tasks: int, names: list[str]
) -> dict[str, np.ndarray]:
    """The accuracy of each task by head."""
    rng, count = np.random.default_rng(0), int(labels.max()) + 1
    own = np.repeat(np.arange(way), shot)
    truth = np.repeat(np.arange(way), QUERIES)
    places = [np.flatnonzero(labels == c) for c in range(count)]
    seen = features.mean(axis=0)
    found = {name: np.zeros(tasks) for name in names}
    for task in range(tasks):
        classes = rng.permutation(count)[:way]
        drawn = [rng.permutation(places[c])[: shot + QUERIES] for c in classes]
        support = features[np.concatenate([d[:shot] for d in drawn])]
        queries = features[np.concatenate([d[shot:] for d in drawn])]
        for name in names:
            if name in heads.LINEAR:
                scores = heads.fit(name, support, own, way).scores(queries)
            else:
                away = seen if name == SEEN else 0
                means = class_prototypes(support - away, own, way, rule)
                scores = class_scores(queries - away, means, rule, centred=name == "centred")
            found[name][task] = np.mean(scores.argmax(axis=-1) == truth)
    return found


def main() -> None:
    """Measure, print a table, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=400)
    parser.add_argument("--per-class", type=int, default=30, help="pictures per class of TFDS data sets")
    parser.add_argument("--data", nargs="+", default=[*FOLDERS, *TFDS], choices=(*FOLDERS, *TFDS))
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    figures = []
    for name in args.data:
        for network in args.networks:
            run = restore(network)
            pictures = pictures_of(name, run, args.per_class)
            if pictures is None:
                continue
            began = time.perf_counter()
            features, rule = features_of(run, pictures[0])
            rate = len(features) / (time.perf_counter() - began)
            print(f"{name}, {network}: {len(features):,} pictures, {rate:.0f} a second with compilation", flush=True)
            for way, shot in ((5, 1), (5, 5), *MORE.get(name, ())):
                of_heads = [h for h in HEADS if shot > 1 or h not in ("logistic", "naive_bayes")] + [SEEN]
                found = accuracies(
                    features, pictures[1], rule, way=way, shot=shot, tasks=args.tasks, names=of_heads
                )  # fmt: skip
                for head, each in found.items():
                    interval = mean_interval(each)
                    figures.append(
                        {"data": name, "network": network, "way": way, "shot": shot, "head": head,
                         "accuracy": interval.mean, "interval": interval.half_width, "tasks": args.tasks}
                    )  # fmt: skip
                    print(f"  {way}-way {shot}-shot {head:16} {interval}", flush=True)
    if args.out:
        args.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
