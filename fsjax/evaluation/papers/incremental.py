"""Few-shot class-incremental sessions: base classes, then a few new ones at a time, and TEEN's calibration of these.

The network is trained on the base classes and stays as it is. Session 0 tests the base classes; each session after it
adds `way` novel classes by the prototypes of `shot` images each, and tests all classes seen so far, among all of them
(Tao et al. 2020, "Few-shot class-incremental learning").
"""

import dataclasses
import logging
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fsjax.data import random
from fsjax.errors import UserError
from fsjax.evaluation.few_shot.evaluator import Evaluator, class_means
from fsjax.evaluation.few_shot.statistics import harmonic_mean
from fsjax.evaluation.few_shot.tasks import Bank
from fsjax.evaluation.papers.sessions import METRICS, PLAIN, Sessions
from fsjax.losses.arithmetic.similarity import scaled_cosine, unit
from fsjax.losses.base import matmul

logger = logging.getLogger("fsjax")


def calibrated(novel: jax.Array, base: jax.Array, *, alpha: float, tau: float) -> jax.Array:
    """New prototypes drawn towards the base prototypes that they are similar to (TEEN, Wang et al. 2023).

    `(1 - alpha) · n + alpha · unit(softmax_j(tau · <n, b_j>) · b_j)` with `n`, `b_j` at length 1.
    See docs/readings.md, "TEEN".

    Args:
      novel: `[..., new classes, dim]` prototypes.
      base: `[base classes, dim]` prototypes.
      alpha: share of the base classes; 0 leaves the direction of each prototype as it is.
      tau: how sharply the most similar base classes are preferred.

    Returns:
      `[..., new classes, dim]`, to be compared by the cosine.
    """
    novel, base = unit(novel), unit(base)
    weights = jax.nn.softmax(tau * matmul(novel, base.T), axis=-1)
    return (1 - alpha) * novel + alpha * unit(matmul(weights, base))


@dataclasses.dataclass(frozen=True)
class SessionSpec:
    """What the sessions are.

    Attributes:
      way: new classes per session.
      shot: images of each.
      seeds: how many draws of these images, seeds 0, 1, ...: the classes and their order are the class split's.
      alphas: of TEEN, one row each, all on the same draws; 0.5 is the paper's, 0.1 that of its CIFAR-100 script.
      tau: of TEEN's weights of the base classes; 16 in the released code.
    """

    way: int = 5
    shot: int = 5
    seeds: int = 10
    alphas: tuple[float, ...] = (0.5,)
    tau: float = 16.0

    def __post_init__(self) -> None:
        for name in ("way", "shot", "seeds"):
            if not getattr(self, name) >= 1:
                raise UserError(f"{name}={getattr(self, name)} of class-incremental sessions must be at least 1")
        for alpha in self.alphas:
            if not 0 <= alpha <= 1:
                raise UserError(f"TEEN's alpha={alpha:g} is the share of the base classes: it must be in [0, 1]")
        if not self.tau > 0:
            raise UserError(f"TEEN's tau={self.tau:g} must be above 0")

    @property
    def methods(self) -> dict[str, float | None]:
        """By name of a row, its alpha; None for plain prototypes."""
        return {PLAIN: None, **{f"TEEN {alpha:g}": alpha for alpha in self.alphas}}


def evaluate_sessions(evaluator: Evaluator, spec: SessionSpec) -> Sessions:
    """Class-incremental sessions of a run, by prototypes and by TEEN, all by the cosine, as TEEN has it.

    The base prototypes are the means of the training images. Shots are drawn from the novel classes' training images
    where the data have kept such (`data.keep_test`); else from the novel images, and what is drawn is not tested then.

    Args:
      evaluator: of a run with novel classes and images of base classes that were kept out of training.
      spec: of the sessions.

    Raises:
      UserError: if the data cannot make such sessions.
    """
    rule = evaluator.method.rule(evaluator.params)
    name = rule.support_pool  # of a dense rule as well: prototypes are pooled
    apart = evaluator.splits.support is not None
    _check(evaluator, spec, "support" if apart else "novel")
    train, base, novel = (evaluator.bank(part, (name,)) for part in ("train", "base", "novel"))
    pool = evaluator.bank("support", (name,)) if apart else novel
    base_prototypes = class_means(train, rule)
    labels = np.concatenate([evaluator.labels("base"), evaluator.labels("novel") + len(base.class_names)])
    features = jnp.concatenate([base.features[name], novel.features[name]])
    of_base = scaled_cosine(features, base_prototypes, 1.0)
    found: dict[str, list[dict[str, np.ndarray]]] = {method: [] for method in spec.methods}
    for seed in range(spec.seeds):
        shots = draw_shots(pool, spec.shot, seed=seed)
        counted = np.ones(len(labels), bool)
        if not apart:
            counted[len(evaluator.labels("base")) + shots.ravel()] = False
        vectors = pool.features[name][shots]
        prototypes = jnp.mean(unit(vectors) if rule.unit_support else vectors, axis=1)
        for method, alpha in spec.methods.items():
            of_method = (
                prototypes if alpha is None else calibrated(prototypes, base_prototypes, alpha=alpha, tau=spec.tau)
            )
            scores = np.concatenate([of_base, scaled_cosine(features, of_method, 1.0)], axis=1)
            found[method].append(
                session_accuracies(scores[counted], labels[counted], num_base=len(base.class_names), way=spec.way)
            )
    values = {
        method: {metric: np.stack([one[metric] for one in draws]) for metric in METRICS}
        for method, draws in found.items()
    }
    return Sessions(values, _facts(evaluator, spec, apart))


def draw_shots(pool: Bank, shot: int, *, seed: int) -> np.ndarray:
    """Positions `[classes, shot]` of each class's shots; a class's are a function of (seed, label) alone."""
    key = random.fold(random.key(seed), random.SESSIONS)
    order, table = np.asarray(pool.table.order), pool.table
    drawn = [random.permutation(random.fold(key, label), int(count))[:shot] for label, count in enumerate(table.count)]
    return np.stack([order[start + chosen] for start, chosen in zip(table.start, drawn, strict=True)])


def session_accuracies(scores: np.ndarray, labels: np.ndarray, *, num_base: int, way: int) -> dict[str, np.ndarray]:
    """The accuracies of each session, see `Sessions`.

    Args:
      scores: `[n, classes]` of test images, the base classes first, then the novel ones in the order they come.
      labels: `[n]`, in the same numbers.
      num_base: how many classes are base.
      way: novel classes per session; those that do not fill a last one are left out.

    Returns:
      By metric, float64 `[sessions + 1]`.
    """
    sessions = (scores.shape[1] - num_base) // way
    found = {name: np.full(sessions + 1, np.nan) for name in METRICS}
    for session in range(sessions + 1):
        seen = num_base + session * way
        there = labels < seen
        right = scores[there, :seen].argmax(axis=1) == labels[there]
        hits = np.bincount(labels[there], weights=right, minlength=seen)
        share = hits / np.bincount(labels[there], minlength=seen)
        base, new = share[:num_base].mean(), share[num_base:].mean() if session else np.nan
        found["base"][session], found["new"][session], found["all"][session] = base, new, share.mean()
        if session:
            found["harmonic"][session] = harmonic_mean(base, new)
    return found


def _check(evaluator: Evaluator, spec: SessionSpec, pool: str) -> None:
    """Raise a `UserError`, before anything is computed, unless every class has shots and images to be tested on."""
    for part, least in (
        ("train", 1),
        ("base", 1),
        ("novel", 1 if pool == "support" else spec.shot + 1),
        (pool, spec.shot),
    ):
        chosen = evaluator.part(part)
        counts = np.bincount(chosen.labels, minlength=len(chosen.class_names))
        smallest = int(counts.argmin())
        if counts[smallest] < least:
            raise UserError(
                f"class {chosen.class_names[smallest]!r} of {chosen.where} has {counts[smallest]} images; sessions of "
                f"{spec.shot} shots need {least}"
            )
    novel = len(evaluator.part("novel").class_names)
    if spec.way > novel:
        raise UserError(f"sessions of {spec.way} new classes cannot be made of {novel} novel classes: lower the way")
    if novel % spec.way:
        logger.warning(
            "%d of %d novel classes fill no session of %d and are left out", novel % spec.way, novel, spec.way
        )


def _facts(evaluator: Evaluator, spec: SessionSpec, apart: bool) -> dict[str, Any]:
    info = evaluator.splits.info
    return {
        "data": info.name,
        "base_classes": info.num_classes,
        "novel_classes": len(info.test_classes),
        "sessions": len(info.test_classes) // spec.way,
        "shots_from": "training images of the data set" if apart else "the novel images, the others are tested",
        "test_images": {"base": len(evaluator.labels("base")), "novel": len(evaluator.labels("novel"))},
        **dataclasses.asdict(spec),
    }
