"""The layers all networks share: convolution with batch normalisation, PReLU, and the weight initialisers."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

# He et al. 2015, Eq. 10 and 14: a normal of variance 2 / fan. Not `he_normal`, which truncates the normal.
HE_NORMAL = {
    "fan_in": nn.initializers.variance_scaling(2.0, "fan_in", "normal"),
    "fan_out": nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
    # Their Eq. 15, 2 / (1 + slope²) instead of 2, for a leaky ReLU of slope 0.1.
    "fan_out_leaky": nn.initializers.variance_scaling(2.0 / (1 + 0.1**2), "fan_out", "normal"),
}


class PReLU(nn.Module):
    """`max(0, x) + slope · min(0, x)` with one learned slope, 0.25 at first (He et al. 2015)."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns `x` with its negative part scaled; shape and dtype stay."""
        slope = self.param("slope", nn.initializers.constant(0.25), (), jnp.float32)
        return jnp.where(x >= 0, x, slope.astype(x.dtype) * x)


def batch_norm(
    *, train: bool, dtype: Any, axis_name: str | None, name: str, momentum: float = 0.9, epsilon: float = 1e-5
) -> nn.BatchNorm:
    """Batch normalisation, by default with PyTorch's momentum and epsilon; statistics in float32.

    Unlike PyTorch's, the running variance is the biased one: the batch's own, without n / (n - 1).

    Args:
      train: whether to normalise by the batch's statistics, and update the running ones, or by the latter.
      dtype: of the output; parameters and statistics stay float32.
      axis_name: the device axis over which the statistics of a training step are averaged (None: each
        device keeps its own).
      name: of the module.
      momentum: what the running statistics keep of themselves at each step; PyTorch calls the rest so.
      epsilon: added to the variance.
    """
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=momentum,
        epsilon=epsilon,
        dtype=dtype,
        param_dtype=jnp.float32,
        axis_name=axis_name,
        name=name,
    )


def convolution(features: int, *, kernel: int, stride: int, fan: str, dtype: Any, name: str) -> nn.Conv:
    """A convolution without bias, padded by `kernel // 2` on every side, as in PyTorch.

    XLA's "SAME" differs when a stride of 2 meets an even size: it pads the bottom and the right only.

    Args:
      features: output channels.
      kernel: odd side of the square kernel.
      stride: in both directions.
      fan: a key of `HE_NORMAL`, the initialisation.
      dtype: compute dtype; the kernel is float32.
      name: of the module.
    """
    return nn.Conv(
        features,
        (kernel, kernel),
        strides=stride,
        padding=kernel // 2,
        use_bias=False,
        kernel_init=HE_NORMAL[fan],
        dtype=dtype,
        param_dtype=jnp.float32,
        name=name,
    )


class ConvBN(nn.Module):
    """A `convolution`, batch normalisation, and an activation.

    Attributes:
      features: output channels.
      kernel: odd side of the square kernel.
      stride: in both directions.
      fan: a key of `HE_NORMAL`, the initialisation.
      activation: None leaves the normalised output as it is.
      dtype: compute dtype; parameters are float32.
      axis_name: see `batch_norm`.
    """

    features: int
    kernel: int = 3
    stride: int = 1
    fan: str = "fan_in"
    activation: Callable[[jax.Array], jax.Array] | None = nn.relu
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Maps `[batch, h, w, c]` to `[batch, ceil(h / stride), ceil(w / stride), features]`."""
        options = {"kernel": self.kernel, "stride": self.stride, "fan": self.fan, "dtype": self.dtype}
        x = convolution(self.features, name="conv", **options)(x)
        x = batch_norm(train=train, dtype=self.dtype, axis_name=self.axis_name, name="bn")(x)
        return x if self.activation is None else self.activation(x)
