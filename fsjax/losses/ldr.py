"""Label-distributionally robust losses: LDR-KL, and ALDR-KL with a temperature for each example (Zhu et al. 2023).

"Label Distributionally Robust Losses for Multi-class Classification: Consistency, Robustness and Adaptivity", ICML
2023; constants as in its released code: docs/readings.md, "LDR".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import lax

from fsjax.errors import UserError
from fsjax.losses.base import LossOutput
from fsjax.losses.softmax import LinearLoss
from fsjax.options.losses import AldrOptions, LdrOptions

# Added to each probability before its logarithm is taken, as in the released code.
_PROBABILITY_EPSILON = 1e-5
# The least mean absolute logit that logits are divided by, so that those which are all zero have a gradient.
_MEAN_FLOOR = 1e-4
# From here down softplus(x) is exp(x) to the last digit, and its logarithm x.
_EXPONENTIAL_BELOW = -30.0


def _over_mean_softplus(logits: jax.Array) -> jax.Array:
    """`softplus(logits)` over its mean by example, from its logarithm: both vanish for logits far below zero."""
    low = logits < _EXPONENTIAL_BELOW
    log_softplus = jnp.where(low, logits, jnp.log(jax.nn.softplus(jnp.where(low, 0, logits))))
    return logits.shape[-1] * jax.nn.softmax(log_softplus, axis=-1)


def _over_mean_absolute(logits: jax.Array) -> jax.Array:
    return logits / jnp.maximum(jnp.mean(jnp.abs(logits), axis=-1, keepdims=True), _MEAN_FLOOR)


# What of the logits `[batch, classes]` the losses compare, by the name of their option `input`.
INPUTS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "softplus": _over_mean_softplus,
    "mean_abs": _over_mean_absolute,
    "logits": lambda logits: logits,
}


def ldr_kl(scores: jax.Array, labels: jax.Array, *, lam: float | jax.Array, c: float) -> jax.Array:
    """LDR-KL, `lam ln[(1/K) Σ_k exp((f_k - f_y + c 1[k≠y]) / lam)]`.

    With c = 0 and lam = 1 it is cross-entropy less ln K. For lam towards 0 it becomes the largest of the gaps
    `f_k - f_y + c 1[k≠y]` (Crammer and Singer's hinge), for lam towards infinity their mean.

    Args:
      scores: f, `[batch, classes]`.
      labels: y, `[batch]` integers.
      lam: temperature, positive: a number, or `[batch]`.
      c: the margin.

    Returns:
      `[batch]` losses, not reduced; negative ones are possible where lam is above 0.
    """
    chosen = jax.nn.one_hot(labels, scores.shape[-1], dtype=scores.dtype)
    gaps = scores - jnp.sum(scores * chosen, axis=-1, keepdims=True) + c * (1 - chosen)
    # Relative to the largest, which has no influence on the result and so no gradient, and by expm1 and log1p: a
    # logarithm of sums would lose all digits where lam is large.
    largest = lax.stop_gradient(jnp.max(gaps, axis=-1))
    lam = jnp.asarray(lam, scores.dtype)
    relative = jnp.expm1((gaps - largest[:, None]) / lam[..., None])
    return largest + lam * jnp.log1p(jnp.mean(relative, axis=-1))


def adapted_lambdas(scores: jax.Array, previous: jax.Array, *, lam: float, alpha: float) -> jax.Array:
    """The temperatures of examples by how certain the classifier is of them, whatever their label.

    `lam - lam KL(p‖u) / (alpha ln K)`, p being the softmax of scores over the previous temperature, u uniform: from
    `lam` where it is undecided down to nearly `lam (1 - 1/alpha)` where one class has it all.

    Args:
      scores: `[batch, classes]`, of at least two classes.
      previous: `[batch]` temperatures.
      lam: the largest temperature.
      alpha: the larger, the less it adapts; above 1.

    Returns:
      `[batch]` temperatures, without gradient.
    """
    scores = lax.stop_gradient(scores)
    num_classes = scores.shape[-1]
    p = jax.nn.softmax(scores / previous[:, None], axis=-1) + _PROBABILITY_EPSILON
    p /= jnp.sum(p, axis=-1, keepdims=True)
    divergence = jnp.sum(p * jnp.log(num_classes * p), axis=-1)
    return lam - lam * divergence / (alpha * math.log(num_classes))


def aldr_kl(
    scores: jax.Array, labels: jax.Array, lambdas: jax.Array, *, lam: float, alpha: float, c: float
) -> jax.Array:
    """ALDR-KL: `ldr_kl` at each example's temperature, less what a temperature away from `lam` costs.

    Args:
      scores: `[batch, classes]`.
      labels: `[batch]` integers.
      lambdas: `[batch]`, of `adapted_lambdas`.
      lam: the temperature that costs nothing.
      alpha: weight of the cost, `(alpha ln K / (2 lam)) (lambda - lam)^2`.
      c: the margin.

    Returns:
      `[batch]` losses, not reduced.
    """
    cost = alpha * math.log(scores.shape[-1]) / (2 * lam) * jnp.square(lambdas - lam)
    return ldr_kl(scores, labels, lam=lambdas, c=c) - cost


def stored(state: jax.Array, index: jax.Array, values: jax.Array) -> jax.Array:
    """The state `[num_examples]` with `values` `[batch]` at `index` `[batch]`.

    Of an example that is there twice the last value is kept. All writes to one place are made the same first: in which
    order an accelerator does them is not defined.
    """
    same = index[:, None] == index
    last = jnp.max(jnp.where(same, jnp.arange(index.shape[0]), 0), axis=-1)
    return jnp.asarray(state).at[index].set(values[last].astype(state.dtype))


class LdrLoss(LdrOptions, LinearLoss):
    """LDR-KL of a linear classifier. Its prediction is the classifier's, the argmax of the logits.

    What of the logits is compared is their `input`: "softplus", softplus(logits) over its mean by example, as in the
    released code; "mean_abs", logits over their mean absolute value; "logits" as they are, the paper's formula.
    """

    PER_EXAMPLE = True

    def __call__(self, features: jax.Array, labels: jax.Array, *, step: jax.Array) -> LossOutput:
        """Returns the loss of `features` `[batch, dim]` and `labels` `[batch]`."""
        scores = INPUTS[self.input](self.logits(features))
        return LossOutput(ldr_kl(scores, labels, lam=self.lam, c=self.c), jnp.zeros(()), {})


class AldrLoss(AldrOptions, LinearLoss):
    """ALDR-KL of a linear classifier: examples whose labels look uncertain get a higher temperature.

    One temperature for each training example is in `"loss_state"/"lambdas"`, `[num_examples]` float32, `lam` at the
    start. A batch's are computed from its scores and the stored ones, used in its loss, and stored where
    `"loss_state"` is mutable; the loss does not depend on whether they are. Where an example is in a batch twice, both
    start from the stored temperature, each has its own in the loss, and the last one's is stored.

    Attributes:
      num_examples: of the training split.
    """

    num_examples: int = 0

    NEEDS: ClassVar[tuple[str, ...]] = ("num_examples",)
    READS: ClassVar[tuple[str, ...]] = ("index",)

    def check_facts(self) -> None:
        """Raises UserError without examples, and for a single class."""
        if self.num_examples < 1:
            raise UserError(f"num_examples={self.num_examples} must be at least 1")
        if self.num_classes < 2:
            raise UserError("num_classes=1: ALDR-KL compares classes and needs 2 of them or more")

    def setup(self) -> None:
        """Makes the classifier and the temperatures."""
        super().setup()
        start = lambda: jnp.full((self.num_examples,), self.lam, jnp.float32)  # noqa: E731
        self.lambdas = self.variable("loss_state", "lambdas", start)

    def __call__(self, features: jax.Array, labels: jax.Array, *, step: jax.Array, index: jax.Array) -> LossOutput:
        """Returns the loss of `features` `[batch, dim]`, `labels` and `index` `[batch]`; stores the temperatures."""
        scores = INPUTS[self.input](self.logits(features))
        state = self.lambdas.value
        lambdas = adapted_lambdas(scores, state[index].astype(scores.dtype), lam=self.lam, alpha=self.alpha)
        if self.is_mutable_collection("loss_state") and not self.is_initializing():
            self.lambdas.value = stored(state, index, lambdas)
        losses = aldr_kl(scores, labels, lambdas, lam=self.lam, alpha=self.alpha, c=self.c)
        return LossOutput(losses, jnp.zeros(()), {"lambda": jnp.mean(lambdas)})
