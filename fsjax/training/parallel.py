"""Devices: the one place that knows how many there are. Steps are written for one device's shard and lifted here.

`shard_map` (the default) and `pmap` give the same numbers; `pmap` is in maintenance in jax and cannot write
checkpoints from several processes, so it is there for who wants it, on one process.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from fsjax.errors import UserError
from fsjax.options import check_fields
from fsjax.options.training import ParallelOptions
from fsjax.training import hosts

AXIS = "data"


class DataParallel:
    """Data parallelism over devices: state replicated, the rows of a batch divided.

    With `shard_optimizer` the optimizer's state is divided among the devices, too (ZeRO-1: Rajbhandari et al. 2020):
    each updates its part, and the parameters are gathered again. The arrays stay whole ones, as checkpoints have them.

    Attributes:
      num_devices: devices used, over all processes.
      backend: "shard_map" or "pmap".
      platform: "cpu", "gpu" or "tpu".
    """

    def __init__(
        self,
        *,
        backend: str = ParallelOptions.backend,
        num_devices: int = ParallelOptions.num_devices,
        shard_optimizer: bool = ParallelOptions.shard_optimizer,
    ) -> None:
        """Choose the devices.

        Args:
          backend: "shard_map" ("auto") or "pmap".
          num_devices: how many of the devices to use; 0 for all.
          shard_optimizer: whether each device keeps a part of the optimizer's state only.

        Raises:
          UserError: for an unknown backend, more devices than there are, or pmap in several processes or with
            `shard_optimizer`.
        """
        check_fields(ParallelOptions(backend=backend), "config.parallel.")
        self.backend = "shard_map" if backend == "auto" else backend
        devices = _chosen(jax.devices(), num_devices)
        if self.backend == "pmap" and jax.process_count() > 1:
            raise UserError("parallel.backend=pmap works in one process; use shard_map for several")
        if self.backend == "pmap" and shard_optimizer:
            raise UserError("parallel.shard_optimizer=True needs parallel.backend=shard_map: pmap keeps whole copies")
        self.shard_optimizer = shard_optimizer
        self.num_devices = len(devices)
        self.platform = devices[0].platform
        self._devices = devices
        self._mesh = Mesh(np.asarray(devices), (AXIS,), axis_types=(AxisType.Auto,))
        self._replicated = NamedSharding(self._mesh, P())
        hosts.meet(devices)

    def check_processes(self, name: str, count: int) -> None:
        """Raise a `UserError` if so many things cannot be divided evenly among the processes."""
        processes = jax.process_count()
        if count % processes:
            above = count + processes - count % processes
            raise UserError(f"{name}={count} cannot be divided among {processes} processes; use {above}")

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
        return self._spread(tree, jax.tree.map(lambda _: self._replicated, tree))

    def _spread(self, tree: Any, shardings: Any) -> Any:
        """Arrays that this process has whole, as all others do -> laid out so, without a word to the others."""
        if jax.process_count() == 1:
            return jax.device_put(tree, shardings)

        def spread(x: Any, sharding: NamedSharding) -> jax.Array:
            whole = np.asarray(x)
            return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])

        return jax.tree.map(spread, tree, shardings)

    def place(self, state: Any) -> Any:
        """A `TrainState` of one copy -> on the devices, where the train step wants it."""
        if not self.shard_optimizer:
            return self.replicate(state)
        # The optimizer's state is nowhere whole but where it came from.
        divided = self._spread(state.opt_state, self._divided(state.opt_state))
        return self.replicate(state.replace(opt_state=None)).replace(opt_state=divided)

    def constrain(self, state: Any) -> Any:
        """A `TrainState` inside of `jax.jit`, told to lie as `place` puts it."""
        whole = jax.lax.with_sharding_constraint(state, self._replicated)
        divided = jax.lax.with_sharding_constraint(state.opt_state, self._divided(state.opt_state))
        return whole.replace(opt_state=divided)

    def _divided(self, tree: Any) -> Any:
        """For each array the division of its longest axis that divides among the devices; whole where there is none."""

        def of(x: jax.Array) -> NamedSharding:
            axes = [axis for axis, size in enumerate(x.shape) if size and size % self.num_devices == 0]
            if not axes:
                return self._replicated
            return NamedSharding(self._mesh, P(*[None] * max(axes, key=lambda axis: x.shape[axis]), AXIS))

        return jax.tree.map(of, tree)

    def single(self, tree: Any) -> Any:
        """The inverse of `replicate`: arrays of the logical shape, which checkpoints and results use."""
        if self.backend == "pmap":
            return jax.tree.map(lambda x: x.addressable_shards[0].data.reshape(x.shape[1:]), tree)
        return tree

    def local(self, tree: Any) -> Any:
        """Arrays that are equal on all devices -> for this process to compute with by itself.

        In several processes a computation with arrays that all of them have is one that all must take part in.
        """
        tree = self.single(tree)
        return tree if jax.process_count() == 1 else jax.tree.map(lambda x: x.addressable_data(0), tree)

    def lift(
        self, step: Callable[..., Any], *, batch_axis: Any, num_replicated: int, donate: bool = False
    ) -> Callable[..., Any]:
        """A step for one device's shard -> a compiled function over all devices.

        Args:
          step: takes `num_replicated` replicated trees, then a batch; all that it returns is equal on all
            devices (it reduces over the axis `AXIS`).
          batch_axis: the axis of the batch's arrays that holds the rows; or a dict with one for each entry of the
            batch, None for an entry that is the same on all devices.
          num_replicated: how many arguments come before the batch.
          donate: whether the first argument's memory may be reused for the result.

        Returns:
          The function; give it batches that `put` (or `keep`, and `common`) made with the same `batch_axis`.
        """
        donated = (0,) if donate else ()
        if self.backend == "pmap":
            axes = (*[0] * num_replicated, _each(lambda axis: None if axis is None else 0, batch_axis))
            return jax.pmap(step, axis_name=AXIS, in_axes=axes, devices=self._devices, donate_argnums=donated)
        divided = self.over_devices(step, axes=(*[None] * num_replicated, batch_axis))
        return jax.jit(divided, donate_argnums=donated)

    def over_devices(self, function: Callable[..., Any], *, axes: Sequence[Any]) -> Callable[..., Any]:
        """A function of one device's shard -> one of whole arrays, for use inside of `jax.jit`; not for pmap.

        Args:
          function: all that it returns is equal on all devices.
          axes: for each argument the axis that holds the rows, as `batch_axis` of `lift`; None for none.
        """
        specs = tuple(_each(lambda axis: P() if axis is None else P(*[None] * axis, AXIS), axis) for axis in axes)
        # check_vma=True would sum the gradients of replicated parameters once more (jax 0.10.2).
        return jax.shard_map(function, mesh=self._mesh, in_specs=specs, out_specs=P(), check_vma=False)

    def keep(self, arrays: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        """This process's rows of arrays -> the same divided among the devices by their first axis, to stay there."""
        placed = self.put(arrays, batch_axis=0)
        # pmap would move them again at each call if they were not the result of one.
        return jax.pmap(lambda x: x, devices=self._devices)(placed) if self.backend == "pmap" else placed

    def common(self, tree: Any) -> Any:
        """Arrays that are the same on all devices, for the entries of a batch with the axis None."""
        return tree if self.backend == "pmap" else self.replicate(tree)

    def jit_common(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function, compiled, whose result is as of `common`."""
        return jax.jit(function) if self.backend == "pmap" else jax.jit(function, out_shardings=self._replicated)

    @property
    def own_devices(self) -> tuple[int, int]:
        """The first of this process's devices, and the one after its last."""
        own = [i for i, device in enumerate(self._devices) if device.process_index == jax.process_index()]
        return own[0], own[-1] + 1

    @property
    def memory_limit(self) -> int | None:
        """Bytes that a device's memory has for arrays; None where the device does not say (a CPU)."""
        stats = self._devices[self.own_devices[0]].memory_stats() or {}
        return stats.get("bytes_limit")

    def put(self, batch: Mapping[str, np.ndarray], *, batch_axis: int) -> dict[str, Any]:
        """This process's rows of a batch -> arrays divided among the devices along `batch_axis`."""
        if self.backend == "pmap":
            # pmap takes a leading axis of devices and moves the parts itself.
            return {k: np.stack(np.split(v, self.num_devices, batch_axis)) for k, v in batch.items()}
        sharding = NamedSharding(self._mesh, P(*[None] * batch_axis, AXIS))
        return {k: jax.make_array_from_process_local_data(sharding, v) for k, v in batch.items()}

    def put_whole(self, batch: Mapping[str, np.ndarray], *, batch_axis: int) -> dict[str, jax.Array]:
        """A batch that every process has whole -> as `put` gives it."""
        if jax.process_count() == 1:
            return self.put(batch, batch_axis=batch_axis)
        own = range(*self.own_devices)

        def rows(x: np.ndarray) -> np.ndarray:
            return np.concatenate([np.split(x, self.num_devices, batch_axis)[i] for i in own], batch_axis)

        return self.put({k: rows(v) for k, v in batch.items()}, batch_axis=batch_axis)


def _chosen(devices: Sequence[Any], num_devices: int) -> list[Any]:
    """The devices to use, those of each process side by side in the order of the processes, as batches are divided.

    Raises:
      UserError: for more than there are, or processes that would take part with different numbers of them.
    """
    if not 0 <= num_devices <= len(devices):
        raise UserError(
            f"parallel.num_devices={num_devices}, but there are {len(devices)} devices "
            f"({devices[0].platform}); use 0 for all of them"
        )
    own: dict[int, list[Any]] = {}
    for device in sorted(devices, key=lambda device: (device.process_index, device.id)):
        own.setdefault(device.process_index, []).append(device)
    each, rest = divmod(num_devices or len(devices), len(own))
    counts = {process: len(found) for process, found in own.items()}
    if rest or (max(counts.values()) if num_devices == 0 else each) > min(counts.values()):
        shown = ", ".join(f"process {process} has {count}" for process, count in counts.items())
        raise UserError(
            f"parallel.num_devices={num_devices} (0: all) must take as many devices of each process: {shown}; set it "
            f"to {len(own)} x N"
        )
    return [device for found in own.values() for device in found[:each]]


def _each(function: Callable[[int | None], Any], axes: Any) -> Any:
    """A function of an axis, or of each of a dict of axes."""
    return {name: function(axis) for name, axis in axes.items()} if isinstance(axes, dict) else function(axes)
