"""Training steps, as a run takes them."""

import collections
import contextlib
import itertools
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import jax

from fsjax.benchmarking.case import Case
from fsjax.benchmarking.flops import compiled_facts, products
from fsjax.benchmarking.machine import peak_bytes, share_of_peak
from fsjax.benchmarking.pipeline import check_backend
from fsjax.benchmarking.timing import in_one_stretch, in_turns, in_words
from fsjax.methods import build_method
from fsjax.training.experiment import Experiment, images_per_step
from fsjax.training.parallel import AXIS
from fsjax.training.state import TrainState
from fsjax.training.step import make_train_step
from fsjax.training.teacher import taught

# As the loop of a run.
_IN_FLIGHT = 2


def measure(case: Case) -> Iterator[dict[str, Any]]:
    """Images per second of the config's train step on a batch that is there, and what feeding it costs on top."""
    check_backend(case.config.data.get("backend", "host"))
    experiment = case.experiment
    length = case.config.train.steps_per_dispatch
    images = length * images_per_step(case.config, experiment.method)
    state = experiment.parallel.place(experiment.initial_state())
    with contextlib.closing(experiment.train_batches(0, itertools.repeat(length))) as batches:
        batch = next(batches)
    step = experiment.train_step
    executed = products(step, state, batch)
    flops = products(_without_remat(experiment), state, batch) if case.config.model.get("remat", False) else executed
    compiled = (step if hasattr(step, "lower") else jax.jit(step)).lower(state, batch).compile()
    alone, fed = measure_feeding(experiment, state, batch, length, repeats=case.repeats, seconds=case.seconds)
    devices = experiment.parallel.num_devices
    yield {
        "images_per_second": images / statistics.median(alone),
        **in_words([seconds / length for seconds in alone]),
        # As a run has it, with its batches made meanwhile: what that adds is the host's.
        "fed_images_per_second": images / statistics.median(fed),
        "host_share": 1 - statistics.median(alone) / statistics.median(fed),
        "flops": flops / length,
        "flops_per_image": flops / images,
        "executed_flops": executed / length,
        **compiled_facts(compiled),
        **share_of_peak(flops, statistics.median(alone), dtype=case.config.model.dtype, devices=devices),
        **peak_bytes(),
        "devices": devices,
    }


def measure_feeding(
    experiment: Experiment, state: TrainState, batch: Any, length: int, *, repeats: int, seconds: float
) -> tuple[list[float], list[float]]:
    """Seconds of a dispatch on a batch that is there, and of one on batches that are made meanwhile, by run.

    The pipeline is opened after the first are timed: it would make batches in their time, and hand them out in its own.

    Args:
      experiment: of a config.
      state: on the devices; it is given away.
      batch: of the experiment's feed.
      length: how many optimizer steps a dispatch takes.
      repeats: runs of each kind.
      seconds: of a run, at least.
    """
    runner = _Runner(experiment, state)
    (alone,) = in_turns([lambda turns: runner.run(itertools.repeat(batch, turns))], repeats=repeats, seconds=seconds)
    with contextlib.closing(experiment.train_batches(0, itertools.repeat(length))) as batches:
        fed = in_one_stretch(runner.stepping(batches), repeats=repeats, seconds=seconds)
        jax.block_until_ready(runner.state)
    return alone, fed


def _without_remat(experiment: Experiment) -> Callable[..., Any]:
    """The train step that keeps what the experiment's computes a second time: no more than the model asks for."""
    config = experiment.config.copy_and_resolve_references()
    config.model.remat = False
    method = taught(build_method(config, experiment.splits.info, axis_name=AXIS), experiment.teacher)
    feed = experiment.feed
    step = make_train_step(method, experiment.optimizer, axis_name=AXIS, unroll=False, feed=feed)
    return experiment.parallel.lift(step, batch_axis=feed.batch_axis, num_replicated=1)


class _Runner:
    """The state of a run, which each dispatch takes and gives back."""

    def __init__(self, experiment: Experiment, state: TrainState) -> None:
        self._experiment, self.state = experiment, state

    def run(self, batches: Iterator[Any]) -> Any:
        """Dispatch the steps on these batches, and wait for the last."""
        for _ in self.stepping(batches):
            pass
        return self.state

    def stepping(self, batches: Iterator[Any]) -> Iterator[None]:
        """A dispatch a turn, at most two ahead of what is done."""
        pending: collections.deque[jax.Array] = collections.deque()
        for batch in batches:
            self.state, losses = self._experiment.train_step(self.state, batch)
            pending.append(losses)
            if len(pending) == _IN_FLIGHT:
                jax.block_until_ready(pending.popleft())
            yield
