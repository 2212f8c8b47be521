"""What a config describes, built: data, method, optimizer, devices, compiled steps."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fsjax import data
from fsjax.errors import UserError
from fsjax.evaluation.figures import MAX_CLASSES
from fsjax.evaluation.metrics import summarize
from fsjax.methods import build_method
from fsjax.training import state as states
from fsjax.training.optimizer import build_optimizer
from fsjax.training.parallel import AXIS, DataParallel
from fsjax.training.schedule import build_schedule
from fsjax.training.step import make_eval_step, make_train_step


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One run's parts.

    Attributes:
      config: the run's config.
      splits: its data.
      method: model, objective and prediction rule.
      optimizer: an optax transformation.
      schedule: step -> learning rate.
      steps: length of the run in optimizer steps.
      parallel: the devices.
      train_step: `(state, batches) -> (state, losses)`, compiled for all devices.
      eval_step: `(params, collections, batch) -> sums`, compiled for all devices.
    """

    config: Any
    splits: data.Splits
    method: Any
    optimizer: optax.GradientTransformation
    schedule: optax.Schedule
    steps: int
    parallel: DataParallel
    train_step: Callable[..., Any]
    eval_step: Callable[..., Any]

    def initial_state(self) -> states.TrainState:
        """The state at step 0, from the config's seed alone."""

        def create(rng: jax.Array) -> states.TrainState:
            images = jnp.zeros((2, *self.splits.info.image_shape), jnp.float32)
            variables = self.method.init(rng, images)
            opt_state = self.optimizer.init(variables["params"])
            return states.create(variables, opt_state, self._metric_names(variables))

        return jax.jit(create)(jax.random.key(self.config.seed))

    def train_batches(self, start_step: int, lengths: Iterator[int]) -> Iterator[dict[str, jax.Array]]:
        """Batches for `train_step`, `[steps, micro-batches, rows, ...]`, from `start_step` on.

        Args:
          start_step: the first optimizer step; the batches are those of a run that started at 0.
          lengths: how many optimizer steps each dispatch takes.
        """
        train, info = self.config.train, self.splits.info
        # The pipeline's unit is the micro-batch: its rows are what the devices divide.
        micro_batches = data.train_batches(
            self.splits.train,
            batch_size=train.batch_size // train.accumulate,
            start_step=start_step * train.accumulate,
            num_steps=(self.steps - start_step) * train.accumulate,
            seed=self.config.seed,
            augmentation=augmentation(self.config, self.method),
            info=info,
        )
        for length in lengths:
            parts = [next(micro_batches) for _ in range(length * train.accumulate)]
            shape = (length, train.accumulate)
            batch = {k: np.stack([p[k] for p in parts]) for k in parts[0] if k != "index"}
            batch = {k: v.reshape(*shape, *v.shape[1:]) for k, v in batch.items()}
            yield self.parallel.put(batch, batch_axis=2)

    def evaluate(self, state: states.TrainState, examples: Any) -> dict[str, float]:
        """Accuracy and the like of a replicated state on a split, every example counted once."""
        batches = data.eval_batches(
            examples,
            batch_size=self.config.eval.batch_size,
            info=self.splits.info,
        )
        total: dict[str, np.ndarray] = {}
        for batch in batches:
            batch = self.parallel.put({k: batch[k] for k in ("image", "label", "weight")}, batch_axis=0)
            sums = self.parallel.single(self.eval_step(state.params, state.collections, batch))
            for name, value in sums.items():
                # float64 and int64 here: float32 sums would lose counts past 2**24.
                value = np.asarray(value)
                wide = value.astype(np.float64 if value.dtype.kind == "f" else np.int64)
                total[name] = total.get(name, 0) + wide
        return summarize(total, class_counts=self.splits.info.class_counts)

    def _metric_names(self, variables: dict[str, Any]) -> tuple[str, ...]:
        """Names of the metrics that a step gives, found without computing one."""
        rows, shape = 2, self.splits.info.image_shape
        batch = {
            "image": jax.ShapeDtypeStruct((rows, *shape), jnp.float32),
            "label": jax.ShapeDtypeStruct((rows,), jnp.int32),
        }
        method = build_method(self.config, self.splits.info, axis_name=None)  # outside of the devices' axis
        collections = {k: v for k, v in variables.items() if k != "params"}
        _, (_, metrics) = jax.eval_shape(
            lambda p, c, b: method.objective(p, c, b, step=jnp.int32(0)),
            variables["params"], collections, batch,
        )  # fmt: skip
        return (*sorted(metrics), "grad_norm")


def augmentation(config: Any, method: Any) -> dict[str, Any]:
    """The augmentation of the training images: the config's, with the mixup that the loss asks for."""
    chosen = dict(config.data.augment)
    chosen["mixup"] = max(chosen.get("mixup", 0.0), method.mixup_alpha)
    return chosen


def build_experiment(config: Any, splits: data.Splits) -> Experiment:
    """Build what a (checked) config describes.

    Raises:
      UserError: naming what in the config cannot be built, and what can.
    """
    parallel = DataParallel(backend=config.parallel.backend, num_devices=config.parallel.num_devices)
    train, info = config.train, splits.info
    parallel.check_batch_size("train.batch_size / train.accumulate", train.batch_size // train.accumulate)
    parallel.check_batch_size("eval.batch_size", config.eval.batch_size)
    method = build_method(config, info, axis_name=AXIS)
    if config.figures.scatter and (method.dim != 2 or info.num_classes > MAX_CLASSES):
        raise UserError(
            f"config.figures.scatter draws features of 2 dimensions and up to {MAX_CLASSES} classes; here are "
            f"{method.dim} dimensions and {info.num_classes} classes: set it to False"
        )
    if train.batch_size > sum(info.class_counts):
        raise UserError(
            f"config.train.batch_size={train.batch_size} is more than the {sum(info.class_counts)} training images"
        )

    steps_per_epoch = sum(info.class_counts) / train.batch_size
    steps = train.steps or max(1, round(train.epochs * steps_per_epoch))
    schedule = build_schedule(
        config.schedule,
        learning_rate=config.optimizer.learning_rate,
        steps=steps,
        steps_per_epoch=steps_per_epoch,
    )
    shapes = jax.eval_shape(method.init, jax.random.key(0), jax.ShapeDtypeStruct((2, *info.image_shape), jnp.float32))
    optimizer = build_optimizer(config.optimizer, schedule, decay_mask=method.weight_decay_mask(shapes["params"]))
    return Experiment(
        config=config,
        splits=splits,
        method=method,
        optimizer=optimizer,
        schedule=schedule,
        steps=steps,
        parallel=parallel,
        train_step=parallel.lift(
            make_train_step(method, optimizer, axis_name=AXIS, unroll=parallel.platform == "cpu"),
            batch_axis=2,
            num_replicated=1,
            donate=True,
        ),
        eval_step=parallel.lift(make_eval_step(method, axis_name=AXIS), batch_axis=0, num_replicated=2),
    )
