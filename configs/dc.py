"""Dense classification and its baselines (Lifchitz et al., CVPR 2019), on a data set of few-shot learning.

    python train.py --config=configs/dc.py:fc100 --workdir=runs/dc_fc100
    python train.py --config=configs/dc.py:fc100,gap --workdir=runs/gap_fc100
    python train.py --config=configs/dc.py:mini --workdir=runs/dc_mini --config.data.path=~/mini_imagenet
    python train.py --config=configs/dc.py:tiny --workdir=runs/dc_tiny
    fsjax evaluate runs/dc_fc100 --classes novel base both --pooling all --shots 5

Data sets, named first: fc100, cifarfs, mini (miniImageNet), tiny (tiny_imagenet_fs, 60 classes of Tiny ImageNet at
64x64). "dc_fc100:gap" is "dc:fc100,gap".

FC100, Table 5, 5-way accuracy on novel classes in %, 10,000 tasks (5,000 with implants), 30 queries per class:
                          1-shot         5-shot         10-shot
  GAP      (:gap)         41.02 ± 0.17   56.63 ± 0.16   61.65 ± 0.15
  DC                      42.04 ± 0.17   57.05 ± 0.16   61.91 ± 0.16
  DC + IMP (implants)     -              57.63 ± 0.23   62.91 ± 0.22
  PN / TADAM (reported)   37.80 / 40.10  53.30 / 56.10  58.70 / 61.60
miniImageNet, Table 4, the same:
  GAP      (:gap)         58.61 ± 0.18   76.40 ± 0.13   80.76 ± 0.11
  DC                      62.53 ± 0.19   78.95 ± 0.13   82.66 ± 0.11
  DC + WIDE (:wide)       61.73 ± 0.19   78.25 ± 0.14   82.03 ± 0.12
  DC + IMP (implants)     -              79.77 ± 0.19   83.83 ± 0.16
Table 1 (queries by GMP where DC trained, else GAP): C128F GAP (:gap,c128f) 54.28 / 71.60 / 76.92, C128F DC (:c128f)
49.84 / 69.64 / 74.61, ResNet-12 DC 61.26 / 79.01 / 83.04.
Table 2, 5-shot, support/query GMP/GMP, GMP/DC, GAP/GAP, GAP/DC:
  GAP-trained  base 63.55 77.17 79.37 77.15   novel 72.25 70.71 76.40 73.28   both 37.74 38.65 56.25 54.80
  DC-trained   base 79.28 80.67 80.61 80.70   novel 79.01 77.93 78.55 78.95   both 42.45 57.98 67.53 67.78
The paper has no figures for cifarfs and tiny.

fc100 and cifarfs: 12,500 iterations of 512, Adam, scale from 100 [paper]; rate 1e-3, x0.1 at 50, 75 and 90 %, L2 5e-4,
4-pixel padded crops, flips [ours]. mini and tiny: 8,000 iterations of 200, SGD with Nesterov momentum, scale from 10
[paper]; rate 0.1, x0.1 at 50, 75 and 90 %, momentum 0.9, L2 5e-4, 8-pixel padded crops (tiny: 6), flips [ours].
The full recipes were not run here; reduced ones of fc100 and tiny were: see docs/results.md and
benchmarks/studies/few_shot.py. There is no copy of miniImageNet here: its layouts are tested on small trees.
"""

from ml_collections import ConfigDict

from fsjax.configs.common import base
from fsjax.configs.common_few_shot import DATASETS, IMAGE_SIZES, choose_dataset, few_shot, smoke

__all__ = ["DATASETS", "VARIANTS", "get_config"]

VARIANTS = ("gap", "gmp", "flatten", "linear", "imprinted", "wide", "c128f", "smoke")


def get_config(arg: str = "") -> ConfigDict:
    """The config; `:smoke` takes a few steps on noise.

    Args:
      arg: the data set; then none: dense classification. "gap", "gmp", "flatten": a cosine classifier of the pooled or
        flattened maps, Eq. 6 to 8; "linear": softmax over a linear classifier of averaged maps; "imprinted": imprinted
        weights; "wide": the last block widened by the 16 channels that implants have; "c128f": Gidaris & Komodakis'
        small network.
    """
    dataset, parts = choose_dataset("dc", arg, VARIANTS)
    if len({"gap", "gmp", "flatten", "linear", "imprinted"} & set(parts)) > 1 or {"wide", "c128f"} <= set(parts):
        raise ValueError(f"the variants {arg!r} exclude each other")
    config = base()
    config.name = "_".join([f"dc_{dataset}", *(part for part in parts if part != "smoke")])
    few_shot(config, dataset)
    config.method.name = "dense"
    config.loss.name = "cosine"
    if {"gap", "gmp", "flatten", "linear", "imprinted"} & set(parts):
        config.method.name = "imprinted" if "imprinted" in parts else "classification"
        config.loss.name = "softmax" if "linear" in parts else "cosine"
    pool = next((part for part in parts if part in ("gap", "gmp", "flatten")), "gap")
    config.model.resnet12.pool = config.model.c128f.pool = pool
    if "wide" in parts:
        config.model.resnet12.widths = (64, 128, 256, 528)
    if "c128f" in parts:
        config.model.name = "c128f"
        config.model.c128f.last_relu = "linear" in parts  # none with Gidaris & Komodakis' cosine classifier
    if "smoke" in parts:
        smoke(config, IMAGE_SIZES[dataset])
    return config
