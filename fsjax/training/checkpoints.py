"""Checkpoints: the only module that imports orbax.

A run keeps two folders: `checkpoints/latest` (the last two states, to resume from) and `checkpoints/best`
(the state with the best validation result). Each checkpoint holds the whole state and, as JSON, the config and
the description of the data; nothing in it is executed or unpickled. A digest of every array is stored beside
it and compared on reading, since the files' own format does not notice every changed byte.
"""

import contextlib
import gc
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from orbax.checkpoint import v1 as ocp

from fsjax.errors import UserError
from fsjax.training import hosts

_SAVE_ALWAYS = ocp.training.save_decision_policies.FixedIntervalPolicy(1)
_KEEP = ocp.training.preservation_policies.LatestN

logger = logging.getLogger("fsjax")
# What fails in orbax's threads is raised by the next call, and told in one line; orbax logs it with a traceback of each
# thread that it passed through.
logging.getLogger("absl").addFilter(lambda record: f"{os.sep}orbax{os.sep}" not in record.pathname)


class Checkpoints:
    """Writer and reader of one folder of checkpoints; a context manager that waits for pending writes."""

    def __init__(self, directory: Path, *, keep: int, metadata: dict[str, Any] | None = None) -> None:
        """Open, and create, the folder.

        Args:
          directory: the folder; one subfolder per step.
          keep: how many checkpoints stay; older ones are removed once a newer one is complete.
          metadata: JSON-able facts stored with every checkpoint.
        """
        self._directory = Path(directory).absolute()
        self._metadata = {"facts": metadata, "sha256": _sha256(metadata)} if metadata is not None else None
        self._pending: Any = None
        # Two folders are written at a time, and the processes of a run meet by names: these must not be the same.
        context = ocp.Context()
        context.multiprocessing.barrier_sync_key_prefix = self._directory.name
        self._writer = ocp.training.Checkpointer(
            self._directory,
            context=context,
            save_decision_policy=_SAVE_ALWAYS,
            preservation_policy=_KEEP(keep),
            # What a killed process left half-written has a name of its own and is never read.
            cleanup_tmp_directories=True,
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            try:
                self.wait()
            finally:
                self._writer.close()
        except Exception:
            if kind is None:
                raise
            # What ended the run is told, and not what became of its last write.

    def save(self, step: int, state: Any) -> None:
        """Start to write a state; returns once it is copied from the devices, and the write goes on behind.

        The state before is complete first.

        Args:
          step: the name of the checkpoint; later than those in the folder (see `drop_after`).
          state: a tree of arrays in their logical shapes.
        """
        arrays = _by_name(state)
        tree = {"state": arrays, "digest": _digest(arrays)}
        self.wait()
        self._pending = self._writer.save_async(step, tree, custom_metadata=self._metadata)

    def drop_after(self, step: int) -> None:
        """Remove what a killed run wrote after the step it is continued from: it will be written again."""
        for later in [s for s in hosts.by_first(lambda: steps_in(self._directory)) if s > step]:
            self._writer.delete(later, missing_ok=True)

    def wait(self) -> None:
        """Return when everything is written."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()  # nothing else ends its thread and closes what that has open
        self._writer.wait()

    def newest(self) -> int | None:
        """The step of the newest checkpoint, pending writes included; None if there is none."""
        self.wait()
        steps = steps_in(self._directory)
        return steps[-1] if steps else None

    def load_latest(self, like: Any) -> tuple[int, Any] | None:
        """The newest state that is whole, or None if there is no checkpoint.

        Args:
          like: a tree of arrays or shapes that says what to expect.

        Returns:
          Its step, and the state as NumPy-like arrays on the default device. A damaged checkpoint is
          reported, moved aside and passed over.

        Raises:
          UserError: if there are checkpoints but none is whole, or they hold another model's state.
        """
        damaged: list[int] = []
        for step in reversed(hosts.by_first(lambda: steps_in(self._directory))):
            try:
                state = load_together(self._directory, step, like)
            except DamagedError as error:
                logger.warning("%s", error)
                damaged.append(step)
                continue
            for other in damaged:
                self._move_aside(other)
            return step, state
        if damaged:
            raise UserError(
                f"none of the checkpoints {sorted(damaged)} in {self._directory} can be read; to start anew, give "
                "another --workdir or remove the folder"
            )
        return None

    def _move_aside(self, step: int) -> None:
        aside = self._directory.with_name(f"damaged-{self._directory.name}-{step}")

        def move() -> None:
            shutil.rmtree(aside, ignore_errors=True)
            shutil.move(self._directory / str(step), aside)

        hosts.by_first(move)
        self._writer.reload()
        logger.warning("the damaged checkpoint is kept as %s; an earlier one is used", aside)


class DamagedError(UserError):
    """A checkpoint that cannot be read, or whose arrays are not the ones that were written."""


def steps_in(directory: Path) -> list[int]:
    """The steps of the complete checkpoints in a folder, rising."""
    if not Path(directory).is_dir():
        return []
    return sorted(int(p.name) for p in Path(directory).iterdir() if p.name.isdigit() and p.is_dir())


def load(directory: Path, step: int, like: Any) -> Any:
    """One state, or parts of one, on the default device whatever devices wrote it.

    Args:
      directory: a folder of checkpoints.
      step: which one.
      like: a tree of arrays or shapes that says what to expect: a whole state, or a dict of some of its fields. The
        arrays have the types that are stored, whatever those of `like`.

    Raises:
      DamagedError: if it cannot be read or its digest differs.
      UserError: if it holds arrays of other names or shapes.
    """
    path = Path(directory).absolute() / str(step)
    wanted = _by_name(like)
    with _quiet():
        found = _stored_arrays(path)
        _check_same_arrays(path, found, wanted)
        placeholders = {n: ocp.PLACEHOLDER for n in found}
        tree: dict[str, Any] = {"digest": jax.ShapeDtypeStruct((len(found),), np.uint32)}
        device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        # In the types that are stored: where JAX_ENABLE_X64 is set here, others would be asked for.
        tree = jax.tree.map(
            lambda x: x if x is ocp.PLACEHOLDER else jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device),
            tree | {"state": placeholders | {n: found[n] for n in wanted}},
        )
        try:
            tree = ocp.load(path, tree, checkpointable_name="state")
        # orbax reports what it cannot read with many types of exception, none of them its own.
        except Exception as error:
            raise DamagedError(f"checkpoint {path} is damaged ({_first_line(error)})") from error
    loaded = {name: tree["state"][name] for name in wanted}
    positions = [sorted(found).index(name) for name in sorted(loaded)]
    if not np.array_equal(np.asarray(tree["digest"])[positions], np.asarray(_digest(loaded))):
        raise DamagedError(f"checkpoint {path} is damaged (its arrays are not the ones that were written)")
    return jax.tree.unflatten(jax.tree.structure(like), [loaded[name] for name in _names(like)])


def load_together(directory: Path, step: int, like: Any) -> Any:
    """`load`, in all processes of a run: damage that one of them meets is damage for all."""
    state, error = None, None
    try:
        state = load(directory, step, like)
    except DamagedError as damaged:
        error = damaged
    found = [text for text in hosts.gather(str(error) if error else "") if text]
    if found:
        raise DamagedError(found[0]) from error
    return state


def load_metadata(directory: Path, step: int) -> dict[str, Any]:
    """The JSON facts stored with a checkpoint (see `Checkpoints`).

    Raises:
      DamagedError: if they cannot be read.
    """
    path = Path(directory).absolute() / str(step)
    try:
        with _quiet():
            metadata = ocp.metadata(path).custom_metadata
    except Exception as error:
        raise DamagedError(f"checkpoint {path} is damaged ({_first_line(error)})") from error
    metadata = metadata if isinstance(metadata, dict) else {}
    facts = metadata.get("facts")
    if not isinstance(facts, dict) or metadata.get("sha256") != _sha256(facts):
        raise DamagedError(f"checkpoint {path} is damaged (the facts stored with it are not those that were written)")
    return facts


def _sha256(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _names(tree: Any) -> list[str]:
    """A name for each leaf, from the fields and keys that lead to it."""

    def key(entry: Any) -> str:
        return str(next(getattr(entry, a) for a in ("name", "key", "idx") if hasattr(entry, a)))

    return [".".join(map(key, path)) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def _by_name(tree: Any) -> dict[str, Any]:
    """A flat dict of the leaves, so that what is on disk does not hang on our classes."""
    return dict(zip(_names(tree), jax.tree.leaves(tree), strict=True))


@jax.jit
def _digest(arrays: dict[str, jax.Array]) -> jax.Array:
    """A 32-bit hash of each array, in the order of their names; sums, so that no number of devices changes it."""

    def one(x: jax.Array) -> jax.Array:
        bits = x if x.dtype == jnp.bool_ else jax.lax.bitcast_convert_type(x, _WORDS[x.dtype.itemsize])
        bits = bits.astype(jnp.uint32).ravel()
        # Each word is hashed with its position (MurmurHash3's finalizer), and the hashes are summed.
        h = bits ^ (jax.lax.iota(jnp.uint32, bits.size) * jnp.uint32(0x9E3779B1))
        h = (h ^ (h >> 16)) * jnp.uint32(0x85EBCA6B)
        h = (h ^ (h >> 13)) * jnp.uint32(0xC2B2AE35)
        return jnp.sum(h ^ (h >> 16), dtype=jnp.uint32)

    return jnp.stack([one(arrays[name]) for name in sorted(arrays)])


_WORDS = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint32}


def _stored_arrays(path: Path) -> dict[str, jax.ShapeDtypeStruct]:
    try:
        stored = ocp.metadata(path, checkpointable_name="state").metadata
    except Exception as error:
        raise DamagedError(f"checkpoint {path} is damaged ({_first_line(error)})") from error
    if stored is None:
        raise DamagedError(f"checkpoint {path} is damaged (the list of its arrays cannot be read)")
    try:
        return {name: jax.ShapeDtypeStruct(tuple(x.shape), np.dtype(x.dtype)) for name, x in stored["state"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"checkpoint {path} is damaged (the list of its arrays cannot be read)") from error


def _check_same_arrays(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    shapes = {name: tuple(array.shape) for name, array in found.items()}
    for name, array in wanted.items():
        if shapes.get(name) != tuple(array.shape):
            raise UserError(
                f"checkpoint {path} holds another model: {name} is {shapes.get(name, 'absent')} there and "
                f"{tuple(array.shape)} in this config"
            )


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:160] if str(error).strip() else ''}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep asyncio's own reports of what we report in one line ourselves from the terminal."""
    log = logging.getLogger("asyncio")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        gc.collect()  # asyncio reports a failed read when its task is collected
        log.setLevel(level)
