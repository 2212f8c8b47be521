"""What recipes share. A recipe starts from `base()`, every option at its default, and states what it chooses.

The options are declared by what uses them: `fsjax config configs/icu_digits.py` prints each with its value, its
meaning, what is valid, and where the value comes from.
"""

from ml_collections import ConfigDict

from fsjax.config import base

__all__ = ["base", "choose", "shrink"]


def choose(arg: str, variants: tuple[str, ...]) -> list[str]:
    """The parts of a config's argument, `:a,b`; raises a `ValueError` that lists the valid ones.

    Args:
      arg: what stands behind the colon, comma-separated.
      variants: what may stand there.
    """
    parts = [part for part in (arg or "").split(",") if part]
    for part in parts:
        if part not in variants:
            raise ValueError(f"no variant {part!r}; there are: {', '.join(variants)}")
    return parts


def shrink(
    config: ConfigDict,
    *,
    image_shape: tuple[int, int, int] | None = None,
    num_classes: int = 10,
    images_per_class: int = 4,
) -> None:
    """Make a config its `:smoke` variant in place: four steps, to see that it runs.

    Args:
      config: what to shrink.
      image_shape: if given, random images of this shape stand for the data, so that nothing is downloaded.
      num_classes: of the random images.
      images_per_class: how many of them are for training.
    """
    config.name += "_smoke"
    config.train.epochs = 0.0
    config.train.steps = 4
    config.train.batch_size = 8
    config.train.log_every = 2
    config.train.eval_every = 2
    config.train.checkpoint_every = 2
    config.eval.batch_size = 16
    if image_shape is None:
        return
    height, width, channels = image_shape
    config.data.name = "fake"
    config.data.test_split = "test"
    config.data.validation = 0.25 if config.data.validation else 0.0
    images = {"train": images_per_class * num_classes, "test": num_classes + 5}
    config.data.fake.update(height=height, width=width, channels=channels, num_classes=num_classes, **images)
