"""What every loss shares: its result, what it is built from, matrix products at full precision."""

from __future__ import annotations

from typing import ClassVar

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp

from fsjax.errors import UserError
from fsjax.options import check_fields


@flax.struct.dataclass
class LossOutput:
    """What a loss returns; the total loss is `mean(per_example) + regularizer`.

    Attributes:
      per_example: `[batch]`, not reduced; float32, or float64 for float64 features.
      regularizer: scalar, the terms that couple the examples of the batch; 0 where a loss has none.
      metrics: scalars for the log by name; may be empty.
    """

    per_example: jax.Array
    regularizer: jax.Array
    metrics: dict[str, jax.Array]


class LossModule(nn.Module):
    """Base of all losses: a classifier and its loss in one linen module.

    They are one module because the means of a Gaussian loss *are* the classifier. `__call__(features, labels,
    *, step)` gives the training loss, `logits(features)` the scores of the loss's own decision rule.

    Parameters trained by gradient are in the collection `"params"`; state that is updated by another rule is
    in `"loss_state"`, and changes only where that collection is mutable. The whole global batch is expected:
    no loss here knows of devices.

    Its options are fields, inherited from their declaration in `fsjax.options.losses`, and checked when it is built.

    A loss that needs more of the batch than features and labels names it in `READS`, and gets it by keyword:
    `__call__(features, labels, *, step, index)`. What there is to read:

    - "index": `[batch]` int32, the example's position in the training split.
    - "cluster_share": `[batch]` float32, the share of the training split that is in the example's appearance cluster
      (`config.data.clusters`).
    - "maps": `[batch, h, w, channels]`, the encoder's last feature maps, with gradient.
    - "teacher_logits", "teacher_features": `[batch, num_classes]` and `[batch, teacher_dim]` of another run's network
      (`config.teacher.run`) on the same images, without gradient.
    - "teacher_means": `[num_classes, teacher_dim]`, the means of the teacher's features over the training split.

    Attributes:
      num_classes: number of classes K; labels are `0 .. K-1` (a label outside is not detected here).
      dim: width D of the features.
      NO_DECAY: names of the module's own parameters that weight decay must not touch.
      PER_EXAMPLE: whether the loss of an example depends on no other example of the batch, and nothing else does.
      NEEDS: facts of the data set that must be given as fields: of "class_counts" and "num_examples" (of the training
        split).
      READS: see above.
    """

    num_classes: int
    dim: int

    NO_DECAY: ClassVar[tuple[str, ...]] = ()
    PER_EXAMPLE: ClassVar[bool] = False
    NEEDS: ClassVar[tuple[str, ...]] = ()
    READS: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for name in ("num_classes", "dim"):
            if not getattr(self, name) >= 1:
                raise UserError(f"{name}={getattr(self, name)!r} must be at least 1")
        check_fields(self)
        self.check_facts()
        super().__post_init__()

    @property
    def asked_mixup(self) -> float:
        """alpha of the mixup, Beta(alpha, alpha), that the loss asks of who trains with it; 0 for none."""
        return 0.0

    def teacher_width(self, width: int) -> int:
        """Width of the teacher's features that the loss reads, beside the student's of this width."""
        return width

    def check_facts(self) -> None:
        """Raises UserError for facts of the data that the loss cannot use; called when it is built."""

    def draw_key(self, step: jax.Array) -> jax.Array:
        """A key of `jax.random` for the draws of a step: of the stream "loss", or without one of the step alone.

        Either way a function of what the run knows of itself, so that it can be repeated.
        """
        if self.has_rng("loss"):
            return self.make_rng("loss")
        return jax.random.fold_in(jax.random.key(0, impl="threefry2x32"), step)

    def prepare(self, features: jax.Array) -> jax.Array:
        """Returns the features in the dtype of the loss; raises ValueError unless they are `[batch, dim]`."""
        if features.ndim != 2 or features.shape[-1] != self.dim:
            raise UserError(
                f"{type(self).__name__} was built for features of shape [batch, {self.dim}], "
                f"got {tuple(features.shape)}"
            )
        return as_loss_dtype(features)


def as_loss_dtype(array: jax.Array) -> jax.Array:
    """Casts to float32, except float64, which stays: a loss is never computed in half precision."""
    array = jnp.asarray(array)
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    """Matrix product at the full precision of its operands.

    Accelerators round float32 operands to TF32 or bfloat16 by default. That leaves three digits, too few for
    distances, which are differences of such products.
    """
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def one_hot(labels: jax.Array, like: jax.Array) -> jax.Array:
    """Labels `[batch]` as rows of 0 and 1, as many as `like` has classes (its first axis), in its dtype.

    Class rows are gathered and summed by products with this matrix rather than by indexing: the gradient of
    indexing is a scatter-add, whose order of summation, and so the last bits, varies from run to run on GPUs.
    """
    return jax.nn.one_hot(labels, like.shape[0], dtype=like.dtype)
