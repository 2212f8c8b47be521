"""What a config describes, built: data, method, optimizer, devices, compiled steps."""

import dataclasses
import functools
import importlib.util
from collections.abc import Callable, Generator, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from fsjax import data
from fsjax.errors import UserError
from fsjax.evaluation.analysis.plots import MAX_CLASSES
from fsjax.methods import build_method
from fsjax.methods.base import Method
from fsjax.training import state as states
from fsjax.training.feed import Feed, augmentation, build_feed, episode_spec, micro_batch_shapes
from fsjax.training.optimizer import build_optimizer
from fsjax.training.parallel import AXIS, DataParallel
from fsjax.training.pretrained import is_loaded
from fsjax.training.schedule import build_schedule
from fsjax.training.scoring import Scoring, build_scoring
from fsjax.training.step import make_train_step
from fsjax.training.teacher import find_teacher, taught, teacher_variables


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
      feed: where the training batches come from.
      train_step: `(state, batch) -> (state, losses)`, compiled for all devices; `batch` as the feed gives it.
      scoring: accuracy on validation and test data.
      teacher: the run that `config.teacher.run` names, or None.
    """

    config: ConfigDict
    splits: data.Splits
    method: Method
    optimizer: optax.GradientTransformation
    schedule: optax.Schedule
    steps: int
    parallel: DataParallel
    feed: Feed
    train_step: Callable[..., Any]
    scoring: Scoring
    teacher: Any

    def initial_state(self) -> states.TrainState:
        """The state at step 0, from the config's seed and, where there is one, the teacher's weights."""
        of_teacher = {}
        if self.teacher is not None:
            of_teacher = {"teacher": teacher_variables(self.method, self.teacher)}

        def create(rng: jax.Array, of_teacher: Any) -> states.TrainState:
            images = jnp.zeros((2, *self.splits.info.image_shape), jnp.float32)
            variables = self.method.init(rng, images) | of_teacher
            opt_state = self.optimizer.init(variables["params"])
            return states.create(variables, opt_state, self._metric_names(variables))

        # Optimised, the draws of ResNet-12's weights take 9 s to compile on a CPU, and 2 s so (jaxlib 0.10.2); they run
        # once.
        options = {"xla_backend_optimization_level": 1} if self.parallel.platform == "cpu" else None
        return jax.jit(create, compiler_options=options)(jax.random.key(self.config.seed), of_teacher)

    def train_batches(self, start_step: int, lengths: Iterator[int]) -> Generator[Any, None, None]:
        """Batches for `train_step`, from `start_step` on.

        Args:
          start_step: the first optimizer step; the batches are those of a run that started at 0.
          lengths: how many optimizer steps each dispatch takes.
        """
        return self.feed.batches(start_step, self.steps - start_step, lengths)

    def _metric_names(self, variables: dict[str, Any]) -> tuple[str, ...]:
        """Names of the metrics that a step gives, found without computing one."""
        batch = micro_batch_shapes(self.config, self.method, self.splits.info)
        method = build_method(self.config, self.splits.info, axis_name=None)  # outside of the devices' axis
        method = taught(method, self.teacher)
        collections = {k: v for k, v in variables.items() if k != "params"}
        _, (_, metrics) = jax.eval_shape(
            lambda p, c, b: method.objective(p, c, b, step=jnp.int32(0)),
            variables["params"], collections, batch,
        )  # fmt: skip
        return (*sorted(metrics), "grad_norm")


def images_per_step(config: ConfigDict, method: Method) -> int:
    """Training images of an optimizer step."""
    if method.episodes is None:
        return config.train.batch_size
    return method.episodes.rows * config.train.accumulate


def _check_batches(
    config: ConfigDict, method: Method, info: data.DataInfo, splits: data.Splits, parallel: DataParallel
) -> None:
    """Raise a `UserError` for batches that these data or devices cannot make."""
    train, episodes = config.train, method.episodes
    parallel.check_batch_size("eval.batch_size", config.eval.batch_size)
    if "cluster_share" in method.reads and splits.cluster_shares is None:
        raise UserError(
            f"config.loss.name={config.loss.name!r} weights images by how common their appearance is: name the file of "
            "their cluster numbers in config.data.clusters (`fsjax cluster RUN --out clusters.npz` makes one from a "
            'trained run), or set it to "class" to take the classes'
        )
    if episodes is not None:
        if train.batch_size:
            raise UserError(
                f"config.train.batch_size={train.batch_size}, but method {config.method.name!r} trains on episodes: "
                f"set it to 0 (a step of {episodes.per_step} episodes has {episodes.rows} images)"
            )
        mixup = augmentation(config, method)["mixup"]
        if mixup:
            raise UserError(f"config.data.augment.mixup={mixup:g} would mix the classes of an episode: set it to 0")
        if config.train.steps == 0:
            raise UserError("training on episodes has no epochs: set config.train.steps, and config.train.epochs to 0")
        parallel.check_batch_size("config.episodes: per_step x way x (shot + query)", episodes.rows)
        if config.data.backend != "device":  # there each draws all episodes, and takes its rows
            parallel.check_processes("config.episodes.per_step", episodes.per_step)
        table = data.class_table(splits.train.labels, info.num_classes)
        data.check_feasible(table, episode_spec(config), info.class_names, "the base classes")
        return
    if train.batch_size < 1:
        raise UserError(f"config.train.batch_size={train.batch_size} must be at least 1")
    mixup = augmentation(config, method)["mixup"]
    if mixup and {"index", "cluster_share"} & set(method.reads):
        raise UserError(
            f"config.data.augment.mixup={mixup:g} makes one image of two, and config.loss.name={config.loss.name!r} "
            "keeps a value for each: set it to 0"
        )
    parallel.check_batch_size("train.batch_size / train.accumulate", train.batch_size // train.accumulate)
    if train.batch_size > sum(info.class_counts):
        raise UserError(
            f"config.train.batch_size={train.batch_size} is more than the {sum(info.class_counts)} training images"
        )


def build_experiment(config: ConfigDict, splits: data.Splits) -> Experiment:
    """Build what a (checked) config describes.

    Raises:
      UserError: naming what in the config cannot be built, and what can.
    """
    parallel = DataParallel(
        backend=config.parallel.backend,
        num_devices=config.parallel.num_devices,
        shard_optimizer=config.parallel.shard_optimizer,
    )
    train, info = config.train, splits.info
    episode_spec(config)  # checked for its message: methods read the largest numbers only
    teacher = find_teacher(config, info)
    method = taught(build_method(config, info, axis_name=AXIS), teacher)
    _check_batches(config, method, info, splits, parallel)
    if config.figures.scatter and info.few_shot:
        raise UserError(
            "config.figures.scatter draws training and test images of the same classes, and the test of a class split "
            "has others: set it to False"
        )
    if config.figures.scatter and (method.dim != 2 or info.num_classes > MAX_CLASSES):
        raise UserError(
            f"config.figures.scatter draws features of 2 dimensions and up to {MAX_CLASSES} classes; here are "
            f"{method.dim} dimensions and {info.num_classes} classes: set it to False"
        )
    if config.figures.scatter and importlib.util.find_spec("matplotlib") is None:
        raise UserError(
            "config.figures.scatter draws with matplotlib, which is not installed: set it to False, or pip install "
            "matplotlib"
        )
    steps_per_epoch = sum(info.class_counts) / images_per_step(config, method)
    steps = train.steps or max(1, round(train.epochs * steps_per_epoch))
    schedule = build_schedule(
        config.schedule,
        learning_rate=config.optimizer.learning_rate,
        steps=steps,
        steps_per_epoch=steps_per_epoch,
    )
    shapes = jax.eval_shape(method.init, jax.random.key(0), jax.ShapeDtypeStruct((2, *info.image_shape), jnp.float32))
    optimizer = build_optimizer(
        config.optimizer, schedule, decay_mask=method.weight_decay_mask(shapes["params"]),
        slowed=is_loaded(config, method, shapes["params"]), factor=config.pretrained.rate,
    )  # fmt: skip
    feed = build_feed(config, splits, method, parallel)
    return Experiment(
        config=config,
        splits=splits,
        method=method,
        optimizer=optimizer,
        schedule=schedule,
        steps=steps,
        parallel=parallel,
        feed=feed,
        train_step=_train_step(method, optimizer, feed, parallel),
        scoring=build_scoring(config, splits, method, parallel),
        teacher=teacher,
    )


def _train_step(method: Method, optimizer: optax.GradientTransformation, feed: Feed, parallel: DataParallel) -> Any:
    """The train step, compiled for all devices."""
    common = {"axis_name": AXIS, "unroll": parallel.platform == "cpu", "feed": feed}
    if not parallel.shard_optimizer:
        step = make_train_step(method, optimizer, **common)
        return parallel.lift(step, batch_axis=feed.batch_axis, num_replicated=1, donate=True)
    # The update stands outside of the part that is written for one device, so that XLA divides it.
    axes = (None, None, None, feed.shared_axis, feed.item_axis)
    divided = functools.partial(parallel.over_devices, axes=axes)
    step = make_train_step(method, optimizer, **common, over_devices=divided, place=parallel.constrain)
    return jax.jit(step, donate_argnums=0)
