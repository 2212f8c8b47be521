"""Few-shot tasks among novel and base classes together (generalised few-shot learning)."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from fsjax.data import EpisodeSpec, check_feasible
from fsjax.evaluation.few_shot.kept import Tally, TaskScores
from fsjax.evaluation.few_shot.tasks import (
    Bank,
    bytes_of_a_task,
    draw_tasks,
    in_groups,
    pair_of,
    scored_chunks,
    static_rule,
    take,
)
from fsjax.methods.rules import Rule, prototypes


@functools.partial(jax.jit, static_argnames="rule")
def _joint_head(
    novel: tuple[jax.Array, jax.Array],
    base: jax.Array,
    weights: jax.Array,
    tau: float,
    tasks: tuple[jax.Array, ...],
    *,
    rule: Rule,
) -> tuple[jax.Array, jax.Array]:
    """Hits of novel and of base queries among all base classes and the novel classes of the task."""
    (of_support, of_queries), num_base = novel, weights.shape[0]

    def group(part: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        support, query, base_classes, base_query = part
        means = prototypes(take(of_support, support), support >= 0, unit_support=rule.unit_support)
        everyone = jnp.concatenate([jnp.broadcast_to(weights, (means.shape[0], *weights.shape)), means], axis=1)
        present = jnp.concatenate([jnp.ones((means.shape[0], num_base), bool), jnp.any(support >= 0, axis=-1)], axis=1)

        def predict(features: jax.Array, index: jax.Array) -> jax.Array:
            queries = take(features, index.reshape(index.shape[0], -1))
            scores = rule.scores(queries, everyone, tau=tau, present=present)
            return jnp.argmax(scores, axis=-1).reshape(index.shape)

        novel_hits = predict(of_queries, query) == num_base + jnp.arange(query.shape[1])[:, None]
        return novel_hits, predict(base, base_query) == base_classes[..., None]

    support, query = tasks[:2]
    return in_groups(group, tasks, 2 * bytes_of_a_task(novel, support, query))


def score_joint_tasks(
    novel: Bank, base: Bank, weights: jax.Array, rule: Rule, *, spec: EpisodeSpec, seed: int, tasks: int
) -> dict[str, TaskScores]:
    """Queries of novel and of base classes, all scored against all base classes and the task's novel ones.

    The protocol of Gidaris & Komodakis 2018 as Lifchitz et al. use it: the weights of the base classes are
    concatenated with the prototypes of the task. Each task also draws queries of as many base classes.

    Args:
      novel, base: features of the novel classes, and of images of the base classes that were kept out of training.
      weights: `[base classes, dim]`, what stands for the base classes.
      rule: how prototypes and queries are compared.
      spec: of the tasks.
      seed: of the tasks and of their base queries.
      tasks: how many.

    Returns:
      "both", "novel" and "base": the accuracy over all, the novel, and the base queries of each task.

    Raises:
      DataError: if novel or base classes cannot make such tasks.
    """
    base_spec = dataclasses.replace(spec, shot=1)
    check_feasible(base.table, base_spec, base.class_names, base.where)
    features, of_base = pair_of(novel, rule), base.features[rule.query_pool]
    of_base_queries = Tally(base.table, 1)

    def classify(start: int, classes: jax.Array, support: jax.Array, query: jax.Array) -> list[jax.Array]:
        drawn = draw_tasks(base.table, base_spec, seed=seed, start=start, count=classes.shape[0])
        base_classes, _, base_query = drawn
        joint = (support, query, base_classes, base_query)
        hits, base_hits = _joint_head(features, of_base, weights, rule.tau, joint, rule=static_rule(rule))
        size = min(len(hits), tasks - start)
        labels, unread, queries = (np.asarray(array)[:size] for array in drawn)
        of_base_queries.add(labels, unread, queries, [np.asarray(base_hits)[:size]])
        return [hits]

    (of_novel,) = scored_chunks(novel, classify, 1, spec=spec, seed=seed, tasks=tasks)
    (of_base_tasks,) = of_base_queries.scores()
    # Their drawn support images are read nowhere: base classes stand by their weights.
    unread = np.full_like(of_base_tasks.support, -1)
    none = np.zeros(len(base.class_names), bool)
    of_base_tasks = dataclasses.replace(of_base_tasks, support=unread, new=none)
    return {"both": _joined(of_base_tasks, of_novel), "novel": of_novel, "base": of_base_tasks}


def _joined(base: TaskScores, novel: TaskScores) -> TaskScores:
    """The scores of the same tasks over both kinds of queries; novel classes and images follow the base ones."""
    first = int(base.images.sum())

    def images(name: str) -> np.ndarray:
        of_base, of_novel = (getattr(scores, name).astype(np.int32) for scores in (base, novel))
        size = max(of_base.shape[2], of_novel.shape[2])
        return np.concatenate([_padded(of_base, size), _padded(_shifted(of_novel, first), size)], axis=1)

    return TaskScores(
        classes=np.concatenate([base.classes, _shifted(novel.classes, base.num_classes)], axis=1),
        support=images("support"),
        query=images("query"),
        right=np.concatenate([base.right, novel.right], axis=1),
        images=np.concatenate([base.images, novel.images]),
        new=np.concatenate([base.new, novel.new]),
        episodes=f"{novel.episodes}+{base.episodes}",
    )


def _shifted(index: np.ndarray, by: int) -> np.ndarray:
    """An index array with others before it; -1 stays padding."""
    return np.where(index >= 0, index + by, -1)


def _padded(index: np.ndarray, size: int) -> np.ndarray:
    """An index array `[tasks, way, n]` with its last axis filled up to `size`."""
    return np.pad(index, ((0, 0), (0, 0), (0, size - index.shape[2])), constant_values=-1)
