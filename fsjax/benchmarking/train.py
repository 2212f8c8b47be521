"""Training steps, as a run takes them."""

import collections
import itertools
import statistics
from collections.abc import Iterator
from typing import Any

import jax

from fsjax.benchmarking.case import Case
from fsjax.benchmarking.flops import compiled_facts, products
from fsjax.benchmarking.machine import peak_bytes, share_of_peak
from fsjax.benchmarking.pipeline import check_backend
from fsjax.benchmarking.timing import in_turns, in_words
from fsjax.training.experiment import images_per_step

# As the loop of a run.
_IN_FLIGHT = 2


def measure(case: Case) -> Iterator[dict[str, Any]]:
    """Images a second of the config's train step on a batch that is there, and what feeding it costs on top."""
    check_backend(case.config.data.get("backend", "host"))
    experiment = case.experiment
    length = case.config.train.steps_per_dispatch
    images = length * images_per_step(case.config, experiment.method)
    state = experiment.parallel.place(experiment.initial_state())
    batch = next(experiment.train_batches(0, itertools.repeat(length)))
    flops = products(experiment.train_step, state, batch)
    step = experiment.train_step
    compiled = (step if hasattr(step, "lower") else jax.jit(step)).lower(state, batch).compile()

    runner = _Runner(experiment, state)
    fed = iter(experiment.train_batches(0, itertools.repeat(length)))
    alone, whole = in_turns(
        [lambda turns: runner.run(itertools.repeat(batch, turns)), lambda turns: runner.run(_take(fed, turns))],
        repeats=case.repeats,
        seconds=case.seconds,
    )
    one = in_words([seconds / length for seconds in alone])
    rate = images / statistics.median(alone)
    devices = experiment.parallel.num_devices
    yield {
        "images_per_second": rate,
        **one,
        # As a run has it, with its batches made meanwhile: what that adds is the host's.
        "fed_images_per_second": images / statistics.median(whole),
        "host_share": 1 - statistics.median(alone) / statistics.median(whole),
        "flops": flops / length,
        "flops_per_image": flops / images,
        **compiled_facts(compiled),
        **share_of_peak(flops, statistics.median(alone), dtype=case.config.model.dtype, devices=devices),
        **peak_bytes(),
        "devices": devices,
    }


class _Runner:
    """The state of a run, which each dispatch takes and gives back."""

    def __init__(self, experiment: Any, state: Any) -> None:
        self._experiment, self._state = experiment, state

    def run(self, batches: Iterator[Any]) -> Any:
        """Dispatch the steps on these batches, at most two ahead."""
        pending: collections.deque[jax.Array] = collections.deque()
        for batch in batches:
            self._state, losses = self._experiment.train_step(self._state, batch)
            pending.append(losses)
            if len(pending) == _IN_FLIGHT:
                jax.block_until_ready(pending.popleft())
        return self._state


def _take(batches: Iterator[Any], count: int) -> Iterator[Any]:
    """The next so many."""
    return itertools.islice(batches, count)
