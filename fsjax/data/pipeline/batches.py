"""Batches for training and for evaluation, by tf.data; arrays are evaluated without it."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from fsjax.data.errors import DataError
from fsjax.data.examples import ArrayExamples, Examples, StreamExamples
from fsjax.data.info import DataInfo, scaling
from fsjax.data.pipeline import augment
from fsjax.data.pipeline.augment_config import AugmentConfig, check_images, parse_augmentation
from fsjax.data.pipeline.decisions import Decisions, check_shares, draw, draw_episodic
from fsjax.data.pipeline.episodes import EpisodeSpec, check_feasible, class_table
from fsjax.data.pipeline.from_arrays import from_arrays
from fsjax.data.tensorflow_runtime import import_tensorflow

Batch = dict[str, np.ndarray]


def train_batches(
    examples: Examples,
    *,
    batch_size: int,
    start_step: int,
    num_steps: int,
    seed: int,
    augmentation: Mapping[str, Any],
    info: DataInfo,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[Batch]:
    """The batches of steps `start_step`, ..., `start_step + num_steps - 1`.

    The batch of step i is a function of (seed, i) alone. Every epoch is a permutation of the whole split; a
    batch may begin in one epoch and end in the next.

    Args:
      examples: the training split.
      batch_size: of the global batch.
      start_step, num_steps: which steps.
      seed: the run's.
      augmentation: fields of `AugmentConfig`.
      info: of the data, for the normalisation.
      process_index, process_count: of each batch, rows `[index, index + 1) · b / count` are given.

    Returns:
      An iterator of dicts: `image` float32 `[rows, height, width, channels]`, `label` and `index` (position in
      the split) int32 `[rows]`. With mixup also `mixed_label` int32 `[rows]` and `mix` float32 `[rows]`: an
      image is `mix` of the labelled one and `1 - mix` of one with the mixed label, from the global batch.

    Raises:
      DataError: at once for arguments that cannot be; while iterating, for an image that cannot be read.
    """
    chosen = _augmentation_for(examples, augmentation, info)
    check_shares("batch_size", batch_size, process_index, process_count)

    def decide(step: int) -> dict[str, np.ndarray]:
        drawn = draw(
            int(step), seed=seed, size=len(examples), batch_size=batch_size, augment=chosen,
            process_index=process_index, process_count=process_count, image_shape=info.image_shape,
        )  # fmt: skip
        return _present(drawn) | {"label": examples.labels[drawn.index]}

    finish = _finish_training(chosen, info)
    drawn = len(decide(start_step)["index"])
    return _batches(examples, range(start_step, start_step + num_steps), decide, drawn, finish, info)


def episode_batches(
    examples: Examples,
    *,
    spec: EpisodeSpec,
    episodes_per_step: int,
    start_step: int,
    num_steps: int,
    seed: int,
    augmentation: Mapping[str, Any],
    info: DataInfo,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[Batch]:
    """The episodes of steps `start_step`, ..., `start_step + num_steps - 1`, as batches for training.

    Step i holds episodes `i · episodes_per_step` and on of `fsjax.data.draw_episodes`, a function of (seed, i).

    Args:
      examples: the training split.
      spec: of the episodes.
      episodes_per_step: of all processes together.
      start_step, num_steps: which steps.
      seed: the run's.
      augmentation: fields of `AugmentConfig`; mixup is refused.
      info: of the data, for the classes and the normalisation.
      process_index, process_count: of each step, episodes `[index, index + 1) · e / count` are given.

    Returns:
      An iterator of dicts, their `rows = episodes · spec.rows` in the order [episode, way, shot then query]:
      `image` float32 `[rows, height, width, channels]`, `label` (class in the split) and `index` (position in
      the split) int32 `[rows]`, `weight` float32 `[rows]`: 1, or 0 for the padding of ragged episodes, which
      repeats images of its episode.

    Raises:
      DataError: at once for arguments that cannot be, and for classes that cannot make such episodes; while
        iterating, for an image that cannot be read.
    """
    chosen = _augmentation_for(examples, augmentation, info)
    check_shares("episodes_per_step", episodes_per_step, process_index, process_count)
    if chosen.mixup:
        raise DataError(
            f"data.augment.mixup={chosen.mixup:g} would mix the classes of an episode: set it to 0 to train on episodes"
        )
    table = class_table(examples.labels, info.num_classes)
    check_feasible(table, spec, info.class_names, "the training split")

    def decide(step: int) -> dict[str, np.ndarray]:
        drawn = draw_episodic(
            int(step), seed=seed, table=table, spec=spec, episodes_per_step=episodes_per_step, augment=chosen,
            process_index=process_index, process_count=process_count, image_shape=info.image_shape,
        )  # fmt: skip
        return _present(drawn) | {"label": examples.labels[drawn.index]}

    rows = episodes_per_step // process_count * spec.rows
    steps = range(start_step, start_step + num_steps)
    return _batches(examples, steps, decide, rows, _finish_training(chosen, info), info)


def eval_batches(
    examples: Examples, *, batch_size: int, info: DataInfo, process_index: int = 0, process_count: int = 1
) -> Iterator[Batch]:
    """All examples of a split once, in order; all processes get the same number of batches.

    Arrays are gathered and normalised by NumPy, without TensorFlow; streams are read by tf.data.

    Args:
      examples: any split.
      batch_size: of the global batch.
      info: of the data, for the normalisation.
      process_index, process_count: of each batch, rows `[index, index + 1) · b / count` are given.

    Returns:
      An iterator of dicts: `image` float32 `[rows, height, width, channels]`, `label` and `index` int32
      `[rows]`, `weight` float32 `[rows]`: 1, or 0 for the rows that fill up the last batch, which have a black
      image, label 0 and index -1.

    Raises:
      DataError: at once for arguments that cannot be; while iterating, for an image that cannot be read.
    """
    check_shares("batch_size", batch_size, process_index, process_count)
    rows = batch_size // process_count

    def decide(step: int) -> dict[str, np.ndarray]:
        positions = step * batch_size + process_index * rows + np.arange(rows)
        real = positions < len(examples)
        index = np.where(real, positions, -1).astype(np.int32)
        labels = np.where(real, examples.labels[index], 0).astype(np.int32)
        return {"index": index, "label": labels, "weight": real.astype(np.float32)}

    steps = range(-(-len(examples) // batch_size))
    if isinstance(examples, ArrayExamples):
        return from_arrays(examples, steps, decide, info)

    def finish(images: Any, drawn: dict[str, Any]) -> dict[str, Any]:
        return {
            "image": augment.scale(images, *scaling(info)),
            **{name: drawn[name] for name in ("label", "index", "weight")},
        }

    return _batches(examples, steps, decide, rows, finish, info)


def _augmentation_for(examples: Examples, augmentation: Mapping[str, Any], info: DataInfo) -> AugmentConfig:
    """The checked augmentation of these examples."""
    chosen = parse_augmentation(augmentation)
    check_images(chosen, info.image_shape)
    if chosen.crop == "random_resized" and not isinstance(examples, StreamExamples):
        raise DataError('augment.crop="random_resized" needs examples that are read as a stream: data.memory="stream"')
    return chosen


def _present(drawn: Decisions) -> dict[str, np.ndarray]:
    """The draws that there are, by name."""
    return {name: value for name, value in vars(drawn).items() if value is not None}


def _finish_training(chosen: AugmentConfig, info: DataInfo) -> Callable[[Any, dict[str, Any]], dict[str, Any]]:
    """Augmentation, normalisation and mixing of drawn images, as TensorFlow operations."""
    shift, factor = scaling(info)

    def finish(images: Any, drawn: dict[str, Any]) -> dict[str, Any]:
        tf = import_tensorflow()
        if chosen.rotate:
            images = augment.rotate(images, drawn["turn"])
        images = augment.crop_and_flip(
            images, drawn["top"], drawn["left"], drawn["flip"], pad=chosen.pad, mirror=chosen.flip
        )
        if chosen.colors:
            images = augment.recolor(images, drawn["colors"])
        images = augment.scale(images, shift, factor)
        if chosen.cutout:
            images = augment.cut_out(images, drawn["hole_y"], drawn["hole_x"], side=chosen.cutout)
        first, second = drawn["first"], drawn["second"]
        batch = {"label": tf.gather(drawn["label"], first), "index": tf.gather(drawn["index"], first)}
        if "weight" in drawn:
            batch["weight"] = drawn["weight"]
        if not chosen.mixup:
            return {"image": images, **batch}
        return {
            "image": augment.mix(images, first, second, drawn["mix"]),
            **batch,
            "mixed_label": tf.gather(drawn["label"], second),
            "mix": tf.fill(tf.shape(first), drawn["mix"]),
        }

    return finish


def _batches(
    examples: Examples,
    steps: range,
    decide: Callable[[int], dict[str, np.ndarray]],
    drawn: int,
    finish: Callable[[Any, dict[str, Any]], dict[str, Any]],
    info: DataInfo,
) -> Iterator[Batch]:
    """The pipeline: decisions, the `drawn` images of each step, `finish`; in parallel and in order."""
    if not len(steps):  # a run continued after its last step asks for none
        return iter(())
    tf = import_tensorflow()
    errors: list[DataError] = []
    sample = decide(steps.start)
    names = list(sample)
    specs = [tf.TensorSpec(value.shape, value.dtype) for value in sample.values()]

    def with_decisions(step: Any) -> dict[str, Any]:
        def values(number: np.ndarray) -> list[np.ndarray]:
            decided = decide(int(number))
            return [decided[name] for name in names]

        tensors = tf.numpy_function(values, [step], [spec.dtype for spec in specs], stateful=False)
        for tensor, spec in zip(tensors, specs, strict=True):
            tensor.set_shape(spec.shape)
        return dict(zip(names, tensors, strict=True))

    stream: Any = examples  # `read` is only called where it is one

    def read(index: np.ndarray, crop: np.ndarray | None = None) -> np.ndarray:
        if index < 0:
            return np.zeros(info.image_shape, np.uint8)
        try:
            return np.ascontiguousarray(stream.image(int(index), crop))
        except DataError as error:
            errors.append(error)
            raise

    def shaped(images: Any, *batch: int) -> Any:
        images.set_shape((*batch, *info.image_shape))
        return images

    decided = tf.data.Dataset.range(steps.start, steps.stop).map(with_decisions, num_parallel_calls=tf.data.AUTOTUNE)
    if isinstance(examples, StreamExamples):
        drawn_one = [name for name in ("index", "crop") if name in names]
        images = decided.map(lambda d: tuple(d[name] for name in drawn_one)).unbatch()
        images = images.map(
            lambda *one: shaped(tf.numpy_function(read, one, tf.uint8)), num_parallel_calls=tf.data.AUTOTUNE
        )
        pairs = tf.data.Dataset.zip((images.batch(drawn, drop_remainder=True), decided))
    else:
        pairs = decided.map(
            lambda d: (shaped(tf.numpy_function(examples.gather, [d["index"]], tf.uint8, stateful=False), drawn), d),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
    batches = pairs.map(finish, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
    options = tf.data.Options()
    options.deterministic = True
    return _iterate(batches.with_options(options), errors, tf.errors.OpError)


def _iterate(batches: Any, errors: list[DataError], wrapper: type[Exception]) -> Iterator[Batch]:
    try:
        yield from batches.as_numpy_iterator()
    except wrapper:
        # TensorFlow wraps what Python raised in words of its own.
        if errors:
            raise errors[0] from None
        raise
