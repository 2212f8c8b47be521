"""Two branches that gate each other's channels and are fused: the network of AFLM (Tang et al., Fig. 3)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsjax.errors import UserError
from fsjax.models.encoder import Encoder
from fsjax.models.layers import HE_NORMAL
from fsjax.models.pooling import global_average_pool
from fsjax.models.staged import Staged

# What the last stage of a branch reads, and how the final features are made.


class CrossAttention(nn.Module):
    """A gate for each channel of one flow, computed from the means of another flow's channels (Eq. 1 to 3).

    The paper's Eq. 3 multiplies the gates with the flow that they were computed from; the sentence before it, with the
    other one. The first would be squeeze-and-excitation, and no information would pass between the branches; the
    second is the default (docs/readings.md, "Gates").

    The gates are sown as "gate", float32 `[batch, c]`; they cost nothing unless asked for:

        _, sown = encoder.apply(variables, images, train=False, mutable=["intermediates"])
        sown["intermediates"]["backbone"]["gate_global3"]["gate"][0]

    Attributes:
      reduction: the bottleneck has c / reduction channels, at least one.
      slope: of the leaky ReLU in the bottleneck.
      gate_on: "source" gates the flow that is given, by the other; "target" gates it by itself, Eq. 3 as printed.
    """

    reduction: int
    slope: float
    gate_on: str

    @nn.compact
    def __call__(self, source: jax.Array, target: jax.Array) -> jax.Array:
        """The gated flow `[batch, h, w, c]`: `source` is the flow to gate, `target` the other, of the same shape."""
        channels = source.shape[-1]
        # In float32 throughout: there are few products, and a sigmoid's output has few bits to lose.
        common: dict[str, Any] = {"use_bias": False, "dtype": jnp.float32, "param_dtype": jnp.float32}
        x = global_average_pool(target if self.gate_on == "source" else source)
        x = nn.Dense(max(channels // self.reduction, 1), kernel_init=HE_NORMAL["fan_in"], name="reduce", **common)(x)
        x = nn.leaky_relu(x, negative_slope=self.slope)
        gate = nn.sigmoid(nn.Dense(channels, kernel_init=HE_NORMAL["fan_in"], name="expand", **common)(x))
        self.sow("intermediates", "gate", gate)
        # The product, too: the gradient by a gate is a sum over positions.
        flow = source.astype(jnp.promote_types(source.dtype, jnp.float32))
        return (gate[:, None, None] * flow).astype(source.dtype)


class FusedBranches(nn.Module):
    """A Global and a Local branch, gated by each other after the last two stages, and fused.

    With the stages of ResNet-12: block 4 of both branches reads both gated outputs of block 3, and what the network
    gives is the channels of both gated outputs of block 4, the Global ones first. Figure 3, which shows the wiring, is
    lost; this is our reading of the text: docs/readings.md, "Wiring".

    Attributes:
      global_branch, local_branch: two backbones alike, but two modules: their weights are not shared.
      fusion: what the last stage of a branch reads. "shared_concat": both gated flows; "own_concat": its own flow and
        its own gated flow; "none": its own gated flow.
      attention: whether there are gates; without them every gate is 1 (the paper's "w/o attention").
      gate_on, gate_slope, reduction: see `CrossAttention`.
    """

    global_branch: Staged
    local_branch: Staged
    fusion: str
    attention: bool
    gate_on: str
    gate_slope: float
    reduction: int

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> dict[str, jax.Array]:
        """Maps `[batch, h, w, c]` to the maps after each stage, both branches' channels side by side, Global first.

        Those of the last two stages are gated.
        """
        last = self.global_branch.num_stages
        before = self.global_branch(images, train=train, stages=(1, last - 1))
        local_before = self.local_branch(images, train=train, stages=(1, last - 1))
        maps = {name: _side_by_side(before[name], local_before[name]) for name in before}

        name = f"stage{last - 1}"
        flows = before[name], local_before[name]
        gated = self._gated(*flows, stage=last - 1)
        maps[name] = _side_by_side(*gated)
        if self.fusion == "shared_concat":
            inputs = maps[name], maps[name]
        elif self.fusion == "own_concat":
            inputs = _side_by_side(flows[0], gated[0]), _side_by_side(flows[1], gated[1])
        else:
            inputs = gated

        name = f"stage{last}"
        branches = self.global_branch, self.local_branch
        only = (last, last)
        ends = [branch(x, train=train, stages=only)[name] for branch, x in zip(branches, inputs, strict=True)]
        maps[name] = _side_by_side(*self._gated(*ends, stage=last))
        return maps

    def _gated(self, of_global: jax.Array, of_local: jax.Array, *, stage: int) -> tuple[jax.Array, jax.Array]:
        """Both flows, each gated by the other."""
        if not self.attention:
            return of_global, of_local
        gate: dict[str, Any] = {"reduction": self.reduction, "slope": self.gate_slope, "gate_on": self.gate_on}
        return (
            CrossAttention(**gate, name=f"gate_global{stage}")(of_global, of_local),
            CrossAttention(**gate, name=f"gate_local{stage}")(of_local, of_global),
        )


def _side_by_side(first: jax.Array, second: jax.Array) -> jax.Array:
    return jnp.concatenate([first, second], axis=-1)


def fuse_branches(
    encoder: Encoder, *, fusion: str, attention: bool, gate_on: str, gate_slope: float, reduction: int
) -> Encoder:
    """Two branches of an encoder's network, fused, with its pooling; see `FusedBranches` and `CrossAttention`.

    The embedding has both branches' channels: of ResNet-12 512 + 512 by "gap", 18,615,040 parameters without gates,
    81,920 more with them.

    Args:
      encoder: of `fsjax.models`; its backbone takes the place of either branch.
      fusion, attention, gate_on, gate_slope, reduction: see `fsjax.options.methods.AflmOptions`.

    Raises:
      UserError: for a network of fewer than two stages, or one with layers behind its maps.
    """
    backbone = encoder.backbone
    if encoder.goes_on:
        raise UserError(
            "method aflm fuses feature maps, but this network has layers of its own after them: set the model's dim to "
            "None, hidden to () and prelu to False"
        )
    if not isinstance(backbone, Staged) or backbone.num_stages < 2:
        raise UserError(f"method aflm gates the maps after the last two stages; {type(backbone).__name__} has not two")
    fused = FusedBranches(backbone, backbone.clone(), fusion, attention, gate_on, gate_slope, reduction)
    return Encoder(fused, encoder.pool, dtype=encoder.dtype, axis_name=encoder.axis_name)
