"""Few-shot tasks over features: each image is embedded once, tasks are index arrays, the head is one jitted function.

No image goes through a network here, so ten thousand tasks cost about what a hundred do, and the memory that is
needed does not depend on their number, but for what is kept of them (`fsjax.evaluation.few_shot.kept`).
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fsjax.data import ClassTable, Episodes, EpisodeSpec, check_feasible, class_table
from fsjax.data import random as host_random
from fsjax.device_data import draw_episodes
from fsjax.evaluation.few_shot.kept import Tally, TaskScores
from fsjax.methods.rules import Rule

# Tasks whose indices are drawn at once.
_CHUNK = 1024
# Bytes of features that are gathered at once: what stays in a CPU's cache. 16 tasks of 5-way 5-shot 15-query on 512-d
# embeddings: 57,000 tasks/s at once, 7,000 where 256 were gathered (2 cores, jax 0.10.2).
_GATHERED = {"cpu": 4 * 2**20}
_GATHERED_ELSEWHERE = 256 * 2**20


@dataclasses.dataclass(frozen=True, eq=False)
class Bank:
    """The features of a split's images, each computed once.

    Attributes:
      features: by name (`fsjax.methods.rules.FEATURES`): `[n, dim]`, of "dense" `[n, positions, dim]`.
      table: which images each class has.
      class_names: by label.
      where: what the classes are, for messages: "the novel classes".
    """

    features: dict[str, jax.Array]
    table: ClassTable
    class_names: tuple[str, ...]
    where: str

    @classmethod
    def of(cls, features: dict[str, Any], labels: np.ndarray, class_names: tuple[str, ...], where: str) -> "Bank":
        """A bank of features with the labels `[n]` of their images."""
        features = {name: jnp.asarray(array) for name, array in features.items()}
        return cls(features, class_table(labels, len(class_names)), class_names, where)


def score_tasks(
    bank: Bank, rules: Sequence[Rule], *, spec: EpisodeSpec, seed: int, tasks: int, episodes: Episodes | None = None
) -> list[TaskScores]:
    """Classify the queries of many tasks by their prototypes, by each of several rules.

    Args:
      bank: features of the split that the tasks are drawn from.
      rules: how.
      spec: of the tasks.
      seed: of the tasks; task i is a function of (seed, i).
      tasks: how many.
      episodes: a list of tasks to take instead of drawn ones.

    Returns:
      The scores by rule.

    Raises:
      DataError: if the classes cannot make such tasks.
    """

    def classify(start: int, classes: jax.Array, support: jax.Array, query: jax.Array) -> list[jax.Array]:
        return [_head(pair_of(bank, rule), rule.tau, support, query, rule=static_rule(rule)) for rule in rules]

    return scored_chunks(bank, classify, len(rules), spec=spec, seed=seed, tasks=tasks, episodes=episodes)


def scored_chunks(
    bank: Bank,
    classify: Callable[..., Sequence[jax.Array | np.ndarray]],
    num_rules: int,
    *,
    spec: EpisodeSpec,
    seed: int,
    tasks: int,
    episodes: Episodes | None = None,
    chunk: int = _CHUNK,
) -> list[TaskScores]:
    """Draw the tasks chunk by chunk, have them classified, and count.

    Args:
      bank: whose table the tasks are drawn from; its features are not read.
      classify: `(number, classes, support, query)`, index arrays of the tasks from this number on, to one bool array
        `[tasks, way, query]` a rule: whether each query is classified rightly.
      num_rules: how many.
      spec, seed, tasks, episodes: see `score_tasks`.
      chunk: tasks at once.
    """
    check_feasible(bank.table, spec, bank.class_names, bank.where)
    tally = Tally(bank.table, num_rules)
    for start, size, *indices in _chunks(bank.table, spec, seed, tasks, episodes, chunk):
        found = classify(start, *indices)
        classes, support, query = (np.asarray(index)[:size] for index in indices)
        tally.add(classes, support, query, [np.asarray(hits)[:size] for hits in found])
    return tally.scores()


def _chunks(
    table: ClassTable, spec: EpisodeSpec, seed: int, tasks: int, episodes: Episodes | None, chunk: int
) -> Iterator[tuple[Any, ...]]:
    """`(number, size, classes, support, query)` of all tasks in chunks of one shape, so that one program serves all.

    Only the first `size` tasks of a chunk count; what fills up the last one are tasks as well.
    """
    total, first = (tasks, 0) if episodes is None else (len(episodes), episodes.facts.get("start", 0))
    chunk = min(chunk, total)
    for start in range(0, total, chunk):
        if episodes is None:
            arrays: tuple[Any, ...] = draw_tasks(table, spec, seed=seed, start=start, count=chunk)
        else:
            index = np.minimum(np.arange(start, start + chunk), total - 1)
            arrays = episodes.classes[index], episodes.support[index], episodes.query[index]
        yield first + start, min(chunk, total - start), *arrays


def draw_tasks(
    table: ClassTable, spec: EpisodeSpec, *, seed: int, start: int, count: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`classes`, `support`, `query` of tasks, see `fsjax.device_data.draw_episodes`; another seed compiles nothing."""
    return _draw(table, np.array(host_random.key(seed), np.uint32), start, spec=spec, count=count)


@functools.partial(jax.jit, static_argnames=("spec", "count"))
def _draw(
    table: ClassTable, key: jax.Array, start: int, *, spec: EpisodeSpec, count: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    return draw_episodes(table, spec, seed=key, start=start, count=count)


def static_rule(rule: Rule) -> Rule:
    """The rule as a static argument: a learned scale, which changes, is given beside it."""
    return dataclasses.replace(rule, tau=1.0)


def pair_of(bank: Bank, rule: Rule) -> tuple[jax.Array, jax.Array]:
    """The features of a bank that a rule reads: of support images, and of queries."""
    return bank.features[rule.support_pool], bank.features[rule.query_pool]


@functools.partial(jax.jit, static_argnames="rule")
def _head(
    features: tuple[jax.Array, jax.Array],
    tau: float,
    support: jax.Array,
    query: jax.Array,
    *,
    rule: Rule,
) -> jax.Array:
    """Whether each query is classified rightly, bool `[tasks, way, query]`."""
    of_support, of_queries = features

    def group(part: tuple[jax.Array, jax.Array]) -> jax.Array:
        support, query = part
        queries = take(of_queries, query.reshape(query.shape[0], -1))
        scores = rule.task_scores(queries, take(of_support, support), support >= 0, tau=tau)
        predicted = jnp.argmax(scores, axis=-1).reshape(query.shape)
        return predicted == jnp.arange(query.shape[1])[:, None]

    return in_groups(group, (support, query), bytes_of_a_task(features, support, query))


def take(features: jax.Array, index: jax.Array) -> jax.Array:
    """The features of images; -1, padding, gives those of some image, which count nowhere.

    Clipped, as nothing is out of bounds: with jax's default, which looks, 1,024 tasks took 45 ms, and 33 ms so.
    """
    return jnp.take(features, index, axis=0, mode="clip")


def bytes_of_a_task(features: tuple[jax.Array, jax.Array], support: jax.Array, query: jax.Array) -> int:
    """What is gathered for one task, given the `pair_of` features and the index arrays of tasks."""
    of_support, of_queries = features
    images = ((support, of_support), (query, of_queries))
    return sum(int(np.prod(index.shape[1:])) * int(np.prod(f.shape[1:])) * 4 for index, f in images)


def in_groups(function: Callable[[Any], Any], tasks: Any, bytes_a_task: int) -> Any:
    """`function` over the leading axis of `tasks`, as many at once as the memory nearest to the processor holds.

    Args:
      function: arrays `[group, ...]` -> an array `[group, ...]`.
      tasks: a tree of arrays `[tasks, ...]`.
      bytes_a_task: what the function gathers for one task.
    """
    count = jax.tree.leaves(tasks)[0].shape[0]
    budget = _GATHERED.get(jax.default_backend(), _GATHERED_ELSEWHERE)
    size = int(np.clip(budget // max(bytes_a_task, 1), 1, count))
    groups = -(-count // size)
    padded = jax.tree.map(lambda x: jnp.pad(x, ((0, groups * size - count), *[(0, 0)] * (x.ndim - 1))), tasks)
    grouped = jax.tree.map(lambda x: x.reshape(groups, size, *x.shape[1:]), padded)
    result = jax.lax.map(function, grouped)
    return jax.tree.map(lambda x: x.reshape(groups * size, *x.shape[2:])[:count], result)
