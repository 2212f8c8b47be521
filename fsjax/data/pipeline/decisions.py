"""What a training step draws before it touches an image: examples, crops, flips, partners for mixing."""

import dataclasses
from typing import Any

import numpy as np

from fsjax.data import random
from fsjax.data.errors import DataError
from fsjax.data.pictures import CROP_WORDS
from fsjax.data.pipeline.augment_config import AugmentConfig
from fsjax.data.pipeline.colors import color_terms
from fsjax.data.pipeline.episodes import ClassTable, EpisodeSpec, draw_episodes

# NumPy's; jax's where `fsjax.device_data` draws the same inside of a compiled step.
Array = Any


@dataclasses.dataclass(frozen=True)
class Decisions:
    """The draws of one process for one step.

    The drawn images are augmented; row i of the batch is `mix` of `first[i]` and `1 - mix` of `second[i]`.

    Attributes:
      index: int32 `[drawn]`, of each drawn image in the training split.
      top, left: int32 `[drawn]`, offset of the crop in the padded image.
      flip: bool `[drawn]`.
      crop: uint32 `[drawn, CROP_WORDS]`, the draws of random resized crops; None without them.
      first, second: int32 `[rows]`, into the drawn images.
      mix: float32, one per step.
      weight: float32 `[rows]` of episodes, 0 for padding; None for single examples.
      turn: float32 `[drawn, 2]`, cosine and sine of counterclockwise turns; None without them.
      colors: float32 `[drawn, 6]`, maps of colours, as of `fsjax.data.pipeline.colors.color_terms`; None without them.
      hole_y, hole_x: int32 `[drawn]`, row and column of the centres of cutout's squares; None without them.
    """

    index: Array
    top: Array
    left: Array
    flip: Array
    crop: Array | None
    first: Array
    second: Array
    mix: Array
    weight: Array | None = None
    turn: Array | None = None
    colors: Array | None = None
    hole_y: Array | None = None
    hole_x: Array | None = None


def draw(
    step: int,
    *,
    seed: int,
    size: int,
    batch_size: int,
    augment: AugmentConfig,
    process_index: int,
    process_count: int,
    image_shape: tuple[int, ...] | None = None,
) -> Decisions:
    """The draws of a step, a function of (seed, step) alone; a process draws its rows of the global batch.

    Args:
      step: from 0.
      seed: the run's.
      size: number of training examples; every epoch visits each of them once.
      batch_size: of the global batch.
      augment: what is drawn; the rest stays at its neutral value.
      process_index, process_count: rows `[index · b / count, (index + 1) · b / count)` are drawn.
      image_shape: height and width, and whatever follows, of the images; of no use but for cutout.
    """
    per_process = batch_size // process_count
    rows = np.arange(process_index * per_process, (process_index + 1) * per_process)
    first = np.arange(per_process, dtype=np.int32)
    second, mix = first, np.float32(1)
    base = random.key(seed)
    if augment.mixup:
        mix = mixing_weight(random.fold(base, random.MIX, step), augment.mixup)
        partners = random.permutation(random.fold(base, random.PARTNER, step), batch_size)[rows]
        if process_count == 1:
            second = partners.astype(np.int32)
        else:
            # A partner may be another process's row: it is read here too.
            rows = np.concatenate([rows, partners])
            second = first + np.int32(per_process)

    positions = step * batch_size + rows
    index = np.empty(len(rows), np.int32)
    for epoch in np.unique(positions // size):
        here = positions // size == epoch
        index[here] = random.epoch_order(seed, int(epoch), size)[positions[here] % size]

    varied = _variations(positions, base, augment, image_shape)
    return Decisions(index=index, first=first, second=second, mix=mix, **varied)


def draw_episodic(
    step: int,
    *,
    seed: int,
    table: ClassTable,
    spec: EpisodeSpec,
    episodes_per_step: int,
    augment: AugmentConfig,
    process_index: int,
    process_count: int,
    image_shape: tuple[int, ...] | None = None,
) -> Decisions:
    """The draws of a step of episodes, a function of (seed, step) alone; a process draws its episodes of them.

    Args:
      step: from 0; its episodes are numbers `step · episodes_per_step` and on.
      seed: the run's.
      table: of the training split.
      spec: of the episodes.
      episodes_per_step: of all processes together.
      augment: without mixup; its draws are those of the global row, `spec.rows` an episode.
      process_index, process_count: episodes `[index · e / count, (index + 1) · e / count)` are drawn.
      image_shape: as of `draw`.

    Returns:
      Decisions in the order [episode, way, shot then query]. Padding of ragged episodes, of weight 0, repeats images of
      its episode, so that batch statistics see pictures there too, and none but these.
    """
    count = episodes_per_step // process_count
    start = step * episodes_per_step + process_index * count
    episodes = draw_episodes(table, spec, seed=seed, start=start, count=count)
    padded = np.concatenate([episodes.support, episodes.query], axis=-1).reshape(count, -1)
    weight = (padded >= 0).astype(np.float32).reshape(-1)
    index = _repeated(padded).reshape(-1)
    rows = np.arange(len(index), dtype=np.int32)
    varied = _variations(start * spec.rows + rows.astype(np.int64), random.key(seed), augment, image_shape)
    return Decisions(index=index, first=rows, second=rows, mix=np.float32(1), weight=weight, **varied)


def _repeated(index: np.ndarray) -> np.ndarray:
    """Positions `[episodes, rows]` with the padding, -1, replaced by the real ones of its row in turn."""
    real = index >= 0
    real_first = np.argsort(~real, axis=1, kind="stable")
    turn = (np.cumsum(~real, axis=1) - 1) % real.sum(axis=1, keepdims=True)
    source = np.take_along_axis(real_first, turn, axis=1)
    return np.where(real, index, np.take_along_axis(index, source, axis=1))


def _variations(
    positions: np.ndarray, base: random.Key, augment: AugmentConfig, image_shape: tuple[int, ...] | None
) -> dict[str, Any]:
    """What `Decisions` holds of each drawn image, for rows with these numbers among all rows of a run."""
    top = left = np.zeros(len(positions), np.int32)
    if augment.crop == "pad" and augment.pad:
        down, right = random.bits(random.fold(base, random.CROP), positions)
        top, left = random.below(down, 2 * augment.pad + 1), random.below(right, 2 * augment.pad + 1)
    flip = np.zeros(len(positions), bool)
    if augment.flip:
        flip = random.bits(random.fold(base, random.FLIP), positions)[0] >> np.uint32(31) == 1
    crop = None
    if augment.crop == "random_resized":
        counters = positions[:, None] * (CROP_WORDS // 2) + np.arange(CROP_WORDS // 2)
        crop = np.concatenate(random.bits(random.fold(base, random.CROP), counters), axis=1)
    turn = None
    if augment.rotate:
        share = random.uniform(random.bits(random.fold(base, random.ROTATE), positions)[0]).astype(np.float64)
        angle = np.radians(augment.rotate * (2 * share - 1))
        # Here, in float64: TensorFlow's cosine of a number depends on how many others stand beside it.
        turn = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    colors = _colors(positions, base, augment) if augment.colors else None
    hole_y = hole_x = None
    if augment.cutout:
        if image_shape is None:
            raise ValueError("augment.cutout needs the shape of the images, in which its squares lie")
        down, right = random.bits(random.fold(base, random.CUTOUT), positions)
        hole_y, hole_x = random.below(down, image_shape[0]), random.below(right, image_shape[1])
    return {
        "top": top, "left": left, "flip": flip, "crop": crop, "turn": turn, "colors": colors,
        "hole_y": hole_y, "hole_x": hole_x,
    }  # fmt: skip


def _colors(positions: np.ndarray, base: random.Key, augment: AugmentConfig) -> np.ndarray:
    """The maps of colours of rows with these numbers: factors uniform in 1 ± x, normal lighting."""
    from scipy.special import ndtri

    jitter, light = (
        np.stack(random.bits(random.fold(base, stream), 2 * positions[:, None] + np.arange(2)), -1).reshape(-1, 4)
        for stream in (random.JITTER, random.LIGHTING)
    )
    amounts = np.array([augment.brightness, augment.contrast, augment.saturation])
    factors = 1 + amounts * (2 * random.uniform(jitter[:, :3]) - 1)
    # In the middle of its interval: neither end, where the normal's inverse is infinite.
    normal = ndtri((light[:, :3] + 0.5) * 2.0**-32)
    return color_terms(factors, augment.lighting * normal)


def mixing_weight(key: random.Key, alpha: float) -> np.float32:
    """One draw of Beta(alpha, alpha), by the inverse of its distribution function."""
    from scipy.special import betaincinv

    word = random.bits(key, np.zeros(1))[0]
    # In the middle of its interval: neither 0 nor 1.
    return np.float32(betaincinv(alpha, alpha, (float(word[0]) + 0.5) * 2.0**-32))


def check_shares(name: str, batch_size: int, process_index: int, process_count: int) -> None:
    """Raise a `DataError` unless the rows of a batch divide among the processes."""
    if batch_size < 1 or batch_size % process_count:
        raise DataError(f"{name}={batch_size} does not divide among {process_count} processes")
    if not 0 <= process_index < process_count:
        raise DataError(f"process {process_index} of {process_count}: it must be in 0..{process_count - 1}")
