"""A split through a run's classifier, once: what is taken for what, how surely, and its worst mistakes."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fsjax import data
from fsjax.evaluation.analysis.activation_maps import class_activation_maps, overlay
from fsjax.evaluation.analysis.geometry import linear_classifier
from fsjax.evaluation.over_split import over_examples
from fsjax.methods.rules import own_pool
from fsjax.report.opened import Opened

# Poolings of which every position of the maps has its share: weights of what they give are weights of positions.
_POOLED = ("gap", "gmp", "kmax4")


@dataclasses.dataclass(frozen=True, eq=False)
class Mistake:
    """A picture that is classified wrongly.

    Attributes:
      position: in the split.
      image: uint8 `[height, width, channels]`.
      seen: the same under the activation map of the class it is taken for, or the crop that the network saw; uint8, or
        None where there is neither.
      label, predicted: its class, and the one it is taken for.
      confidence, own: the probabilities of the two, predicted first.
    """

    position: int
    image: np.ndarray
    seen: np.ndarray | None
    label: int
    predicted: int
    confidence: float
    own: float


@dataclasses.dataclass(frozen=True, eq=False)
class Classified:
    """What a run's classifier says of a split.

    Attributes:
      name: of the run.
      step: of its checkpoint.
      class_names: by label.
      training: training images of each class.
      labels, predicted: int `[n]`.
      confidence: float64 `[n]`, the probability of the predicted class: the softmax of the scores of the run's rule.
      own: float64 `[n]`, that of the image's own class.
      embeddings: float32 `[n, dim]`; `[0, dim]` once a page has what it shows of them.
      mistakes: the most confident wrong ones, the most confident first.
      seen: what the second picture of a mistake is, in words; empty where there is none.
      images: a digest of all images, by which splits are told apart.
    """

    name: str
    step: int
    class_names: tuple[str, ...]
    training: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    own: np.ndarray
    embeddings: np.ndarray
    mistakes: tuple[Mistake, ...]
    seen: str
    images: str

    @property
    def right(self) -> np.ndarray:
        """bool `[n]`."""
        return self.predicted == self.labels

    @property
    def confusion(self) -> np.ndarray:
        """int64 `[classes, classes]`: images of a class, a row, that are taken for another, a column."""
        found = np.zeros((len(self.class_names), len(self.class_names)), np.int64)
        np.add.at(found, (self.labels, self.predicted), 1)
        return found

    def same_images(self, other: "Classified") -> bool:
        """Whether two runs saw the same images in the same order, of classes of the same names."""
        same = self.class_names == other.class_names and self.images == other.images
        return same and np.array_equal(self.labels, other.labels)


def classify(opened: Opened, split: str, *, mistakes: int) -> Classified:
    """Put a split through a run's network, every image once.

    Args:
      opened: the run, which classifies the classes of this split: see `Opened.classifies`.
      split: "train", "validation", "base" or "test".
      mistakes: how many of the most confident ones to keep the pictures of.

    Raises:
      UserError: if there is no such split, or an image of it cannot be read.
    """
    run, examples = opened.run, data.watched(opened.examples(split))

    def of_images(images: jax.Array) -> tuple[jax.Array, ...]:
        known = (run.params, run.collections, images)
        return run.method.embed(*known), run.method.logits(*known)

    found = over_examples(of_images, examples, run.info, batch_size=opened.batch_size)
    embeddings, labels = found[0], np.asarray(examples.labels)
    predicted, confidence, own = sureness(found[1], labels)
    chosen = most_confident(predicted, labels, confidence, mistakes)
    pictures = data.images_at(examples, chosen)
    seen, words = _seen(opened, pictures, predicted[chosen])
    kept = tuple(
        Mistake(int(i), picture, other, int(labels[i]), int(predicted[i]), float(confidence[i]), float(own[i]))
        for i, picture, other in zip(chosen, pictures, seen, strict=True)
    )
    return Classified(
        opened.name,
        run.step,
        run.info.class_names,
        np.asarray(run.info.class_counts),
        labels,
        predicted,
        confidence,
        own,
        embeddings,
        kept,
        words,
        data.content_digest(examples),
    )


def sureness(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The predicted classes `[n]`, their probabilities `[n]`, and those of the labels `[n]`.

    Args:
      logits: `[n, classes]`; NaN score lowest, and an image of them alone has the probability 0.
      labels: `[n]`.
    """
    scores = np.where(np.isnan(logits), -np.inf, logits).astype(np.float64)
    predicted = scores.argmax(axis=1)
    highest = scores.max(axis=1, keepdims=True)
    shares = np.exp(scores - np.where(np.isfinite(highest), highest, 0))
    total = shares.sum(axis=1, keepdims=True)
    shares = np.divide(shares, total, out=np.zeros_like(shares), where=total > 0)
    rows = np.arange(len(labels))
    return predicted, shares[rows, predicted], shares[rows, labels]


def most_confident(predicted: np.ndarray, labels: np.ndarray, confidence: np.ndarray, count: int) -> np.ndarray:
    """Positions of the wrong predictions of the highest confidence, the highest first; of equals the first one."""
    wrong = np.flatnonzero(predicted != labels)
    return wrong[np.argsort(-confidence[wrong], kind="stable")][:count]


def _seen(opened: Opened, pictures: np.ndarray, classes: np.ndarray) -> tuple[Sequence[np.ndarray | None], str]:
    """A second picture of each, and what it is in words."""
    if not len(pictures):
        return [], ""
    if opened.run.method.locates:
        located = opened.run.locate(pictures, batch_size=opened.batch_size)
        return list(np.asarray(located.crop)), "the crop that the classifier saw"
    heats = activation_maps(opened, pictures, classes)
    if heats is None:
        return [None] * len(pictures), ""
    shown = [np.round(255 * overlay(x, heat)).astype(np.uint8) for x, heat in zip(pictures, heats, strict=True)]
    return shown, "the activation map of the class it is taken for (red: most like it)"


def activation_maps(opened: Opened, pictures: np.ndarray, classes: np.ndarray) -> np.ndarray | None:
    """The activation map of a class in each picture.

    Args:
      opened: the run.
      pictures: uint8 `[n, height, width, channels]`.
      classes: `[n]`, for each picture a label of the run's classifier.

    Returns:
      float32 `[n, h, w]`; None for a network whose classifier does not read its pooled maps linearly.
    """
    run = opened.run
    if own_pool(run.method.encoder) not in _POOLED:
        return None

    def maps(images: jax.Array) -> jax.Array:
        return list(run.method.encode(run.params, run.collections, images).maps.values())[-1].astype(jnp.float32)

    channels = jax.eval_shape(maps, jax.ShapeDtypeStruct((1, *run.info.image_shape), jnp.float32)).shape[-1]
    weights = linear_classifier(run.method, run.params, channels)
    if weights is None or len(weights) != run.info.num_classes:
        return None
    compiled: Any = jax.jit(lambda images, of: class_activation_maps(maps(images), of))
    parts = [slice(start, start + opened.batch_size) for start in range(0, max(len(pictures), 1), opened.batch_size)]
    return np.concatenate(
        [np.asarray(compiled(data.normalize(pictures[part], run.info), weights[classes[part]])) for part in parts]
    )
