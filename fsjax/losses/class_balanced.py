"""Class-balanced loss: weights by the effective number of examples of a class (Cui et al. 2019)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from fsjax.errors import UserError
from fsjax.losses.base import LossOutput, matmul, one_hot
from fsjax.losses.focal import focal_loss, sigmoid_focal_loss
from fsjax.losses.softmax import LinearLoss, softmax_cross_entropy
from fsjax.options.losses import ClassBalancedOptions


def effective_number(class_counts: Sequence[int], beta: float) -> np.ndarray:
    """Effective number of examples of each class, `(1 - beta^n) / (1 - beta)` (their Eq. 2), float64."""
    counts = np.asarray(class_counts, np.float64)
    if beta == 0:
        return np.ones_like(counts)
    # 1 - beta^n by expm1: for beta near 1 and small n the difference would cancel.
    return -np.expm1(counts * math.log(beta)) / (1 - beta)


def class_weights(class_counts: Sequence[int], beta: float) -> np.ndarray:
    """Weights inverse to the effective numbers, scaled to sum to the number of classes, float64."""
    weights = 1 / effective_number(class_counts, beta)
    return weights * len(weights) / weights.sum()


class ClassBalancedLoss(ClassBalancedOptions, LinearLoss):
    """A loss over a linear classifier, each example weighted by its class's weight.

    The base "focal_sigmoid" is what the paper reports: one sigmoid per class, summed over classes. It starts with the
    bias `-ln(classes - 1)`, so that every sigmoid starts at 1/classes, as in the paper. Normalised by "count", a
    batch's loss is the sum of weighted losses over the number of examples, as in the authors' code; by "weight" it is
    over the sum of their weights, as PyTorch's weighted cross-entropy has it.

    Attributes:
      class_counts: training examples of each class, all at least 1.
    """

    class_counts: tuple[int, ...] = ()

    NEEDS: ClassVar[tuple[str, ...]] = ("class_counts",)

    def check_facts(self) -> None:
        """Raises UserError for counts that do not fit."""
        if len(self.class_counts) != self.num_classes:
            raise UserError(f"class_counts has {len(self.class_counts)} entries for {self.num_classes} classes")
        empty = [index for index, count in enumerate(self.class_counts) if count < 1]
        if empty:
            raise UserError(
                f"class_counts is below 1 for the classes {empty}: a class without training examples has no "
                "class-balanced weight; leave it out or choose another loss"
            )

    def bias_initializer(self) -> nn.initializers.Initializer:
        """Makes every sigmoid start at 1/classes where the base is `"focal_sigmoid"`."""
        if self.base == "focal_sigmoid":
            return nn.initializers.constant(-math.log(max(self.num_classes - 1, 1)))
        return nn.initializers.zeros

    def __call__(self, features: jax.Array, labels: jax.Array, *, step: jax.Array) -> LossOutput:
        """Returns the loss of `features` `[batch, dim]` and `labels` `[batch]`."""
        logits = self.logits(features)
        if self.base == "softmax":
            losses = softmax_cross_entropy(logits, labels)
        elif self.base == "focal":
            losses = focal_loss(logits, labels, gamma=self.gamma)
        else:
            losses = sigmoid_focal_loss(logits, labels, gamma=self.gamma)
        table = jnp.asarray(class_weights(self.class_counts, self.beta), logits.dtype)
        weights = matmul(one_hot(labels, table), table)
        if self.normalize_by == "weight":
            weights /= jnp.mean(weights)
        return LossOutput(weights * losses, jnp.zeros(()), {})
