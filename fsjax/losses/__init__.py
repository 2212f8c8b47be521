"""Losses: each a linen module of classifier and loss over pure, unreduced functions of arrays.

To add one: a file with a subclass of `LossModule` here, and its options and line in `fsjax.options.losses`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fsjax.errors import UserError, unknown
from fsjax.losses.base import LossModule, LossOutput
from fsjax.losses.mixup import mixed
from fsjax.options import section
from fsjax.options.losses import LOSSES

__all__ = ["LOSSES", "LossModule", "LossOutput", "build_loss", "loss_options", "mixed"]

_FACTS = {
    "class_counts": "the number of training examples of each class",
    "num_examples": "the number of training examples",
}


def loss_options(name: str) -> dict[str, Any]:
    """Options of a loss with their defaults; raises ValueError for an unknown name."""
    if name not in LOSSES:
        raise unknown("loss", name, LOSSES)
    return section(LOSSES[name].options).defaults()


def build_loss(
    name: str,
    *,
    num_classes: int,
    dim: int,
    class_counts: Sequence[int] | None = None,
    num_examples: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> LossModule:
    """Builds a loss by its name in `LOSSES`.

    Args:
      name: key of `LOSSES`.
      num_classes: number of classes.
      dim: width of the features.
      class_counts: training examples of each class.
      num_examples: training examples.
        These two are used by the losses that need them (`NEEDS`), and ignored by others.
      options: options of the loss by name, see `loss_options`; those left out have its defaults, which are those of
        `--config.loss.name`.

    Returns:
      The module; its parameters are made by `init(rng, features, labels, step=0)`.

    Raises:
      UserError: for an unknown name, option or value, with the valid ones, and where something the
        loss needs is missing.
    """
    known, options = loss_options(name), dict(options or {})
    for option in options:
        if option not in known:
            raise unknown(f"option of the loss {name!r}:", option, known)
    facts = {
        "class_counts": None if class_counts is None else tuple(int(count) for count in class_counts),
        "num_examples": num_examples,
    }
    loss = LOSSES[name].load()
    for fact in loss.NEEDS:
        if facts[fact] is None:
            raise UserError(f"the loss {name!r} needs {fact}, {_FACTS[fact]}")
        options[fact] = facts[fact]
    return loss(num_classes=num_classes, dim=dim, **options)
