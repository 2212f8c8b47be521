"""Attention-based fusion of Global and Local features (AFLM, Tang et al.), and the rows that it is compared with.

    python train.py --config=configs/aflm.py:fc100,reconstructed --workdir=runs/aflm_fc100
    python train.py --config=configs/aflm.py:fc100,no_attention,reconstructed,1shot --workdir=runs/no_gates_fc100
    python train.py --config=configs/aflm.py:fc100,global,reconstructed --workdir=runs/global_fc100
    python train.py --config=configs/aflm.py:fc100,meta_baseline,reconstructed \\
        --config.start_from=runs/global_fc100 --workdir=runs/metabaseline_fc100
    python train.py --config=configs/aflm.py:mini,reconstructed --workdir=runs/aflm_mini \\
        --config.data.path=~/mini_imagenet

Data sets, named first: fc100, cifarfs, mini, tiny. "aflm_fc100:global" is "aflm:fc100,global".

Table 1, miniImageNet, 5-way accuracy in %, 8,000 tasks:      novel classes only        base and novel classes
                                                          1-shot       5-shot       1-shot       5-shot
  Global        (:global)                              58.80 ± .22  77.87 ± .17  61.03 ± .24  80.36 ± .18
  Local         (:local)                               55.48 ± .23  73.62 ± .18  66.39 ± .28  81.93 ± .19
  Meta-Baseline (:meta_baseline)                       61.95 ± .23  78.50 ± .17  69.96 ± .27  83.62 ± .17
  w/o attention (:no_attention)                        60.94 ± .23  79.14 ± .17  70.09 ± .26  83.99 ± .17
  ours                                                 61.52 ± .23  79.20 ± .17  70.98 ± .27  84.10 ± .17
The paper has no figures for the other data sets.

Two ResNet-12, leaky ReLU; 20,000 steps of 4 episodes, SGD with momentum 0.9 at 0.1, x0.1 at 60 and 90 %, L2 5e-4
[paper]. 5 ways, as many shots as in the test (`1shot`: 1, else 5), 15 queries, scales of the cosines learned from 10
(the paper names none), means instead of Eq. 5's and 8's sums [ours]. Global: as many images per step;
Meta-Baseline: 4,000 steps at 1e-3 from a Global run.
`reconstructed`: 300 images of each base class train, 300 are for tasks of base and novel classes together (tiny: 275).
fc100 and cifarfs: 32x32, 4-pixel padded crops; mini 84x84 and tiny 64x64, random resized crops; flips [ours]. For the
paper's size on tiny add --config.data.image_size=84.
The full recipes were not run here; reduced ones of cifarfs and tiny were: see docs/results.md and
benchmarks/studies/aflm.py. There is no copy of miniImageNet here: its layouts are tested on small trees.
"""

from ml_collections import ConfigDict

from fsjax.configs.common import base
from fsjax.configs.common_few_shot import DATASETS, IMAGE_SIZES, choose_dataset, episodic, few_shot, smoke

__all__ = ["DATASETS", "ROWS", "get_config"]

# Rows of Table 1; none of them is the paper's own model.
ROWS = ("global", "local", "meta_baseline", "no_attention")
VARIANTS = (*ROWS, "1shot", "reconstructed", "smoke")
# 100 epochs of 200 steps of 4 episodes [paper]; 5 ways, 15 queries, and as many shots as in the test [ours].
STEPS, WAY, QUERY, PER_STEP = 20_000, 5, 15, 4


def get_config(arg: str = "") -> ConfigDict:
    """The config of a row of Table 1.

    Args:
      arg: the data set; then the row, of `ROWS`: "global", a classifier; "local", episodes with the cosine, from
        scratch; "meta_baseline", episodes from the encoder of a "global" run, `--config.start_from`; "no_attention",
        both branches without gates; none: with gates. "1shot": episodes of 1 shot instead of 5. "reconstructed":
        half of the images of each base class are kept for tasks of base and novel classes together, and such tasks of
        other base classes and the validation classes select the checkpoint. "smoke": a few steps on noise.
    """
    dataset, parts = choose_dataset("aflm", arg, VARIANTS)
    if len(set(ROWS) & set(parts)) > 1:
        raise ValueError(f"the variants {arg!r} exclude each other: they are rows of one table")
    row = next((part for part in parts if part in ROWS), "aflm")
    config = base()
    config.name = "_".join([f"aflm_{dataset}", *(part for part in parts if part != "smoke")])
    few_shot(config, dataset)
    config.model.resnet12.activation = "leaky"
    if dataset in ("mini", "tiny"):
        config.data.augment.update(crop="random_resized", pad=0)
        config.data.image_size = IMAGE_SIZES[dataset]
    shot = 1 if "1shot" in parts else 5
    config.optimizer.update(name="sgd", learning_rate=0.1, momentum=0.9, nesterov=False, weight_decay=5e-4)
    config.loss.name = "softmax"
    config.episodes.update(way=(WAY,), shot=(shot,), query=(QUERY,), per_step=PER_STEP)
    _row(config, row, images=PER_STEP * WAY * (shot + QUERY))
    config.few_shot.update(shots=(shot, 6 - shot), query=(15,), tasks=8_000, classes=("novel",))
    config.few_shot.validation.shot = (shot,)
    config.data.base_holdout = 0
    if "reconstructed" in parts:
        _reconstruct(config, dataset)
    if "smoke" in parts:
        _smoke(config, dataset, reconstructed="reconstructed" in parts)
    return config


def _row(config: ConfigDict, row: str, *, images: int) -> None:
    """Set the method of a row, and how long it trains, in place."""
    config.train.update(steps=STEPS, epochs=0.0, batch_size=images if row == "global" else 0)
    config.schedule.boundaries = (STEPS * 60 // 100, STEPS * 90 // 100)  # x0.1 at epochs 60 and 90
    if row == "local":
        config.method.name = "prototypical"
        config.method.prototypical.update(similarity="cosine", tau=10.0, learn_tau=True)
    elif row == "meta_baseline":
        config.method.name = "meta_baseline"
        episodic(config, steps=4_000)
        config.optimizer.learning_rate = 1e-3
        config.schedule.name = "constant"
    elif row != "global":
        config.method.name = "aflm"
        config.method.aflm.attention = row != "no_attention"


def _reconstruct(config: ConfigDict, dataset: str) -> None:
    """The real-world scenario in place: half of a class's images train, and the other half are for the tasks."""
    half = 275 if dataset == "tiny" else 300
    config.data.base_holdout = half
    config.few_shot.classes = ("reconstructed", "novel")
    config.few_shot.reconstructed.images = half
    config.few_shot.validation.classes = "reconstructed_validation"


def _smoke(config: ConfigDict, dataset: str, *, reconstructed: bool) -> None:
    """`smoke` of `common_few_shot`, with what AFLM's recipe has of its own."""
    smoke(config, IMAGE_SIZES[dataset])
    config.episodes.per_step = 2
    if config.data.augment.crop == "random_resized":
        config.data.image_size = IMAGE_SIZES[dataset]
    if reconstructed:
        config.few_shot.reconstructed.images = 6
    else:
        config.data.base_holdout = 0
