"""Several processes that make one run: how they meet, agree, and learn that one of them is gone.

They agree by the key-value store of `jax.distributed`, which needs no device: what the first process finds or decides,
the others are told (`by_first`), and what each of them finds, all are (`gather`). In a run of one process nothing here
does anything. All processes must call these functions in the same order.
"""

import contextlib
import itertools
import json
import logging
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax._src import distributed  # the store itself is not public; orbax and multihost_utils reach it here
from jax.experimental import multihost_utils

from fsjax.errors import UserError
from fsjax.training.connect import ALONE
from fsjax.training.watch import Watch

logger = logging.getLogger("fsjax")

_numbers = itertools.count()
_WAIT_MS = 10_000
# A barrier is for processes that have arrived or soon will; who is gone, the watch finds.
_BARRIER_MS = 24 * 3600 * 1000
# But before the watch begins nobody would: all have connected, and have little to do before they meet here.
_MEETING_MS = 5 * 60 * 1000
_SAME_COMMAND = f"start all processes with the same command, but for --process_id; {ALONE}"


def is_first() -> bool:
    """Whether this is the process that writes what is written once."""
    return jax.process_index() == 0


def is_one() -> bool:
    """Whether the run has one process only."""
    return jax.process_count() == 1


def by_first(function: Callable[[], Any]) -> Any:
    """What the first process's call of `function` gives: JSON-able; a `UserError` of it is raised in all.

    The other processes do not call it, and wait.
    """
    if is_one():
        return function()
    key = _new_key()
    if is_first():
        try:
            message = {"value": function()}
        except UserError as error:
            _store().key_value_set(key, json.dumps({"error": str(error)}))
            raise
        _store().key_value_set(key, json.dumps(message))
    found = json.loads(_wait(key))
    if "error" in found:
        raise UserError(found["error"])
    return found["value"]


def in_turn(function: Callable[[], Any]) -> Any:
    """`function()`, by the first process, then by the others: it may download or write what they then find there."""
    if is_one():
        return function()
    found: list[Any] = []
    by_first(lambda: found.append(function()))
    return found[0] if found else function()


def gather(value: Any) -> list[Any]:
    """The JSON-able values of all processes, in their order."""
    if is_one():
        return [value]
    key = _put(value)
    _store().wait_at_barrier(f"{key}/all", _BARRIER_MS)
    found = _found(key)
    return [found[index] for index in sorted(found)]


def check_same(facts: Callable[[], dict[str, Any]], way_out: str) -> None:
    """Compare facts with those of the other processes.

    Args:
      facts: gives them by name; JSON-able. A run of one process does not call it.
      way_out: ends the message.

    Raises:
      UserError: if one differs, in all processes; it names the fact and two processes.
    """
    if is_one():
        return
    told = gather([socket.gethostname(), facts()])
    names = [name_of(index, host) for index, (host, _) in enumerate(told)]
    first = told[0][1]
    for name, (_, theirs) in zip(names[1:], told[1:], strict=True):
        for key in sorted(first.keys() | theirs.keys()):
            here, there = first.get(key), theirs.get(key)
            if here != there:
                raise UserError(f"{name} has {key}={there!r}, and {names[0]} has {here!r}: {way_out}")


def meet(devices: list[Any]) -> None:
    """Have the devices connect while all processes wait for it.

    The first collective does it, and gives up where one process is still compiling 30 s after another (gloo; no
    setting reaches that). So here is one that all have compiled before any starts it.
    """
    if is_one():
        return
    mesh = jax.sharding.Mesh(np.asarray(devices), ("all",))
    ones = jax.make_array_from_callback(
        (len(devices),),
        jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("all")),
        lambda index: np.ones(len(devices), np.float32)[index],
    )
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    total = jax.jit(jax.numpy.sum, out_shardings=whole).lower(ones).compile()
    gather("ready")
    total(ones).block_until_ready()


def from_first(tree: Any) -> Any:
    """The first process's arrays, bit for bit, whatever the others computed: on this process's default device."""
    if is_one():
        return tree
    # As bytes: the broadcast is a sum with zeros, which would make 0.0 of -0.0.
    arrays = [np.asarray(x) for x in jax.tree.leaves(tree)]
    gather("ready")  # they may have compiled for a while; see `meet`
    sent = multihost_utils.broadcast_one_to_all([np.ascontiguousarray(x).reshape(-1).view(np.uint8) for x in arrays])
    # Copies: what comes back may not be aligned for wider types.
    back = [np.asarray(s).copy().view(x.dtype).reshape(x.shape) for s, x in zip(sent, arrays, strict=True)]
    return jax.tree.unflatten(jax.tree.structure(tree), [jax.numpy.asarray(x) for x in back])


def name_of(index: int, host: str) -> str:
    """A process in a message."""
    return f"process {index} of {jax.process_count()} (host {host})"


@contextlib.contextmanager
def together(facts: Callable[[], dict[str, Any]]) -> Iterator[Watch | None]:
    """What the processes of a run do at the same time: an error in one, or its death, ends the others in words.

    Args:
      facts: gives by name what must be the same in all processes, such as the keys of the config; JSON-able.

    Yields:
      The watch over the others; None in a run of one process.

    Raises:
      UserError: if a fact differs, or another process failed or is gone; it names the process.
    """
    if is_one():
        yield None
        return
    prefix, index = _new_key(), jax.process_index()
    names = _names_of_all()
    with _voice(index), Watch(_store(), prefix, names, index) as watch:
        try:
            check_same(facts, _SAME_COMMAND)
            yield watch
        except (Exception, KeyboardInterrupt) as error:
            news = watch.why_peers_failed(error)
            if news is not None:
                raise UserError(news) from error
            watch.tell(error)
            raise


def _names_of_all() -> list[str]:
    """The first meeting of the processes."""
    key, count = _put(socket.gethostname()), jax.process_count()
    try:
        _store().wait_at_barrier(f"{key}/all", _MEETING_MS)
    except jax.errors.JaxRuntimeError as error:
        missing = ", ".join(f"process {index}" for index in range(count) if index not in _found(key))
        raise UserError(
            f"of the {count} processes of the run, all of which connected, these did not begin within "
            f"{_MEETING_MS // 60_000} minutes: {missing or 'some'}; their own output may say why. Start all again"
        ) from error
    return [name_of(index, host) for index, host in sorted(_found(key).items())]


def _put(value: Any) -> str:
    """Leave a value of this process for all; the key below which those of all are."""
    key = _new_key()
    _store().key_value_set(f"{key}/{jax.process_index()}", json.dumps(value))
    return key


def _found(key: str) -> dict[int, Any]:
    """What processes left below a key, by their index."""
    return {int(name.rsplit("/", 1)[1]): json.loads(text) for name, text in _store().key_value_dir_get(key)}


@contextlib.contextmanager
def _voice(index: int) -> Iterator[None]:
    """Let the first process alone say what is the same for all; warnings of others say whose they are."""

    def speak(record: logging.LogRecord) -> bool:
        if index and record.levelno >= logging.WARNING:
            record.msg, record.args = f"[process {index}] {record.getMessage()}", None
        return not index or record.levelno >= logging.WARNING

    logger.addFilter(speak)
    try:
        yield
    finally:
        logger.removeFilter(speak)


def _store() -> Any:
    store = distributed.global_state.client
    if store is None:
        raise UserError("several processes, but jax.distributed.initialize() was not called")
    return store


def _new_key() -> str:
    return f"fsjax/{next(_numbers)}"


def _wait(key: str) -> str:
    """The value of a key, once it is there."""
    while True:
        begin = time.monotonic()
        try:
            return _store().blocking_key_value_get(key, _WAIT_MS)
        except jax.errors.JaxRuntimeError:
            if time.monotonic() - begin < _WAIT_MS / 2000:  # no timeout: the store itself is gone
                raise
