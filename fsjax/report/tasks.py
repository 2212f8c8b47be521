"""Few-shot tasks of a run's data: the accuracy of each, and the worst with their pictures."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from fsjax import data
from fsjax.data import EpisodeSpec
from fsjax.errors import UserError
from fsjax.evaluation.few_shot.protocol import Figure, Protocol
from fsjax.evaluation.few_shot.tasks import Bank, draw_tasks, pair_of, take
from fsjax.methods.rules import Rule, own_pool
from fsjax.options.few_shot import CLASSES
from fsjax.report.opened import Opened


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """A few-shot task with its pictures.

    Attributes:
      number: of the task; it and the seed give the task again.
      accuracy: over its queries.
      classes: names of its classes.
      support: uint8 images of each class.
      query: likewise.
      taken_for: of each class, for each of its queries which of `classes` it is taken for.
    """

    number: int
    accuracy: float
    classes: tuple[str, ...]
    support: tuple[np.ndarray, ...]
    query: tuple[np.ndarray, ...]
    taken_for: tuple[np.ndarray, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Worst:
    """The worst tasks of one figure."""

    figure: Figure
    tasks: tuple[Task, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Tasked:
    """What a run does on few-shot tasks.

    Attributes:
      name: of the run.
      step: of its checkpoint.
      figures: one for each number of shots, by the run's own rule, without implants.
      worst: of the one with the most shots: what goes wrong there is least for want of examples.
      class_names: of the classes that the tasks are drawn from.
      labels: int `[n]` of all their images.
      embeddings: float32 `[n, dim]`, which the rule compares; `[0, dim]` once a page has what it shows of them.
    """

    name: str
    step: int
    figures: tuple[Figure, ...]
    worst: Worst
    class_names: tuple[str, ...]
    labels: np.ndarray
    embeddings: np.ndarray


def evaluate(opened: Opened, split: str, *, like: Protocol | None, tasks: int, worst: int) -> tuple[Tasked, Protocol]:
    """Evaluate a run on tasks, every image through its network once.

    Args:
      opened: the run.
      split: whose classes the tasks are drawn from.
      like: ways, shots, queries and seed, so that several runs meet the same tasks; None: those of the run's config.
      tasks: how many of each number of shots.
      worst: how many to keep with their pictures.

    Returns:
      What was found, and the protocol.

    Raises:
      UserError: if there are no such images, or they cannot make such tasks.
    """
    evaluator, kind = opened.evaluator(), opened.kind(split)
    if kind not in CLASSES:
        raise UserError(
            f"no tasks are drawn from the {split} split, which the network knows: take --split base or test"
        )
    own = Protocol.of(opened.run.config.few_shot)
    asked = dataclasses.replace(
        like or own, classes=(kind,), tasks=tasks, poolings=own.poolings[:1], inference_tau=own.inference_tau
    )
    (rule,) = asked.rules(evaluator.method.rule(evaluator.params), embedding=own_pool(evaluator.method.encoder))
    # All features at once: an image goes through the network once.
    bank = evaluator.bank(kind, rule.features)
    figures = tuple(evaluator.figures(asked))
    pool = rule.support_pool if rule.query_pool == "dense" else rule.query_pool
    specs = asked.specs()
    most = max(range(len(specs)), key=lambda number: specs[number].max_shot)
    examples, figure = evaluator.examples(kind), figures[most]
    found = worst_tasks(examples, bank, rule, figure, specs[most], seed=asked.seed, count=worst)
    labels, embeddings = evaluator.labels(kind), np.asarray(bank.features[pool])
    return Tasked(
        opened.name, opened.run.step, figures, Worst(figure, found), bank.class_names, labels, embeddings
    ), asked


def worst_tasks(
    examples: data.Examples, bank: Bank, rule: Rule, figure: Figure, spec: EpisodeSpec, *, seed: int, count: int
) -> tuple[Task, ...]:
    """The tasks of a figure with the lowest accuracy, the lowest first; of equals the first one.

    Args:
      examples: the images that the tasks are drawn from.
      bank: their features.
      rule: of prediction.
      figure, spec, seed: of the tasks.
      count: how many.
    """
    numbers = np.argsort(figure.accuracy, kind="stable")[:count]
    return tuple(_task(examples, bank, rule, spec, seed, int(number)) for number in numbers)


def _task(examples: data.Examples, bank: Bank, rule: Rule, spec: EpisodeSpec, seed: int, number: int) -> Task:
    drawn = draw_tasks(bank.table, spec, seed=seed, start=number, count=1)
    classes, support, query = (np.asarray(array)[0] for array in drawn)
    taken_for = predictions(bank, rule, support, query)
    ways = [way for way, label in enumerate(classes) if label >= 0]
    real = query >= 0
    right = (taken_for == np.arange(len(classes))[:, None]) & real
    return Task(
        number,
        float(right.sum() / real.sum()),
        tuple(bank.class_names[classes[way]] for way in ways),
        _pictures(examples, support, ways),
        _pictures(examples, query, ways),
        tuple(taken_for[way][real[way]] for way in ways),
    )


def predictions(bank: Bank, rule: Rule, support: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Which way each query of a task is taken for, int `[way, query]`, given positions in the bank; -1 is padding."""
    of_support, of_queries = pair_of(bank, rule)
    queries = take(of_queries, jnp.asarray(query.ravel()))
    features: Any = take(of_support, jnp.asarray(support))
    scores = rule.task_scores(queries, features, jnp.asarray(support >= 0))
    return np.asarray(jnp.argmax(scores, axis=-1)).reshape(query.shape)


def _pictures(examples: data.Examples, positions: np.ndarray, ways: Sequence[int]) -> tuple[np.ndarray, ...]:
    return tuple(data.images_at(examples, positions[way][positions[way] >= 0]) for way in ways)
