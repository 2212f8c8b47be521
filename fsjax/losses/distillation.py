"""Knowledge distillation: losses that compare a network with a trained one, its teacher.

The teacher's scores and features of the same images come with the batch (`config.teacher.run`), without gradient.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsjax.errors import UserError
from fsjax.losses.arithmetic.similarity import unit
from fsjax.losses.base import LossOutput, as_loss_dtype, matmul, one_hot
from fsjax.losses.softmax import LinearLoss, softmax_cross_entropy
from fsjax.options.losses import DualHeadOptions, KdOptions, NdOptions

# Under the square root of a variance, as `flax.linen.BatchNorm` has it.
_VARIANCE_EPSILON = 1e-5


def softened_kl(logits: jax.Array, teacher_logits: jax.Array, *, temperature: float) -> jax.Array:
    """`T² · KL(softmax(teacher / T) ‖ softmax(student / T))` (Hinton et al. 2015); T² keeps the gradient's size.

    Args:
      logits: `[batch, classes]`, the student's.
      teacher_logits: `[batch, classes]`.
      temperature: T, positive.

    Returns:
      `[batch]`.
    """
    ours, theirs = (jax.nn.log_softmax(x / temperature) for x in (logits, teacher_logits))
    return temperature**2 * jnp.sum(jnp.exp(theirs) * (theirs - ours), axis=-1)


def direction_and_norm(
    features: jax.Array, teacher_features: jax.Array, teacher_means: jax.Array, labels: jax.Array
) -> jax.Array:
    """`1 - <f_s, e_y> / max(|f_s|, |f_t|)` (Wang et al. 2023): features along the teacher's class mean, and no shorter.

    Args:
      features: `[batch, dim]`, the student's, of the teacher's width.
      teacher_features: `[batch, dim]`.
      teacher_means: `[classes, dim]`, the means of the teacher's features by class; e_y is that of the label at
        length 1.
      labels: `[batch]` integers.

    Returns:
      `[batch]`, 0 where a feature points along the mean and is at least as long as the teacher's.
    """
    directions = matmul(one_hot(labels, teacher_means), unit(teacher_means))
    lengths = jnp.maximum(_length(features), _length(teacher_features))
    return 1 - jnp.sum(features * directions, axis=-1) / lengths


def binary_kl(logits: jax.Array, teacher_logits: jax.Array, *, temperature: float) -> jax.Array:
    """`T² · sum_k KL((1/2, 1/2) ‖ (p_k, 1 - p_k))` with `p_k = sigmoid((z_s - z_t)_k / T)` (dual-head distillation).

    Least, 0, where the student's logits are the teacher's: a loss of logits, where `softened_kl` is one of
    probabilities and leaves a constant free.

    Args:
      logits: `[batch, classes]`, the student's.
      teacher_logits: `[batch, classes]`.
      temperature: T, positive.

    Returns:
      `[batch]`.
    """
    gap = (logits - teacher_logits) / temperature
    # KL((1/2, 1/2) ‖ (p, 1 - p)) = -(ln p + ln(1 - p)) / 2 - ln 2, with the logarithms of the sigmoid taken safely.
    divergence = -0.5 * (jax.nn.log_sigmoid(gap) + jax.nn.log_sigmoid(-gap)) - jnp.log(2.0)
    return temperature**2 * jnp.sum(divergence, axis=-1)


def _length(vectors: jax.Array) -> jax.Array:
    """Lengths `[...]` of vectors `[..., dim]`, with a gradient at zero."""
    return jnp.sqrt(jnp.sum(jnp.square(vectors), axis=-1) + 1e-12)


class KdLoss(KdOptions, LinearLoss):
    """Cross-entropy plus `alpha` times the softened divergence from the teacher (Hinton et al. 2015)."""

    PER_EXAMPLE = True
    READS = ("teacher_logits",)

    def __call__(
        self, features: jax.Array, labels: jax.Array, *, step: jax.Array, teacher_logits: jax.Array
    ) -> LossOutput:
        """Returns the loss of `features` `[batch, dim]`; `teacher_logits` is `[batch, num_classes]`."""
        features = self.prepare(features)
        divergence = self.divergence(features, as_loss_dtype(teacher_logits))
        losses = softmax_cross_entropy(self.logits(features), labels) + self.alpha * divergence
        return LossOutput(losses, jnp.zeros(()), {"divergence": jnp.mean(divergence)})

    def divergence(self, features: jax.Array, teacher_logits: jax.Array) -> jax.Array:
        """How far the student is from the teacher's logits, `[batch]`."""
        return softened_kl(self.logits(features), teacher_logits, temperature=self.temperature)


class NdLoss(NdOptions, LinearLoss):
    """`KdLoss`, plus `beta` times `direction_and_norm` of the features (Wang et al. 2023, "Improving Knowledge
    Distillation via Regularizing Feature Norm and Direction").

    Where the teacher's features have another width, the student's go through batch normalisation, dropout and a linear
    layer first. That path is of training alone, so it takes the batch's own statistics and keeps none.
    """

    READS = ("teacher_logits", "teacher_features", "teacher_means")

    def teacher_width(self, width: int) -> int:
        """See `LossModule.teacher_width`."""
        return self.teacher_dim or width

    @property
    def _projects(self) -> bool:
        return self.teacher_dim not in (0, self.dim)

    def setup(self) -> None:
        """Makes the classifier, and the way to the teacher's width."""
        super().setup()
        if self._projects:
            self.norm_scale = self.param("norm_scale", nn.initializers.ones, (self.dim,))
            self.norm_bias = self.param("norm_bias", nn.initializers.zeros, (self.dim,))
            self.projection = self.param("projection", nn.initializers.lecun_normal(), (self.dim, self.teacher_dim))

    def __call__(
        self,
        features: jax.Array,
        labels: jax.Array,
        *,
        step: jax.Array,
        teacher_logits: jax.Array,
        teacher_features: jax.Array,
        teacher_means: jax.Array,
    ) -> LossOutput:
        """Returns the loss of `features` `[batch, dim]`; the teacher's arrays as `LossModule` has them."""
        features = self.prepare(features)
        logits = self.logits(features)
        divergence = softened_kl(logits, as_loss_dtype(teacher_logits), temperature=self.temperature)
        projected = self._projected(features, step)
        width = teacher_features.shape[-1]
        if projected.shape[-1] != width:
            raise UserError(
                f"config.loss.nd.teacher_dim={self.teacher_dim}, but the teacher's features are {width} wide and the "
                f"student's {self.dim}: set it to {width}"
            )
        apart = direction_and_norm(projected, as_loss_dtype(teacher_features), as_loss_dtype(teacher_means), labels)
        alpha = self.alpha * (jnp.minimum(step / self.warmup, 1) if self.warmup else 1)
        losses = softmax_cross_entropy(logits, labels) + alpha * divergence + self.beta * apart
        return LossOutput(losses, jnp.zeros(()), {"divergence": jnp.mean(divergence), "apart": jnp.mean(apart)})

    def _projected(self, features: jax.Array, step: jax.Array) -> jax.Array:
        """The features at the teacher's width."""
        if not self._projects:
            return features
        centred = features - jnp.mean(features, axis=0)
        normal = centred / jnp.sqrt(jnp.mean(jnp.square(centred), axis=0) + _VARIANCE_EPSILON)
        normal = normal * self.norm_scale + self.norm_bias
        kept = jax.random.bernoulli(self.draw_key(step), 1 - self.dropout, normal.shape)
        return matmul(jnp.where(kept, normal / (1 - self.dropout), 0), self.projection)


class DualHeadLoss(DualHeadOptions, KdLoss):
    """Cross-entropy on one head, and `alpha` times `binary_kl` on another, which nothing else reads (Yang et al. 2024,
    "Improving Knowledge Distillation with Dual-Head": the two losses' gradients conflict in one classifier).
    """

    def setup(self) -> None:
        """Makes the two heads."""
        super().setup()
        init = nn.initializers.lecun_normal()
        self.second_kernel = self.param("second_kernel", init, (self.dim, self.num_classes))
        self.second_bias = self.param("second_bias", nn.initializers.zeros, (self.num_classes,))

    def divergence(self, features: jax.Array, teacher_logits: jax.Array) -> jax.Array:
        """How far the second head is from the teacher's logits, `[batch]`."""
        second = matmul(features, self.second_kernel) + self.second_bias
        return binary_kl(second, teacher_logits, temperature=self.temperature)
