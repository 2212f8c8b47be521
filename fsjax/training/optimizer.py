"""Optimizers: optax, with the weight decay of the papers (L2 added to the gradient) and masks for it."""

from typing import Any

import jax
import optax
from ml_collections import ConfigDict

from fsjax.methods.base import Variables
from fsjax.options import read
from fsjax.options.training import OptimizerOptions


def build_optimizer(
    config: ConfigDict, schedule: optax.Schedule, *, decay_mask: Any, slowed: Any = None, factor: float = 1.0
) -> optax.GradientTransformation:
    """The optimizer that `config.optimizer` describes.

    Args:
      config: see `fsjax.options.training.OptimizerOptions`; the decay is L2 added to the gradient for sgd and adam, as
        in the papers, and decoupled for adamw.
      schedule: step -> learning rate.
      decay_mask: tree of bools, False for the parameters that no weight decay may touch.
      slowed: tree of bools, True for parameters whose learning rate is multiplied by `factor`.
      factor: see `slowed`; 0 leaves them as they are, decay and all.

    Returns:
      An optax transformation.
    """

    config = read(OptimizerOptions, config, "config.optimizer")

    def mask(params: Variables) -> Any:
        if config.decay_on == "all":
            return decay_mask
        return jax.tree.map(lambda p, allowed: allowed and p.ndim > 1, params, decay_mask)

    decay = optax.add_decayed_weights(config.weight_decay, mask)
    if config.name == "sgd":
        momentum = optax.trace(config.momentum, config.nesterov) if config.momentum else optax.identity()
        parts = [decay, momentum]
    else:
        adam = optax.scale_by_adam(config.b1, config.b2, config.eps)
        parts = [decay, adam] if config.name == "adam" else [adam, decay]
    clip = [optax.clip_by_global_norm(config.clip_norm)] if config.clip_norm else []
    slower = [optax.masked(optax.scale(factor), slowed)] if factor != 1 else []
    return optax.chain(*clip, *parts, optax.scale_by_learning_rate(schedule), *slower)
