"""Implants: tasks whose inner optimizer trains beside the frozen network, from activations that are there."""

import statistics
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from fsjax.benchmarking.case import Case
from fsjax.benchmarking.flops import products
from fsjax.benchmarking.machine import peak_bytes, share_of_peak
from fsjax.benchmarking.timing import in_turns, in_words
from fsjax.data import EpisodeSpec, ends
from fsjax.errors import UserError
from fsjax.evaluation.few_shot.class_pools import find_pool
from fsjax.evaluation.few_shot.implanted import FrozenNetwork, score_implanted
from fsjax.evaluation.few_shot.protocol import Protocol
from fsjax.evaluation.few_shot.tasks import Bank
from fsjax.methods.implants import ImplantOptions, base_activations, implant_maps, train_implants

_TASKS = 32


def measure(case: Case) -> Iterator[dict[str, Any]]:
    """Tasks a second of the config's first number of shots, on the novel classes.

    Raises:
      UserError: if the config trains no implants, or its data have no novel classes.
    """
    method, implants = case.experiment.method, case.experiment.method.implants
    if implants is None or not case.splits.info.few_shot:
        raise UserError(
            "implants are measured on a config that trains them, of divided classes: --config implants_tiny"
        )
    state = case.experiment.initial_state()
    part, spec = find_pool(case.splits, "novel"), Protocol.of(case.config.few_shot).specs()[0]
    frozen = FrozenNetwork(
        method, state.params, state.collections, part.examples, case.splits.info, case.config.eval.batch_size
    )
    bank = Bank.of({}, part.labels, part.class_names, part.where)
    rules = [method.rule(state.params)]

    def run(turns: int) -> None:
        for _ in range(turns):
            score_implanted(frozen, bank, rules, options=implants, spec=spec, seed=0, tasks=_TASKS)

    (spent,) = in_turns([run], repeats=case.repeats, seconds=case.seconds)
    seconds = statistics.median(spent)
    flops = _TASKS * flops_of_task(method.encoder, case.splits.info.image_shape, spec, implants)
    yield {
        "tasks_per_second": _TASKS / seconds,
        "tasks": _TASKS,
        "task": str(spec),
        **in_words(spent),
        "flops": flops,
        "flops_per_task": flops / _TASKS,
        **share_of_peak(flops, seconds, dtype="float32", devices=1),
        **peak_bytes(),
        "devices": 1,
    }


def flops_of_task(encoder: Any, image_shape: tuple[int, int, int], spec: EpisodeSpec, options: ImplantOptions) -> float:
    """Operations of the products of one task: all steps on its support images, and the maps of all its images.

    Args:
      encoder: the frozen network.
      image_shape: of an image.
      spec: of the task; of a range, the largest.
      options: of the implants.
    """
    way, shot, query = (ends(x)[1] for x in (spec.way, spec.shot, spec.query))

    def activations(images: int) -> Any:
        batch = jax.ShapeDtypeStruct((images, *image_shape), jnp.float32)
        variables = jax.eval_shape(lambda x: encoder.init(jax.random.key(0), x, train=False), batch)
        found = jax.eval_shape(lambda v, x: base_activations(encoder, v, x), variables, batch)
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct((1, *x.shape), x.dtype), found)

    def task(support: Any, queries: Any, keys: jax.Array) -> Any:
        labels = jnp.repeat(jnp.arange(way), shot)[None]
        mask = jnp.ones(labels.shape, jnp.float32)
        trained = train_implants(support, labels, mask, keys, options=options, num_ways=way)
        return [implant_maps(*trained, x, options) for x in (support, queries)]

    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 1))
    return products(task, activations(way * shot), activations(way * query), keys)
