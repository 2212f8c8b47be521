"""Linear evaluation: naive Bayes fitted on a trained network's embeddings, beside the network's own classifier."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from fsjax import data
from fsjax.errors import UserError
from fsjax.methods.base import Method, Variables
from fsjax.methods.naive_bayes import GaussianNaiveBayes


def naive_bayes_of_run(
    method: Method, params: Variables, collections: Variables, splits: data.Splits, *, batch_size: int
) -> tuple[GaussianNaiveBayes, dict[str, Any]]:
    """Naive Bayes of the training images' embeddings, and the accuracies on the test images.

    The training images are passed once, as they are (without augmentation), and none of their embeddings is kept.

    Args:
      method: see `fsjax.methods`.
      params, collections: its trained variables, one copy.
      splits: its data.
      batch_size: images at once.

    Returns:
      The classifier; and "accuracy", on the test images, "own_accuracy", of the method's own classifier, "train" and
      "test", the numbers of images.

    Raises:
      UserError: for data without a test part, and methods without a classifier of their own.
    """
    if splits.test is None:
        raise UserError(f"{splits.info.name} has no test images to evaluate on: name a part in config.data.test_split")
    embed = jax.jit(lambda batch: method.embed(params, collections, batch["image"]))
    logits = jax.jit(lambda batch: method.logits(params, collections, batch["image"]))
    update = jax.jit(lambda head, batch: head.update(embed(batch), batch["label"], weights=batch["weight"]))
    size = {"batch_size": batch_size, "info": splits.info}
    head: Any = None
    train = 0
    for batch in _batches(splits.train, **size):
        if head is None:
            dim = jax.eval_shape(embed, batch).shape[1]
            head = _empty(splits.info.num_classes, dim)
        head = update(head, batch)
        train += int(batch["weight"].sum())
    scores = jax.jit(lambda batch: head.scores(embed(batch)))
    hits = {"accuracy": 0, "own_accuracy": 0}
    for batch in _batches(splits.test, **size):
        for name, function in (("accuracy", scores), ("own_accuracy", logits)):
            hits[name] += _hits(function, batch)
    test = len(splits.test)
    return head, {**{name: count / test for name, count in hits.items()}, "train": train, "test": test}


def _batches(examples: data.Examples, **size: Any) -> Any:
    for batch in data.eval_batches(examples, **size):
        yield {name: batch[name] for name in ("image", "label", "weight")}


def _empty(num_classes: int, dim: int) -> GaussianNaiveBayes:
    zeros: Any = np.zeros((num_classes, dim), np.float32)  # of the first update, which gives arrays of jax
    return GaussianNaiveBayes(zeros[:, 0], zeros, zeros)


def _hits(scores: Callable[..., jax.Array], batch: dict[str, np.ndarray]) -> int:
    right = np.argmax(np.asarray(scores(batch)), axis=-1) == batch["label"]
    return int((right & (batch["weight"] > 0)).sum())
