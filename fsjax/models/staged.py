"""What all backbones share: a stem, and stages that can be run a few at a time."""

from typing import TYPE_CHECKING

import flax.linen as nn
import jax

if TYPE_CHECKING:
    # By this name alone linen tells type checkers that a field is keyword-only; it has no code behind it.
    from flax.linen.module import module_field as field
else:
    from dataclasses import field


class Staged(nn.Module):
    """A backbone: images to feature maps by stage.

    A subclass has `num_stages`, `stage`, and a `stem` if anything comes before the first stage. Submodules are named
    there, so that the parameters are the same whether the stages run at once or in parts.

    Attributes:
      remat: whether the gradient computes what is inside of a block a second time, instead of keeping it (Chen et
        al. 2016, "Training deep nets with sublinear memory cost"): less memory, about a third more work. Parameters and
        results are the same.
    """

    remat: bool = field(default=False, kw_only=True)

    @property
    def num_stages(self) -> int:
        """How many stages there are."""
        raise NotImplementedError

    def stem(self, images: jax.Array, *, train: bool) -> jax.Array:
        """What comes before the first stage: `[batch, h, w, c]` images to maps."""
        return images

    def stage(self, number: int, x: jax.Array, *, train: bool) -> jax.Array:
        """Stage `number`, from 1: maps to maps, `[batch, h, w, c]`."""
        raise NotImplementedError

    def block(self, module: nn.Module, x: jax.Array, *, train: bool) -> jax.Array:
        """`module(x, train=train)`, of which only `x` is kept for the gradient where `remat` is set."""

        def call(module: nn.Module, x: jax.Array) -> jax.Array:
            return module(x, train=train)

        # Of a function of the module, not of its class: that would change the names of the parameters.
        return nn.remat(call)(module, x) if self.remat else call(module, x)

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, stages: tuple[int, int] | None = None) -> dict[str, jax.Array]:
        """The maps after each stage.

        Args:
          x: images `[batch, h, w, c]`; where `stages` does not begin with 1, the maps that the stage before gave, or
            others in their place.
          train: see `fsjax.models.encoder.Encoder`.
          stages: the first and the last stage to run; None for all.

        Returns:
          Maps `[batch, h, w, channels]` by name, "stage1", "stage2", ..., in order, in the compute dtype.
        """
        first, last = stages or (1, self.num_stages)
        if first == 1:
            x = self.stem(x, train=train)
        maps = {}
        for number in range(first, last + 1):
            x = maps[f"stage{number}"] = self.stage(number, x, train=train)
        return maps
