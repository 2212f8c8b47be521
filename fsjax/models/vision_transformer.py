"""Vision transformers that others trained: DINOv2, ViT, and the vision towers of CLIP and SigLIP, in one module.

They are of one kind (Dosovitskiy et al. 2021): patches as tokens, blocks that normalise before they attend and before
they mix channels, and a vector for the image. `VitShape` says in what they differ. There are no options of `config`
for them: they come with weights, see `fsjax.models.pretrained.transformers`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsjax.errors import UserError
from fsjax.models.encoder import Encoded
from fsjax.models.resample import bicubic

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "gelu": lambda x: nn.gelu(x, approximate=False),
    "gelu_pytorch_tanh": lambda x: nn.gelu(x, approximate=True),
    "gelu_new": lambda x: nn.gelu(x, approximate=True),
    "quick_gelu": lambda x: x * nn.sigmoid(1.702 * x),
    "relu": nn.relu,
    "silu": nn.silu,
}
# How the tokens become a vector: the class token, the mean of the patches, or attention to them by a learned query.
POOLS = ("class", "mean", "attention")


@dataclasses.dataclass(frozen=True, kw_only=True)
class VitShape:
    """What a vision transformer is made of.

    Attributes:
      grid: patches per side in training: so many positions are learned, and others interpolated from them.
      patch: side of a patch in pixels.
      width: of a token.
      depth: how many blocks there are.
      heads: of each attention.
      hidden: width inside of a block's multi-layer perceptron.
      epsilon: of layer normalisation.
      activation: a key of `ACTIVATIONS`.
      gated: whether the perceptron is SwiGLU (Shazeer 2020): silu(gate) * up.
      pool: one of `POOLS`.
      class_token: whether a token of its own stands before the patches; it has a position too.
      registers: tokens without a position behind it (Darcet et al. 2024).
      layer_scale: whether each branch is scaled by channel before it is added (Touvron et al. 2021).
      pre_norm: whether tokens are normalised before the first block, as CLIP's.
      post_norm: what the last normalisation sees: "tokens", all of them before the pooling, or "pooled", the vector.
      patch_bias, qkv_bias: whether these layers have one.
      projection: width of a last linear layer without bias, into the space that images share with texts; 0: none.
      antialias: whether positions are interpolated with antialiasing.
    """

    grid: int
    patch: int
    width: int
    depth: int
    heads: int
    hidden: int
    epsilon: float
    activation: str = "gelu"
    gated: bool = False
    pool: str = "class"
    class_token: bool = True
    registers: int = 0
    layer_scale: bool = False
    pre_norm: bool = False
    post_norm: str = "tokens"
    patch_bias: bool = True
    qkv_bias: bool = True
    projection: int = 0
    antialias: bool = False


class Attention(nn.Module):
    """Multi-head attention of some tokens to others (Vaswani et al. 2017).

    Attributes:
      heads: how many.
      qkv_bias: whether queries, keys and values have a bias.
    """

    heads: int
    qkv_bias: bool = True

    @nn.compact
    def __call__(self, queries: jax.Array, tokens: jax.Array) -> jax.Array:
        """Maps `[batch, n, width]`, which attend to `[batch, m, width]`, to `[batch, n, width]`."""
        width = tokens.shape[-1]

        def by_head(name: str, x: jax.Array) -> jax.Array:
            y = nn.Dense(width, use_bias=self.qkv_bias, name=name)(x)
            return y.reshape(*y.shape[:-1], self.heads, width // self.heads)

        mixed = jax.nn.dot_product_attention(
            by_head("query", queries), by_head("key", tokens), by_head("value", tokens)
        )
        return nn.Dense(width, name="out")(mixed.reshape(queries.shape))


class Perceptron(nn.Module):
    """Two layers, the first with an activation, or SwiGLU's three.

    Attributes:
      hidden: width of the first layer.
      activation: a key of `ACTIVATIONS`.
      gated: whether it is SwiGLU.
    """

    hidden: int
    activation: str
    gated: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[..., width]` to the same shape."""
        if self.gated:
            gate, up = nn.Dense(self.hidden, name="gate")(x), nn.Dense(self.hidden, name="up")(x)
            return nn.Dense(x.shape[-1], name="down")(nn.silu(gate) * up)
        y = ACTIVATIONS[self.activation](nn.Dense(self.hidden, name="fc1")(x))
        return nn.Dense(x.shape[-1], name="fc2")(y)


class Block(nn.Module):
    """Attention among the tokens, then a perceptron for each; each normalises first, and is added.

    Attributes:
      shape: of the network.
    """

    shape: VitShape

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[batch, tokens, width]` to the same shape."""
        shape = self.shape

        def scaled(name: str, y: jax.Array) -> jax.Array:
            return y * self.param(name, nn.initializers.ones, (shape.width,)) if shape.layer_scale else y

        y = nn.LayerNorm(shape.epsilon, name="norm1")(x)
        x = x + scaled("scale1", Attention(shape.heads, shape.qkv_bias, name="attention")(y, y))
        y = nn.LayerNorm(shape.epsilon, name="norm2")(x)
        return x + scaled("scale2", Perceptron(shape.hidden, shape.activation, shape.gated, name="mlp")(y))


class AttentionPool(nn.Module):
    """A learned query attends to the tokens, and a perceptron follows: SigLIP's (Zhai et al. 2023).

    Attributes:
      shape: of the network.
    """

    shape: VitShape

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Maps `[batch, tokens, width]` to `[batch, width]`."""
        shape = self.shape
        probe = self.param("probe", nn.initializers.normal(0.02), (1, 1, shape.width))
        probe = jnp.broadcast_to(probe, (tokens.shape[0], 1, shape.width))
        x = Attention(shape.heads, name="attention")(probe, tokens)
        y = nn.LayerNorm(shape.epsilon, name="norm")(x)
        return (x + Perceptron(shape.hidden, shape.activation, name="mlp")(y))[:, 0]


class VisionTransformer(nn.Module):
    """Images to embeddings, as `fsjax.models.Encoder`; it has no batch statistics.

    Attributes:
      shape: what it is made of.
    """

    shape: VitShape

    # As of an `Encoder`: the embedding is more than the pooled last maps.
    goes_on = True

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> Encoded:
        """Embeds a batch.

        Args:
          images: `[batch, height, width, channels]`, normalised floats; as with the original's convolution, rows and
            columns beyond the last whole patch are not seen.
          train: without effect.

        Returns:
          `[batch, width]`, or of the projection's width; and the last tokens of the patches as a map.

        Raises:
          UserError: for images smaller than a patch.
        """
        shape = self.shape
        if min(images.shape[1:3]) < shape.patch:
            raise UserError(
                f"images of {images.shape[1]}×{images.shape[2]} pixels are smaller than the network's patches of "
                f"{shape.patch}×{shape.patch}"
            )
        x, size = self._tokens(images)
        if shape.pre_norm:
            x = nn.LayerNorm(shape.epsilon, name="pre_norm")(x)
        for number in range(shape.depth):
            x = Block(shape, name=f"block{number + 1}")(x)
        norm = nn.LayerNorm(shape.epsilon, name="norm")
        if shape.post_norm == "tokens":
            x = norm(x)
        patches = x[:, shape.class_token + shape.registers :]
        embedding = self._pooled(x, patches)
        if shape.post_norm == "pooled":
            embedding = norm(embedding)
        if shape.projection:
            embedding = nn.Dense(shape.projection, use_bias=False, name="projection")(embedding)
        maps = patches.reshape(images.shape[0], *size, shape.width)
        return Encoded(embedding=embedding.astype(jnp.float32), maps={"stage1": maps})

    def _pooled(self, tokens: jax.Array, patches: jax.Array) -> jax.Array:
        """`[batch, tokens, width]` to `[batch, width]`."""
        if self.shape.pool == "attention":
            return AttentionPool(self.shape, name="pool")(tokens)
        return tokens[:, 0] if self.shape.pool == "class" else patches.mean(1)

    def _tokens(self, images: jax.Array) -> tuple[jax.Array, tuple[int, int]]:
        """Class token, registers and patches `[batch, tokens, width]`, with positions; and the patches' grid."""
        shape = self.shape
        x = nn.Conv(
            shape.width,
            (shape.patch, shape.patch),
            strides=shape.patch,
            padding="VALID",
            use_bias=shape.patch_bias,
            name="patch",
        )(images)
        batch, *size = x.shape[:-1]
        positions = self.param(
            "positions", nn.initializers.normal(0.02), (shape.class_token + shape.grid**2, shape.width)
        )
        own, of_patches = positions[: int(shape.class_token)], positions[int(shape.class_token) :]
        x = x.reshape(batch, size[0] * size[1], shape.width) + self._interpolated(of_patches, (size[0], size[1]))
        before = []
        if shape.class_token:
            before.append(self.param("class_token", nn.initializers.zeros, (1, shape.width)) + own)
        if shape.registers:
            before.append(self.param("registers", nn.initializers.zeros, (shape.registers, shape.width)))
        parts: list[Any] = [jnp.broadcast_to(part, (batch, *part.shape)) for part in before]
        return jnp.concatenate([*parts, x], axis=1), (size[0], size[1])

    def _interpolated(self, positions: jax.Array, size: tuple[int, int]) -> jax.Array:
        """`[grid * grid, width]` as `[height * width, width]`."""
        grid = self.shape.grid
        if size == (grid, grid):
            return positions
        rows, columns = (jnp.asarray(bicubic(grid, n, antialias=self.shape.antialias)) for n in size)
        square = positions.reshape(grid, grid, -1)
        found = jnp.einsum("ai,bj,ijc->abc", rows, columns, square, precision=jax.lax.Precision.HIGHEST)
        return found.reshape(-1, positions.shape[-1])
