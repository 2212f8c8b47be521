"""MSENet: prototypes at several depths of a network, whose distances are weighted and summed ("Enhancing Few-Shot
Classification through Learnable Multi-Scale Embedding and Attention Mechanisms"; docs/readings.md, "MSENet").

Logits are -Σ_s relu(w_s) ‖q_s - p_s‖, not squared, the w_s trained from 1. The released code makes the attention layers
anew, at random, in every pass; here they are trained, one at each depth.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from fsjax.errors import UserError
from fsjax.methods.base import DataFacts, Variables, build_encoder
from fsjax.methods.episodes import episode_shape
from fsjax.methods.prototypical import Prototypical
from fsjax.models.multi_stage import MultiStage
from fsjax.options import read
from fsjax.options.methods import MsenetOptions

_SPARED = ("stage_weights", "gamma")


@dataclasses.dataclass(frozen=True)
class MSENet(Prototypical):
    """Prototypical networks whose encoder is a `MultiStage`; the similarity is the sum of those of its parts."""

    pretrained: ClassVar[Mapping[str, tuple[str, ...]]] = {"network": ("network", "backbone")}

    def weight_decay_mask(self, params: Variables) -> Any:
        """No decay of the weights of the stages, nor of the attentions' gamma."""

        def decays(path: tuple, _: Any) -> bool:
            names = [entry.key for entry in path]
            return names[0] != "loss" and names[-1] not in _SPARED

        return jax.tree_util.tree_map_with_path(decays, params)


def build(config: ConfigDict, info: DataFacts, *, axis_name: str | None) -> MSENet:
    """The method that a config describes.

    Args:
      config: a run's config; `model`, `episodes` and `method.msenet` are read.
      info: the data's `DataInfo`.
      axis_name: the mapped axis that holds the devices, or None for one device without an axis.

    Raises:
      UserError: for an unknown model or option, a network with layers after its maps or without the maps that are
        taken, or episodes that cannot be.
    """
    chosen = read(MsenetOptions, config.method.msenet, "config.method.msenet")
    network, _ = build_encoder(config, info.image_shape, axis_name)
    if network.goes_on or network.pool != "gap":
        raise UserError(
            f"method 'msenet' averages the maps of config.model.name={config.model.name!r} itself: set the model's "
            "pool to 'gap' and dim to None"
        )
    encoder = MultiStage(network, **dataclasses.asdict(chosen))
    widths = _widths(encoder, info)
    return MSENet(encoder, episode_shape(config), "euclid", 1.0, False, sum(widths), widths=widths, axis_name=axis_name)


def _widths(encoder: MultiStage, info: DataFacts) -> tuple[int, ...]:
    """Channels of the maps that are taken, in order."""
    image = jax.ShapeDtypeStruct((1, *info.image_shape), jnp.float32)

    def maps(x: jax.Array) -> list[jax.Array]:
        variables = encoder.init(jax.random.key(0), x, train=False)
        return cast(list[jax.Array], encoder.apply(variables, x, train=False, method="taken"))

    return tuple(found.shape[-1] for found in jax.eval_shape(maps, image))
