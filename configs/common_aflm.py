"""AFLM and the rows that its paper compares it with (Tang et al., Table 1), on any data set of `common_few_shot`."""

from ml_collections import ConfigDict

from fsjax.configs.common import base, choose
from fsjax.configs.common_few_shot import IMAGE_SIZES, episodic, few_shot, smoke

# Rows of Table 1; none of them is the paper's own model.
ROWS = ("global", "local", "meta_baseline", "no_attention")
VARIANTS = (*ROWS, "1shot", "reconstructed", "smoke")
# 100 epochs of 200 steps of 4 episodes [paper]; 5 ways, 15 queries, and as many shots as in the test [ours].
STEPS, WAY, QUERY, PER_STEP = 20_000, 5, 15, 4


def aflm(name: str, dataset: str, arg: str) -> ConfigDict:
    """A row of Table 1.

    Args:
      name: of the experiment.
      dataset: of `configs.common_few_shot.DATASETS`.
      arg: the row, of `ROWS`: "global", a classifier; "local", episodes with the cosine, from scratch;
        "meta_baseline", episodes from the encoder of a "global" run, `--config.start_from`; "no_attention", both
        branches without gates; none: with gates. "1shot": episodes of 1 shot in the place of 5. "reconstructed": half
        of the images of each base class are kept for tasks of base and novel classes together, and such tasks of
        other base classes and the validation classes select the checkpoint. "smoke": a few steps on noise.
    """
    parts = choose(arg, VARIANTS)
    if len(set(ROWS) & set(parts)) > 1:
        raise ValueError(f"the variants {arg!r} exclude each other: they are rows of one table")
    row = next((part for part in parts if part in ROWS), "aflm")
    config = base()
    config.name = "_".join([name, *(part for part in parts if part != "smoke")])
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
