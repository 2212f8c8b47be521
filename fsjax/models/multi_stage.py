"""Several depths of one network as one embedding, each refined by self-attention (MSENet)."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsjax.errors import UserError
from fsjax.models.encoder import Encoded, Encoder
from fsjax.models.pooling import global_average_pool
from fsjax.options.methods import MsenetOptions

# Which maps of a network with a stem and residual stages are taken: see `MultiStage`.
_REDUCTION = 8


class SelfAttention(nn.Module):
    """x + gamma · softmax(Q Kᵀ) V over the positions of a map (the layer of SAGAN, Zhang et al. 2019).

    Q and K have an eighth of the channels, at least one; all three are linear with bias. There is no scale under the
    softmax. One position attends to itself alone: x + gamma · V. The memory is `[batch, n, n]` for n positions: 0.3 GB
    for 400 images of 84x84 behind ResNet-18's stem.

    Attributes:
      gamma: weight of what is attended to, at first.
      learn_gamma: whether it is trained.
    """

    gamma: float
    learn_gamma: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[batch, h, w, channels]` to the same shape, in float32; sows "attention", `[batch, n, n]`."""
        channels = x.shape[-1]
        flat = x.reshape(x.shape[0], -1, channels)
        flat = flat.astype(jnp.promote_types(flat.dtype, jnp.float32))
        widths = {"query": max(channels // _REDUCTION, 1), "key": max(channels // _REDUCTION, 1), "value": channels}
        query, key, value = (
            nn.Dense(width, dtype=flat.dtype, param_dtype=jnp.float32, name=name)(flat)
            for name, width in widths.items()
        )
        attention = jax.nn.softmax(jnp.einsum("bnc,bmc->bnm", query, key, precision="highest"), axis=-1)
        self.sow("intermediates", "attention", attention)
        gamma: float | jax.Array = self.gamma
        if self.learn_gamma:
            gamma = self.param("gamma", nn.initializers.constant(self.gamma), (), jnp.float32)
        return (flat + gamma * jnp.einsum("bnm,bmc->bnc", attention, value, precision="highest")).reshape(x.shape)


class MultiStage(nn.Module):
    """A network's maps at several depths, averaged over the positions, weighted, and concatenated.

    The embedding of an image is (relu(w_1) x_1, ..., relu(w_S) x_S). As a prototype is a mean, the distance between a
    query's part s and a prototype's is relu(w_s) times that without weights, so that the weighted sum of distances by
    which MSENet classifies is the plain sum over the parts of these embeddings. The attention layer of a depth is one
    for support images and queries, and is trained.

    Attributes:
      network: whose maps are taken.
      stages: "released": after the stem with its max-pooling, after the first convolution of every stage but the first
        (before its normalisation), and the last maps: the nodes that MSENet's code names in ResNet-18. "ends": the
        maps at the end of every stage.
      attention: whether there is `SelfAttention` at each depth.
      gamma, learn_gamma: its options.
    """

    network: Encoder
    stages: str = MsenetOptions.stages
    attention: bool = MsenetOptions.attention
    gamma: float = MsenetOptions.gamma
    learn_gamma: bool = MsenetOptions.learn_gamma

    @property
    def pool(self) -> str:
        """Of the maps at each depth."""
        return "gap"

    @property
    def goes_on(self) -> bool:
        """Whether the embedding is more than pooled maps."""
        return True

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> Encoded:
        """Images `[batch, h, w, c]` to embeddings `[batch, sum of widths]` float32, with the network's maps by stage.

        Raises:
          UserError: for a network without the maps that "released" names, or one that does not keep them (`remat`).
        """
        taken, maps = self._maps(images, train=train)
        weights = self.param("stage_weights", nn.initializers.ones_init(), (len(taken),), jnp.float32)
        parts = []
        for number, found in enumerate(taken, 1):
            if self.attention:
                found = SelfAttention(self.gamma, self.learn_gamma, name=f"attention{number}")(found)
            parts.append(jax.nn.relu(weights[number - 1]) * global_average_pool(found))
        return Encoded(embedding=jnp.concatenate(parts, axis=-1), maps=maps)

    def taken(self, images: jax.Array, *, train: bool) -> list[jax.Array]:
        """The maps that are taken, in order, `[batch, h, w, channels]` each; arguments and errors as for `__call__`."""
        return self._maps(images, train=train)[0]

    def _maps(self, images: jax.Array, *, train: bool) -> tuple[list[jax.Array], dict[str, jax.Array]]:
        """The maps that are taken, in order, and all maps at the end of a stage by name."""
        if self.stages == "released" and self.network.backbone.remat:
            raise UserError(
                "config.method.msenet.stages='released' takes maps from inside of blocks, and config.model.remat=True "
                "does not keep those: set remat to False, or stages to 'ends'"
            )
        seen: dict[tuple[str, ...], jax.Array] = {}
        with nn.intercept_methods(_recorder(seen)):
            maps = self.network(images, train=train).maps
        if self.stages == "ends":
            return list(maps.values()), maps
        inner = [f"stage{number}_block1" for number in range(2, len(maps) + 1)]
        wanted = [("stem",), *((block, "conv1", "conv") for block in inner)]
        for path in wanted:
            if path not in seen:
                raise UserError(
                    f"stages='released' takes the maps after {'/'.join(path)}, which this network lacks: take one of "
                    "torchvision's residual networks (resnet18), or set config.method.msenet.stages to 'ends'"
                )
        return [*(seen[path] for path in wanted), list(maps.values())[-1]], maps


def _recorder(seen: dict[tuple[str, ...], jax.Array]) -> Callable[..., Any]:
    """An interceptor that notes what the stem and the convolutions of a backbone give, by their path in it."""

    def record(call: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        output = call(*args, **kwargs)
        if context.method_name == "stem":
            seen[("stem",)] = output
        elif context.method_name == "__call__" and isinstance(context.module, nn.Conv):
            path = context.module.path
            seen[path[path.index("backbone") + 1 :]] = output
        return output

    return record
