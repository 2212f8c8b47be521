"""Few-shot tasks with implants: the network is widened and adapted on each task's support images."""

import functools
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fsjax import data
from fsjax.errors import UserError
from fsjax.evaluation.few_shot.kept import TaskScores
from fsjax.evaluation.few_shot.tasks import Bank, scored_chunks, static_rule
from fsjax.methods.base import Method, Variables
from fsjax.methods.implants import Activations, ImplantOptions, base_activations, implant_maps, train_implants
from fsjax.methods.rules import Rule, feature_of_maps, prototypes

logger = logging.getLogger("fsjax")

# A split's activations are computed once and kept up to this share of the memory that is free; beyond it, those of each
# chunk of tasks are.
_KEPT_SHARE = 0.5
# Bytes of activations of the tasks that train side by side.
_CHUNK_BYTES = {"cpu": 2**28}
_CHUNK_BYTES_ELSEWHERE = 2**32


def score_implanted(
    frozen: "FrozenNetwork",
    bank: Bank,
    rules: Sequence[Rule],
    *,
    options: ImplantOptions,
    spec: data.EpisodeSpec,
    seed: int,
    tasks: int,
    episodes: data.Episodes | None = None,
) -> list[TaskScores]:
    """Train implants for each task, and classify its queries by the widened maps, by each of several rules.

    Task i's implants start from (seed, i).

    Args:
      frozen: the trained network, over the split that the tasks are drawn from; nothing of it changes.
      bank: of that split; only its table of classes is read.
      rules: how queries are classified.
      options: of the implants.
      spec, seed, tasks, episodes: see `fsjax.evaluation.few_shot.tasks.score_tasks`.

    Returns:
      Scores by rule, in their order.

    Raises:
      UserError: for tasks of one shot.
    """
    check_spec(spec)
    budget = _CHUNK_BYTES.get(jax.default_backend(), _CHUNK_BYTES_ELSEWHERE)
    chunk = int(np.clip(budget // (frozen.bytes_an_image * spec.rows), 1, tasks))
    static, taus = tuple(map(static_rule, rules)), [rule.tau for rule in rules]

    def classify(number: int, classes: jax.Array, support: jax.Array, query: jax.Array) -> list[np.ndarray]:
        count, indices = len(classes), [np.asarray(index) for index in (support, query)]
        activations = [frozen(np.maximum(index, 0).reshape(count, -1)) for index in indices]
        keys, real = _keys(seed, number + jnp.arange(count)), jnp.asarray(indices[0] >= 0)
        found = _adapt_and_classify(*activations, real, keys, taus, options=options, rules=static)
        return [np.asarray(hits).reshape(query.shape) for hits in found]

    common: dict[str, Any] = {"spec": spec, "seed": seed, "tasks": tasks, "episodes": episodes}
    return scored_chunks(bank, classify, len(rules), chunk=chunk, **common)


def check_spec(spec: data.EpisodeSpec) -> None:
    """Raise a `UserError`, with the reason, for tasks in which a class may have a single support image."""
    if data.ends(spec.shot)[0] < 2:
        raise UserError(
            f"implants cannot be trained on {spec} tasks: they learn by leaving one support image out and classifying "
            "it against prototypes of the others (Lifchitz et al. 2019, Eq. 11), so every class needs at least 2; "
            "take 2 shots or more, or evaluate without implants"
        )


@functools.partial(jax.jit, static_argnames=("options", "rules"))
def _adapt_and_classify(
    support: Activations,
    queries: Activations,
    real: jax.Array,
    keys: jax.Array,
    taus: list[float],
    *,
    options: ImplantOptions,
    rules: tuple[Rule, ...],
) -> list[jax.Array]:
    """Whether each query is classified rightly by each rule, bool `[tasks, way * query]`."""
    tasks, way, shot = real.shape
    labels = jnp.broadcast_to(jnp.repeat(jnp.arange(way), shot), (tasks, way * shot))
    mask = real.reshape(tasks, way * shot).astype(jnp.float32)
    params, stats = train_implants(support, labels, mask, keys, options=options, num_ways=way)
    of_support, of_queries = (implant_maps(params, stats, x, options) for x in (support, queries))
    present = jnp.any(real, axis=-1)
    wanted = jnp.repeat(jnp.arange(way), of_queries.shape[1] // way)
    found = []
    for rule, tau in zip(rules, taus, strict=True):
        pooled = _reduced(of_support, rule.support_pool).reshape(tasks, way, shot, -1)
        means = prototypes(pooled, real, unit_support=rule.unit_support)
        scores = rule.scores(_reduced(of_queries, rule.query_pool), means, tau=tau, present=present)
        found.append(jnp.argmax(scores, axis=-1) == wanted)
    return found


def _reduced(maps: jax.Array, pool: str) -> jax.Array:
    """Features of widened maps `[tasks, n, h, w, dim]`: `[tasks, n, ...]`."""
    flat = maps.reshape(-1, *maps.shape[2:])
    features = feature_of_maps(flat, pool)
    return features.reshape(*maps.shape[:2], *features.shape[1:])


@functools.partial(jax.jit, static_argnames="seed")
def _keys(seed: int, tasks: jax.Array) -> jax.Array:
    return jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(seed)))(tasks)


class FrozenNetwork:
    """The frozen network's activations of a split's images: positions `[...]` -> `[..., h, w, c]`.

    Computed once for the whole split where they fit in half of the free memory, else once for each call.
    """

    def __init__(
        self,
        method: Method,
        params: Variables,
        collections: Variables,
        examples: data.Examples,
        info: data.DataInfo,
        batch_size: int,
    ) -> None:
        self._examples, self._info, self._batch_size = examples, info, batch_size
        self._variables = {"params": params["encoder"], "batch_stats": collections["batch_stats"]}
        self._encode = jax.jit(functools.partial(base_activations, method.encoder))
        image = jax.ShapeDtypeStruct((1, *info.image_shape), jnp.float32)
        one = jax.tree.leaves(jax.eval_shape(self._encode, self._variables, image))
        self.bytes_an_image = sum(int(np.prod(x.shape)) * x.dtype.itemsize for x in one)
        size = self.bytes_an_image * len(examples)
        self._keep = size <= _KEPT_SHARE * _free_memory()
        self._kept: Activations | None = None
        if not self._keep:
            logger.warning(
                "the activations of %d images, %.1f GiB, are not kept: each chunk of tasks computes its own, "
                "which takes longer",
                len(examples),
                size / 2**30,
            )

    def __call__(self, index: np.ndarray) -> Activations:
        """The activations of the images at these positions of the split."""
        if self._keep:
            if self._kept is None:
                self._kept = self._compute(np.arange(len(self._examples)))
            return jax.tree.map(lambda x: x[index], self._kept)
        images, where = np.unique(index, return_inverse=True)
        return jax.tree.map(lambda x: x[where.reshape(index.shape)], self._compute(images))

    def _compute(self, index: np.ndarray) -> Activations:
        parts = []
        for images, count in normalized_batches(self._examples, index, self._info, self._batch_size):
            found = self._encode(self._variables, images)
            parts.append(jax.tree.map(lambda x, count=count: np.asarray(x[:count]), found))
        return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)


def _free_memory() -> int:
    """Bytes of memory that are free, or 8 GiB where the system does not say."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return 8 * 2**30


def normalized_batches(
    examples: data.Examples, index: np.ndarray, info: data.DataInfo, batch_size: int
) -> Iterator[tuple[np.ndarray, int]]:
    """Normalised images at these positions in batches of one size, and how many of each are real."""
    for start in range(0, len(index), batch_size):
        part = index[start : start + batch_size]
        filled = np.concatenate([part, np.repeat(part[:1], batch_size - len(part))])
        yield data.normalize(data.images_at(examples, filled), info), len(part)
