"""Where a run's training batches come from: pipelines on the host, or images that live in the devices' memory.

A feed gives the step its argument (`batches`), and the step gives it back inside of the compiled program, to know what
to go through (`split`) and what a micro-batch is (`read`). Both feeds give the same micro-batches, bit for bit.
"""

import functools
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, Protocol, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from ml_collections import ConfigDict

from fsjax import data
from fsjax.data.info import scaling
from fsjax.data.pipeline.augment_config import parse_augmentation
from fsjax.device_data.augment import labels_of, vary
from fsjax.device_data.decisions import draw, draw_episodic, epoch_orders, plans
from fsjax.device_data.images import take
from fsjax.errors import UserError
from fsjax.methods.base import Method
from fsjax.training.parallel import AXIS, DataParallel

# Share of a device's memory that images may take, with the rest left to the network.
_SHARE_OF_MEMORY = 0.7

Batch = Mapping[str, Any]  # arrays, and trees of them
Axes = int | None | Mapping[str, Any]  # an axis of arrays, or of each of them by name


class Feed(Protocol):
    """Where training batches come from."""

    @property
    def batch_axis(self) -> Axes:
        """The axis of its batches that the devices divide, for `DataParallel.lift`."""

    @property
    def shared_axis(self) -> Axes:
        """The same of what all parts of a batch share, see `split`."""

    @property
    def item_axis(self) -> Axes:
        """The same of what the step goes through."""

    def batches(self, start_step: int, steps: int, lengths: Iterator[int]) -> Generator[Batch, None, None]:
        """Arguments of the train step.

        Args:
          start_step: the first optimizer step; the batches are those of a run that started at 0.
          steps: how many optimizer steps are taken from there.
          lengths: how many of them each dispatch takes.
        """

    def split(self, batch: Batch) -> tuple[Batch, Batch]:
        """What the step goes through, arrays `[steps, micro-batches, ...]`, and what all parts of it share."""

    def read(self, kept: Batch, plan: Batch) -> Batch:
        """This device's rows of a micro-batch, of what is shared and of one item that the step goes through."""


class HostFeed:
    """Batches from tf.data pipelines, made while the devices compute; see `Feed`."""

    batch_axis = 2
    shared_axis: Axes = None
    item_axis: Axes = 1

    def __init__(self, config: ConfigDict, splits: data.Splits, method: Method, parallel: DataParallel) -> None:
        self._config, self._splits, self._method, self._parallel = config, splits, method, parallel

    def batches(self, start_step: int, steps: int, lengths: Iterator[int]) -> Generator[Batch, None, None]:
        """Arguments of the train step, their arrays `[steps, micro-batches, rows, ...]`, see `Feed.batches`."""
        accumulate = self._config.train.accumulate
        micro_batches = self._micro_batches(start_step * accumulate, steps * accumulate)
        for length in lengths:
            parts = [next(micro_batches) for _ in range(length * accumulate)]
            batch = {k: np.stack([p[k] for p in parts]) for k in parts[0]}
            if "cluster_share" in self._method.reads:
                shares: Any = self._splits.cluster_shares  # there where the loss reads them
                batch["cluster_share"] = shares[batch["index"]]
            if "index" not in self._method.reads:
                del batch["index"]
            batch = {k: v.reshape(length, accumulate, *v.shape[1:]) for k, v in batch.items()}
            yield self._parallel.put(batch, batch_axis=self.batch_axis)

    @staticmethod
    def split(batch: Batch) -> tuple[Batch, Batch]:
        """What the step goes through, and what all parts of it share: nothing."""
        return batch, {}

    @staticmethod
    def read(_: Batch, item: Batch) -> Batch:
        """The micro-batch that a part of a batch is."""
        return item

    def _micro_batches(self, start: int, count: int) -> Iterator[dict[str, np.ndarray]]:
        """The pipeline's unit is the micro-batch: its rows are what the devices divide."""
        config, method, train = self._config, self._method, self._splits.train
        common = {
            "start_step": start, "num_steps": count, "seed": config.seed,
            "augmentation": augmentation(config, method), "info": self._splits.info,
            "process_index": jax.process_index(), "process_count": jax.process_count(),
        }  # fmt: skip
        if method.episodes is None:
            return data.train_batches(train, batch_size=config.train.batch_size // config.train.accumulate, **common)
        episodes = method.episodes.per_step
        return data.episode_batches(train, spec=episode_spec(config), episodes_per_step=episodes, **common)


class DeviceFeed:
    """Images in the devices' memory; order, episodes, crops, flips and mixing are drawn inside the compiled step.

    See `Feed`.
    """

    item_axis: Axes = None

    def __init__(self, config: ConfigDict, splits: data.Splits, method: Method, parallel: DataParallel) -> None:
        """Move the images to the devices.

        Raises:
          UserError: if they do not fit there.
        """
        self._config, self._method, self._parallel = config, method, parallel
        self._info, self._labels = splits.info, splits.train.labels
        self._augment = parse_augmentation(augmentation(config, method))
        self._scaling = scaling(splits.info)
        episodes = method.episodes
        episodic = episodes is not None
        self._rows = episodes.rows if episodes else config.train.batch_size // config.train.accumulate
        per_dispatch = self._rows * config.train.accumulate * config.train.steps_per_dispatch
        # As many epochs as a dispatch may touch, so that all dispatches are of one compiled program.
        self._epochs = -(-(per_dispatch - 1) // len(self._labels)) + 1
        self._known_orders: tuple[int, jax.Array] | None = None
        train = cast(data.ArrayExamples, splits.train)  # what `data.backend="device"` loads
        _check_memory(train, parallel)
        common: dict[str, Any] = {"labels": self._labels.astype(np.int32)}
        if "cluster_share" in method.reads:
            common["shares"] = splits.cluster_shares
        if episodic:
            common["table"] = data.class_table(self._labels, self._info.num_classes)
        self._kept = parallel.keep({"images": _even(train.images, parallel)}) | parallel.common(common)
        names = (*self._kept, *(() if episodic else ("orders",)))
        self.shared_axis = {name: 0 if name == "images" else None for name in names}
        self.batch_axis = {**self.shared_axis, "plan": None}

    def batches(self, start_step: int, steps: int, lengths: Iterator[int]) -> Generator[Batch, None, None]:
        """Arguments of the train step: the images, and where each micro-batch begins; as of `HostFeed.batches`."""
        number, accumulate = start_step * self._config.train.accumulate, self._config.train.accumulate
        for length in lengths:
            numbers = number + np.arange(length * accumulate, dtype=np.int64).reshape(length, accumulate)
            number += length * accumulate
            plan, first = plans(
                numbers, seed=self._config.seed, rows=self._rows, size=len(self._labels), mixup=self._augment.mixup
            )
            batch = {**self._kept, "plan": plan}
            yield batch if self._method.episodes is not None else batch | {"orders": self._orders(first)}

    @staticmethod
    def split(batch: Batch) -> tuple[Batch, Batch]:
        """What the step goes through, and what all parts of it share."""
        return batch["plan"], {name: value for name, value in batch.items() if name != "plan"}

    def read(self, kept: Batch, plan: Batch) -> Batch:
        """This device's rows of the micro-batch that begins where the plan says."""
        common = {
            "seed": self._config.seed, "augment": self._augment, "image_shape": self._info.image_shape,
            "device": lax.axis_index(AXIS), "devices": self._parallel.num_devices,
        }  # fmt: skip
        if self._method.episodes is None:
            drawn = draw(plan, kept["orders"], batch_size=self._rows, **common)
        else:
            episodes, spec = self._method.episodes.per_step, episode_spec(self._config)
            drawn = draw_episodic(plan, kept["table"], spec=spec, episodes=episodes, **common)
        images = take(kept["images"], drawn.index, axis_name=AXIS)
        shift, factor = self._scaling
        batch = {"image": vary(images, drawn, augment=self._augment, shift=shift, factor=factor)}
        batch |= labels_of(kept["labels"], drawn, mixup=bool(self._augment.mixup))
        if "shares" in kept:
            batch["cluster_share"] = kept["shares"][batch["index"]]
        if "index" not in self._method.reads:
            del batch["index"]
        return batch

    def _orders(self, first: int) -> jax.Array:
        if self._known_orders is None or self._known_orders[0] != first:
            self._known_orders = first, self._draw_orders(np.uint32(first))
        return self._known_orders[1]

    @functools.cached_property
    def _draw_orders(self) -> Callable[[np.uint32], jax.Array]:
        of = functools.partial(epoch_orders, self._config.seed, count=self._epochs, size=len(self._labels))
        return self._parallel.jit_common(of)


def build_feed(config: ConfigDict, splits: data.Splits, method: Method, parallel: DataParallel) -> Feed:
    """The feed that `config.data.backend` names.

    Raises:
      UserError: for images that the devices cannot hold.
    """
    feed = DeviceFeed if config.data.backend == "device" else HostFeed
    return feed(config, splits, method, parallel)


def augmentation(config: ConfigDict, method: Method) -> dict[str, Any]:
    """The augmentation of the training images: the config's, with the mixup that the loss asks for."""
    chosen = dict(config.data.augment)
    chosen["mixup"] = max(chosen["mixup"], method.mixup_alpha)
    return chosen


def episode_spec(config: ConfigDict) -> data.EpisodeSpec:
    """The training episodes of `config.episodes`."""
    return data.parse_spec({name: config.episodes[name] for name in ("way", "shot", "query")})


def _even(images: np.ndarray, parallel: DataParallel) -> np.ndarray:
    """This process's part of the images, which black ones make up to as many on each device."""
    per_device = -(-len(images) // parallel.num_devices)
    part = slice(*(per_device * end for end in parallel.own_devices))
    own = images[part]
    lacking = part.stop - part.start - len(own)
    return np.pad(own, ((0, lacking), (0, 0), (0, 0), (0, 0))) if lacking else own


def _check_memory(examples: data.ArrayExamples, parallel: DataParallel) -> None:
    """Raise a `UserError` for images that a device's memory cannot hold."""
    bytes_each, limit = examples.images.nbytes / parallel.num_devices, parallel.memory_limit
    if limit and bytes_each > _SHARE_OF_MEMORY * limit:
        raise UserError(
            f'config.data.backend="device" would put {bytes_each / 2**30:,.1f} GiB of images on each of '
            f"{parallel.num_devices} devices of {limit / 2**30:,.1f} GiB: use more devices, a smaller data.image_size, "
            'or data.backend="host"'
        )


def micro_batch_shapes(config: ConfigDict, method: Method, info: data.DataInfo) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of a small micro-batch with all that a method may read."""
    rows = 2 if method.episodes is None else method.episodes.rows
    vectors = {"label": jnp.int32, "index": jnp.int32, "weight": jnp.float32, "cluster_share": jnp.float32}
    return {
        "image": jax.ShapeDtypeStruct((rows, *info.image_shape), jnp.float32),
        **{name: jax.ShapeDtypeStruct((rows,), dtype) for name, dtype in vectors.items()},
    }
