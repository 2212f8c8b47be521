"""Learning-rate schedules: a function of the step, with a linear warm-up in front."""

import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from fsjax.errors import UserError
from fsjax.options import read
from fsjax.options.training import ScheduleOptions


def build_schedule(config: ConfigDict, *, learning_rate: float, steps: int, steps_per_epoch: float) -> optax.Schedule:
    """The schedule that `config.schedule` describes.

    Args:
      config: see `fsjax.options.training.ScheduleOptions`.
      learning_rate: rate after the warm-up.
      steps: length of the run in steps.
      steps_per_epoch: training examples over the batch size.

    Returns:
      step -> learning rate.

    Raises:
      UserError: for boundaries less than a step apart, or a warm-up longer than the run.
    """
    config = read(ScheduleOptions, config, "config.schedule")
    scale = steps_per_epoch if config.unit == "epochs" else 1.0
    warmup = round(config.warmup * scale)
    boundaries = [round(b * scale) for b in config.boundaries]
    if sorted(set(boundaries)) != boundaries:
        raise UserError(f"config.schedule.boundaries={tuple(config.boundaries)} must rise, and be a step apart")
    if config.name in ("cosine", "linear") and warmup >= steps:
        raise UserError(f"config.schedule.warmup of {warmup} steps leaves nothing of a run of {steps} steps")

    if config.name == "constant":
        main = optax.constant_schedule(learning_rate)
    elif config.name == "step":
        main = optax.piecewise_constant_schedule(learning_rate, {b: config.factor for b in boundaries})
    elif config.name == "cosine":
        main = optax.cosine_decay_schedule(learning_rate, steps - warmup, alpha=config.final)
    else:
        main = optax.linear_schedule(learning_rate, learning_rate * config.final, steps - warmup)
    if not warmup:
        return main
    ramp = optax.linear_schedule(learning_rate / warmup, learning_rate, max(warmup - 1, 1))
    # Boundaries count from the start of the run, as the papers count them; decays start after the warm-up.
    offset = warmup if config.name in ("cosine", "linear") else 0
    return lambda step: jnp.where(step < warmup, ramp(step), main(step - offset))
