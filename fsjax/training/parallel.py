"""Devices: the one place that knows how many there are. Steps are written for one device's shard and lifted here.

`shard_map` (the default) and `pmap` give the same numbers; `pmap` is in maintenance in jax and cannot write
checkpoints from several processes, so it is there for who wants it, on one process.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from fsjax.errors import UserError, unknown

AXIS = "data"
BACKENDS = ("auto", "shard_map", "pmap")


class DataParallel:
    """Data parallelism over devices: state replicated, the rows of a batch divided.

    Attributes:
      num_devices: devices used, over all processes.
      backend: "shard_map" or "pmap".
      platform: "cpu", "gpu" or "tpu".
    """

    def __init__(self, *, backend: str = "auto", num_devices: int = 0) -> None:
        """Choose the devices.

        Args:
          backend: one of `BACKENDS`; "auto" is "shard_map".
          num_devices: how many of the devices to use; 0 for all.

        Raises:
          UserError: for an unknown backend, more devices than there are, or pmap in several processes.
        """
        if backend not in BACKENDS:
            raise unknown("parallel.backend", backend, BACKENDS)
        self.backend = "shard_map" if backend == "auto" else backend
        devices = jax.devices()
        if not 0 <= num_devices <= len(devices):
            raise UserError(
                f"parallel.num_devices={num_devices}, but there are {len(devices)} devices "
                f"({devices[0].platform}); use 0 for all of them"
            )
        if self.backend == "pmap" and jax.process_count() > 1:
            raise UserError("parallel.backend=pmap works in one process; use shard_map for several")
        devices = devices[: num_devices or None]
        self.num_devices = len(devices)
        self.platform = devices[0].platform
        self._devices = devices
        self._mesh = Mesh(np.asarray(devices), (AXIS,), axis_types=(AxisType.Auto,))
        self._replicated = NamedSharding(self._mesh, P())

    def check_batch_size(self, name: str, size: int) -> None:
        """Raise a `UserError` if `size` rows cannot be divided evenly among the devices."""
        if size <= 0 or size % self.num_devices:
            below = size - size % self.num_devices
            raise UserError(
                f"{name}={size} cannot be divided among {self.num_devices} devices; use "
                f"{below or self.num_devices} or {below + self.num_devices}, or --config.parallel.num_devices"
            )

    def replicate(self, tree: Any) -> Any:
        """Arrays of one copy -> the same on every device, in this backend's layout."""
        if self.backend == "pmap":
            # pmap wants one argument with an axis of devices.
            copy = jax.pmap(lambda _, x: x, in_axes=(0, None), devices=self._devices)
            return copy(np.zeros(self.num_devices), tree)
        return jax.device_put(tree, self._replicated)

    def single(self, tree: Any) -> Any:
        """The inverse of `replicate`: arrays of the logical shape, which checkpoints and results use."""
        if self.backend == "pmap":
            return jax.tree.map(lambda x: x.addressable_shards[0].data.reshape(x.shape[1:]), tree)
        return tree

    def lift(
        self, step: Callable[..., Any], *, batch_axis: int, num_replicated: int, donate: bool = False
    ) -> Callable[..., Any]:
        """A step for one device's shard -> a compiled function over all devices.

        Args:
          step: takes `num_replicated` replicated trees, then a batch; all that it returns is equal on all
            devices (it reduces over the axis `AXIS`).
          batch_axis: the axis of the batch's arrays that holds the rows.
          num_replicated: how many arguments come before the batch.
          donate: whether the first argument's memory may be reused for the result.

        Returns:
          The function; give it batches that `put` made with the same `batch_axis`.
        """
        donated = (0,) if donate else ()
        if self.backend == "pmap":
            return jax.pmap(step, axis_name=AXIS, devices=self._devices, donate_argnums=donated)
        specs = (*[P()] * num_replicated, P(*[None] * batch_axis, AXIS))
        # check_vma=True would sum the gradients of replicated parameters once more (jax 0.10.2).
        sharded = jax.shard_map(step, mesh=self._mesh, in_specs=specs, out_specs=P(), check_vma=False)
        return jax.jit(sharded, donate_argnums=donated)

    def put(self, batch: Mapping[str, np.ndarray], *, batch_axis: int) -> dict[str, jax.Array]:
        """This process's rows of a batch -> arrays divided among the devices along `batch_axis`."""
        if self.backend == "pmap":
            # pmap takes a leading axis of devices and moves the parts itself.
            return {k: np.stack(np.split(v, self.num_devices, batch_axis)) for k, v in batch.items()}
        sharding = NamedSharding(self._mesh, P(*[None] * batch_axis, AXIS))
        return {k: jax.make_array_from_process_local_data(sharding, v) for k, v in batch.items()}
