"""Evaluation: the test images through the network; of divided classes, few-shot tasks from their features, too."""

import dataclasses
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from fsjax.benchmarking.case import Case
from fsjax.benchmarking.flops import products
from fsjax.benchmarking.machine import peak_bytes, share_of_peak
from fsjax.benchmarking.timing import in_turns, in_words
from fsjax.errors import UserError
from fsjax.evaluation.few_shot.evaluator import Evaluator, extractor
from fsjax.evaluation.few_shot.protocol import Protocol
from fsjax.methods.rules import own_pool
from fsjax.training.state import TrainState


def measure(case: Case) -> Iterator[dict[str, Any]]:
    """Images per second, reading and normalising included; tasks per second."""
    experiment = case.experiment
    state = experiment.initial_state()
    if experiment.splits.info.few_shot:
        yield from _few_shot(case, state)
        return
    placed = experiment.parallel.place(state)

    def score(turns: int) -> None:
        for _ in range(turns):
            experiment.scoring.test(placed)

    yield _of_images(case, state, score, experiment.parallel.num_devices)


def _of_images(case: Case, state: TrainState, passed: Callable[[int], None], devices: int) -> dict[str, Any]:
    """The figures of what takes every test image through the network once per turn."""
    info = case.splits.info
    if case.splits.test is None:
        raise UserError(f"{info.name} has no test images to evaluate on: name a part in config.data.test_split")
    count, shape = len(case.splits.test), info.image_shape
    one = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    flops = count * products(case.experiment.method.encode, state.params, state.collections, one)
    (spent,) = in_turns([passed], repeats=case.repeats, seconds=case.seconds)
    seconds = statistics.median(spent)
    return {
        "images_per_second": count / seconds,
        "images": count,
        **in_words(spent),
        "flops": flops,
        "flops_per_image": flops / count,
        **share_of_peak(flops, seconds, dtype=case.config.model.dtype, devices=devices),
        **peak_bytes(),
        "devices": devices,
    }


def _few_shot(case: Case, state: TrainState) -> Iterator[dict[str, Any]]:
    """Features of the novel classes' images, and tasks out of them, by the run's first number of shots."""
    method, params, collections = case.experiment.method, state.params, state.collections
    extract = extractor(method, params, collections)
    pools = (own_pool(method.encoder),)

    def fresh() -> Evaluator:
        return Evaluator(method, params, collections, case.splits, extract, case.config.eval.batch_size)

    def embed(turns: int) -> None:
        for _ in range(turns):
            fresh().bank("novel", pools)

    yield {"part": "embed", **_of_images(case, state, embed, 1)}
    whole = Protocol.of(case.config.few_shot)
    protocol = dataclasses.replace(whole, classes=("novel",), shots=whole.shots[:1], poolings=whole.poolings[:1])
    evaluator = fresh()

    def score(turns: int) -> None:
        for _ in range(turns):
            list(evaluator.figures(protocol))

    (spent,) = in_turns([score], repeats=case.repeats, seconds=case.seconds)
    yield {
        "part": "tasks",
        "tasks_per_second": protocol.tasks / statistics.median(spent),
        "tasks": protocol.tasks,
        "task": str(protocol.specs()[0]),
        **in_words(spent),
        **peak_bytes(),
        "devices": 1,
    }
