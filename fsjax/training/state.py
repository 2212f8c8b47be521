"""What a training run carries from step to step, all of it in arrays, so that a checkpoint is this and nothing else."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from fsjax.methods.base import Variables

# What was not finite at the first bad step, as bits of `Health.causes`.
CAUSES = {"images": 1, "features": 2, "loss": 4, "gradients": 8}
# Collections that no step changes.
CONSTANT = ("teacher",)


@flax.struct.dataclass
class Health:
    """The first step whose loss or gradient was not finite.

    Attributes:
      bad_step: int32, that step's index; -1 while there was none.
      causes: int32, bits of `CAUSES`.
      feature_max: float32, largest absolute feature at that step.
      grad_norm: float32, norm of the gradient at that step.
    """

    bad_step: jax.Array
    causes: jax.Array
    feature_max: jax.Array
    grad_norm: jax.Array


@flax.struct.dataclass
class Best:
    """The best validation result so far: accuracy (float32, -1 before the first) and its step (int32)."""

    accuracy: jax.Array
    step: jax.Array


class TrainState(flax.struct.PyTreeNode):
    """State of a run.

    Attributes:
      step: int32, optimizer steps taken.
      params: trained parameters, {"encoder": ..., "loss": ...}.
      collections: variables that are not trained by gradient: batch statistics, state of the loss; a teacher's.
      opt_state: the optimizer's.
      meters: float32 sums of the metrics since they were last logged, and "count", the steps summed. They
        are part of the state so that a resumed run logs what an uninterrupted one would have logged.
      health: the first step that was not finite.
      best: the best validation result.
    """

    step: jax.Array
    params: Variables
    collections: Variables
    opt_state: Any
    meters: dict[str, jax.Array]
    health: Health
    best: Best


def create(variables: dict[str, Any], opt_state: Any, metric_names: tuple[str, ...]) -> TrainState:
    """A state at step 0 from a method's variables."""
    return TrainState(
        step=jnp.int32(0),
        params=variables["params"],
        collections={k: v for k, v in variables.items() if k != "params"},
        opt_state=opt_state,
        meters={name: jnp.float32(0) for name in (*metric_names, "count")},
        health=Health(jnp.int32(-1), jnp.int32(0), jnp.float32(0), jnp.float32(0)),
        best=Best(jnp.float32(-1), jnp.int32(-1)),
    )


def reset_meters(state: TrainState) -> TrainState:
    """The state with its meters at zero, on the devices where they were."""
    return state.replace(meters=jax.tree.map(jnp.zeros_like, state.meters))
