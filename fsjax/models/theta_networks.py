"""AffNet and the networks that Table 1 of its paper compares it with: attention maps to boxes theta.

Hanselmann & Ney, "Fine-Grained Visual Classification with Efficient End-to-end Localization", Sec. 3.1. All begin with
the identity, as AffNet does. To add one, write a function that returns a `ThetaNetwork`, and add its line to
`THETA_NETWORKS`.
"""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsjax.models.affnet import AffNet, Preprocess, ThetaHead, ThetaMLP
from fsjax.models.pooling import flatten, global_average_pool
from fsjax.models.resnet import ResNet


class ResNetS(nn.Module):
    """The stem and the first stage of a ResNet-50, its maps flattened; 241,732 parameters for 14x14.

    Attributes:
      width: channels of the stem; 64 in the paper.
      blocks: bottleneck blocks; 3 in the paper.
      axis_name: see `fsjax.models.layers.batch_norm`.
    """

    width: int = 64
    blocks: int = 3
    axis_name: str | None = None

    @nn.compact
    def __call__(self, maps: jax.Array, *, train: bool) -> jax.Array:
        """Maps `[batch, h, w]`, each taken for all three channels, to theta `[batch, 4]`."""
        trunk = ResNet(self.width, (self.blocks,), "plain", axis_name=self.axis_name, name="trunk")
        stage = trunk(in_three_channels(maps), train=train)["stage1"]
        return ThetaHead(2, name="head")(flatten(stage))


class ResNet50Theta(nn.Module):
    """A whole ResNet-50 over the map enlarged to an image; 23,516,228 parameters.

    Attributes:
      size: side that maps are enlarged to, bilinearly; 224 in the paper. No parameter depends on it.
      width: channels of the stem; 64 in the paper.
      blocks: bottleneck blocks by stage.
      axis_name: see `fsjax.models.layers.batch_norm`.
    """

    size: int = 224
    width: int = 64
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    axis_name: str | None = None

    @nn.compact
    def __call__(self, maps: jax.Array, *, train: bool) -> jax.Array:
        """Maps `[batch, h, w]`, each taken for all three channels, to theta `[batch, 4]`."""
        large = jax.image.resize(maps, (maps.shape[0], self.size, self.size), "bilinear")
        trunk = ResNet(self.width, self.blocks, "plain", axis_name=self.axis_name, name="trunk")
        stages = trunk(in_three_channels(large), train=train)
        return ThetaHead(2, name="head")(global_average_pool(list(stages.values())[-1]))


def in_three_channels(maps: jax.Array) -> jax.Array:
    """`[batch, h, w]` to `[batch, h, w, 3]`, for networks of coloured images."""
    return jnp.repeat(maps[..., None], 3, axis=-1)


class ThetaNetwork(nn.Module):
    """A network over maps as they come, or pre-processed.

    Attributes:
      network: maps `[batch, h, w]` to theta `[batch, 4]`.
      preprocess: what comes before it; None for nothing.
    """

    network: nn.Module
    preprocess: Preprocess | None = None

    def __call__(self, maps: jax.Array, *, train: bool) -> jax.Array:
        """Maps `[batch, h, w]`, of any scale, to theta `[batch, 4]` float32.

        Args:
          maps: attention maps; computed in float32.
          train: whether batch normalisation uses this batch's statistics, see `fsjax.models.encoder.Encoder`.
        """
        maps = maps.astype(jnp.float32)
        if self.preprocess is not None:
            maps = self.preprocess(maps)
        return self.network(maps, train=train)


def affnet(*, prep: bool, hidden: int = 128) -> ThetaNetwork:
    """AffNet; `prep` puts the pre-processing module in front, as in all of these."""
    return _behind(prep, AffNet(hidden))


def ffnn(*, prep: bool, hidden: int = 32) -> ThetaNetwork:
    """The small feed-forward network over the whole map at once; 6,500 parameters for 14x14."""
    return _behind(prep, ThetaMLP(hidden, 2))


def resnet_s(*, prep: bool, width: int = 64, blocks: int = 3) -> ThetaNetwork:
    """The beginning of a ResNet-50, which is AttNet's trunk."""
    return _behind(prep, ResNetS(width, blocks))


def resnet50(*, prep: bool, size: int = 224, width: int = 64, blocks: Sequence[int] = (3, 4, 6, 3)) -> ThetaNetwork:
    """A whole ResNet-50 over maps enlarged to `size`."""
    return _behind(prep, ResNet50Theta(size, width, tuple(blocks)))


def _behind(prep: bool, network: nn.Module) -> ThetaNetwork:
    return ThetaNetwork(network, Preprocess() if prep else None)


THETA_NETWORKS: dict[str, Callable[..., ThetaNetwork]] = {
    "ffnn": ffnn,
    "resnet_s": resnet_s,
    "resnet50": resnet50,
    "affnet": affnet,
}
