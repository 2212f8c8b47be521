"""Classification metrics from sums that add up over batches and devices."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fsjax.errors import UserError
from fsjax.evaluation import chosen_metrics

# Training images of a class: "medium" are from FEW to MANY.
MANY, FEW = 100, 20


def classification_sums(logits: jax.Array, labels: jax.Array, weights: jax.Array) -> dict[str, jax.Array]:
    """What one batch adds to the metrics; jit-able.

    Sums of different devices and batches add up, by `jax.lax.psum` and on the host: there in int64 and
    float64, so that many batches stay exact. Counts are int32, since float32 stops counting at 2^24. Where
    logits tie, the smaller index comes first, as in `argmax`. NaN logits are wrong.

    Args:
      logits: `[batch, classes]` floats.
      labels: `[batch]` integers in `[0, classes)`, also in rows of padding.
      weights: `[batch]`, 1 (or True) for examples and 0 for padding, whose logits may be anything.

    Returns:
      `correct`: `[classes]` int32, examples of each class that were classified rightly; `count`: `[classes]`
      int32, examples of each class; `weight`: int32, all examples; `top5_correct`: int32; `nll`: float32, the
      sum of the negative log-likelihoods under `softmax(logits)`.
    """
    logits = logits.astype(jnp.float32)
    real = weights.astype(bool)
    num_classes = logits.shape[-1]
    rank = _rank_of_label(logits, labels)
    members = jax.nn.one_hot(labels, num_classes, dtype=jnp.int32) * real[:, None].astype(jnp.int32)
    log_likelihood = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=-1)[:, 0]
    return {
        "correct": jnp.sum(members * (rank == 0)[:, None], axis=0),
        "count": jnp.sum(members, axis=0),
        "weight": jnp.sum(real, dtype=jnp.int32),
        "top5_correct": jnp.sum(jnp.where(real, rank < 5, False), dtype=jnp.int32),
        "nll": -jnp.sum(jnp.where(real, log_likelihood, 0.0)),
    }


def _rank_of_label(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """How many classes come before the label, `[batch]` int32; the number of classes where a logit is NaN."""
    own = jnp.take_along_axis(logits, labels[:, None], axis=-1)
    earlier = jnp.arange(logits.shape[-1]) < labels[:, None]
    before = (logits > own) | ((logits == own) & earlier)
    broken = jnp.any(jnp.isnan(logits), axis=-1)
    return jnp.where(broken, logits.shape[-1], jnp.sum(before, axis=-1, dtype=jnp.int32))


def summarize(
    sums: Mapping[str, Any], *, class_counts: Sequence[int] | None = None, also: Sequence[str] = ()
) -> dict[str, float]:
    """The metrics of sums over a whole data set.

    Args:
      sums: those of `classification_sums`, added up.
      class_counts: `[classes]` training examples of each class. If given, the accuracy over many-, medium-
        and few-shot classes is reported: more than 100, 20 to 100, and fewer than 20 training examples (Liu
        et al. 2019). Like `balanced_accuracy`, these are means of the classes' own accuracies.
      also: further metrics by name, see `fsjax.options.metrics`.

    Returns:
      `num_examples`, `accuracy`, `balanced_accuracy` (mean over the classes that have examples), `nll` (mean,
      in nats), `top5_accuracy` if there are more than 5 classes, and `many_shot_accuracy`,
      `medium_shot_accuracy` and `few_shot_accuracy` for the groups that have a class with examples. Fractions
      of 1.

    Raises:
      UserError: if nothing was counted.
      ValueError: if `class_counts` is of another number of classes.
    """
    correct, count = (np.asarray(sums[key], np.int64) for key in ("correct", "count"))
    total = int(sums["weight"])
    if total == 0:
        raise UserError("no example was counted: the evaluation data are empty, or padding only")
    present = count > 0
    metrics = {
        "num_examples": float(total),
        "accuracy": float(correct.sum() / total),
        "balanced_accuracy": float(chosen_metrics.class_accuracies(sums).mean()),
        "nll": float(np.asarray(sums["nll"], np.float64) / total),
    }
    if len(count) > 5:
        metrics["top5_accuracy"] = float(np.asarray(sums["top5_correct"], np.int64) / total)
    if class_counts is not None:
        training = np.asarray(class_counts)
        if training.shape != count.shape:
            raise ValueError(f"class_counts has shape {training.shape}, but there are {len(count)} classes")
        groups = shot_groups(np.divide(correct, count, out=np.full(len(count), np.nan), where=present), training)
        metrics |= {f"{name}_shot_accuracy": accuracy for name, accuracy in groups.items()}
    return metrics | chosen_metrics.chosen(also, sums, class_counts)


def by_class(sums: Mapping[str, Any], class_names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What the metrics are of each class that has examples, by name.

    Args:
      sums: as for `summarize`.
      class_names: by label.

    Returns:
      `count`, how many examples, and `per_class`, the share of them that was classified rightly.
    """
    rows = [row for row in zip(class_names, sums["correct"], sums["count"], strict=True) if row[2]]
    return {
        "count": {name: int(count) for name, _, count in rows},
        "per_class": {name: float(correct / count) for name, correct, count in rows},
    }


def shot_groups(accuracy: np.ndarray, training: np.ndarray) -> dict[str, float]:
    """Mean accuracy of the classes with many, some and few training images (Liu et al. 2019).

    Args:
      accuracy: `[classes]`, NaN for a class without examples.
      training: `[classes]` training images.

    Returns:
      By "many" (more than `MANY`), "medium" and "few" (fewer than `FEW`), those that have a class with examples.
    """
    masks = {"many": training > MANY, "medium": (training >= FEW) & (training <= MANY), "few": training < FEW}
    there = ~np.isnan(accuracy)
    return {name: float(accuracy[mask & there].mean()) for name, mask in masks.items() if (mask & there).any()}
