"""Appearance clusters of a run's training images, for the loss "dataset_equity" of other runs on the same data.

    fsjax cluster runs/icu_digits --count 20 --out clusters.npz
    fsjax train icu_digits --config.loss.name=dataset_equity --config.data.clusters=clusters.npz
    fsjax cluster efficientnet_lite0 --source folder --data-path pictures --out pictures.npz

The run's embeddings of its training images, at length 1, are clustered by k-means. The file says of each image of the
source which cluster it is in: a run on a part of these images, for instance with a validation split, can use it too.
--source takes the training images of another data set than the run's, as `fsjax evaluate` does; a published network,
which has no data here, needs it.
"""

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from fsjax import data
from fsjax.cli.arguments import add_run, check_output, open_run, path_of
from fsjax.cli.splits import check_set, source_of

if TYPE_CHECKING:
    from fsjax.runs import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    add_run(parser)
    parser.add_argument("--source", default="", metavar="NAME", help="another data set, as config.data.name")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="of --source: --set data.test_fraction=0"
    )
    parser.add_argument("--count", type=int, default=20, help="how many clusters (20)")
    parser.add_argument("--seed", type=int, default=0, help="of k-means")
    parser.add_argument("--out", type=path_of, required=True, help="the .npz file to write")


def run(args: argparse.Namespace) -> None:
    """Cluster, and write the file."""
    from fsjax.evaluation.analysis.clusters import cluster_training_images

    check_output("--out", args.out, ".npz")
    check_set(args)
    run = open_run(args, args.run)
    splits = _splits(run, args)
    clusters = cluster_training_images(
        run.method, run.params, run.collections, splits, count=args.count, seed=args.seed, batch_size=args.batch_size
    )
    data.save_clusters(args.out, clusters, splits.items, source=splits.info.name)
    sizes = np.bincount(clusters, minlength=args.count)
    print(
        f"{args.count} clusters of {len(clusters):,} training images, {sizes.min()} to {sizes.max()} each: {args.out}"
    )


def _splits(run: "Run", args: argparse.Namespace) -> Any:
    """The run's data, or those of --source as its network takes them."""
    if not args.source:
        return run.splits(data_path=args.data_path)
    found = data.load_splits(source_of(run, args).data, seed=0, keep=False)
    return dataclasses.replace(found, info=dataclasses.replace(found.info, mean=run.info.mean, std=run.info.std))
