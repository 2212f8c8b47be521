"""What support pictures say about the rest: each is classified by prototypes that it had no part in."""

import dataclasses
import functools
import hashlib

import jax
import jax.numpy as jnp
import numpy as np

from fsjax.evaluation.analysis.scatter import unit_length
from fsjax.evaluation.few_shot.tasks import static_rule
from fsjax.labelling.network import Widened
from fsjax.methods.rules import Rule

# Numbers of prototypes at once, one set of them a picture.
_AT_ONCE = 2**22
# Implants are trained again without a part of the pictures: so many parts at most.
_FOLDS = 5


@dataclasses.dataclass(frozen=True, eq=False)
class HeldOut:
    """Support pictures against prototypes that are made without them.

    Attributes:
      labels: int `[n]`, of the pictures.
      scores: float64 `[n, classes]`, by the rule; rows of NaN for the only picture of a class, and for a picture that
        is there before in its class: copies count once.
      known: float64 `[n]`, the largest similarity to a prototype; NaN as for scores.
      unknown: float64 `[n]`, the largest similarity to a prototype of another class than the picture's; NaN for copies.
    """

    labels: np.ndarray
    scores: np.ndarray
    known: np.ndarray
    unknown: np.ndarray

    @property
    def tested(self) -> np.ndarray:
        """bool `[n]`: not the only picture of its class, and no copy of one before."""
        return np.isfinite(self.known)

    @property
    def right(self) -> int:
        """How many of those tested are classified rightly."""
        return int(np.sum(self.scores[self.tested].argmax(axis=-1) == self.labels[self.tested]))


def first_copies(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """For each picture, the number of the first of its class that is the same to the network: mostly its own.

    Args:
      images: uint8 `[n, ...]`, as the network takes them, so that a picture saved anew is the same too.
      labels: ints `[n]`.

    Returns:
      int64 `[n]`.
    """
    first: dict[tuple[int, bytes], int] = {}
    digests = [hashlib.sha256(np.ascontiguousarray(image).data).digest() for image in images]
    keys = zip(labels.tolist(), digests, strict=True)
    return np.array([first.setdefault(key, number) for number, key in enumerate(keys)], np.int64)


def class_prototypes(features: np.ndarray, labels: np.ndarray, num_classes: int, rule: Rule) -> np.ndarray:
    """Means of each class's support features `[n, dim]`, float32 `[classes, dim]`; 0 for a class of none."""
    sums, counts, _ = _sums(features, labels, num_classes, rule)
    return (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)


def leave_one_out(
    features: dict[str, np.ndarray],
    labels: np.ndarray,
    num_classes: int,
    rule: Rule,
    *,
    copies: np.ndarray,
    centred: bool = False,
) -> HeldOut:
    """Each support picture in turn as a query, against prototypes of all the others, without its copies.

    Only the prototype of its own class changes, and that one is the class's sum less the picture and its copies.

    Args:
      features: of the support pictures by name, `[n, ...]`, those that the rule reads.
      labels: ints `[n]`, 0 .. num_classes - 1.
      num_classes: at least two.
      rule: how.
      copies: see `first_copies`.
      centred: of the scores, see `class_scores`; similarities are by the rule all the same.
    """
    sums, counts, _ = _sums(features[rule.support_pool], labels, num_classes, rule)
    means = sums / np.maximum(counts, 1)[:, None]
    same, so_many, _ = _sums(features[rule.support_pool], copies, len(labels), rule)
    left = counts[labels] - so_many[copies]
    own = (sums[labels] - same[copies]) / np.maximum(left, 1)[:, None]

    def classes(index: np.ndarray) -> np.ndarray:
        found = np.repeat(means[None], len(index), axis=0)
        found[np.arange(len(index)), labels[index]] = own[index]
        return found

    positions = features[rule.query_pool].shape[1] if rule.query_pool == "dense" else 1
    size = max(1, _AT_ONCE // (means.size * positions))
    parts = [np.arange(start, min(start + size, len(labels))) for start in range(0, len(labels), size)]
    found = [_against(features, index, classes(index), labels, rule, centred=centred) for index in parts]
    scores, known, unknown = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    return _held_out(labels, scores, known, unknown, copies, alone=left < 1)


def by_folds(
    network: Widened, labels: np.ndarray, num_classes: int, rule: Rule, *, copies: np.ndarray
) -> HeldOut | None:
    """As `leave_one_out`, of a network whose implants were trained on the support pictures.

    They are trained again without a part of each class, up to five times, for each picture to be left out once, with
    its copies.

    Returns:
      None where a class has two different pictures: implants need two that are not left out.
    """
    first = copies == np.arange(len(labels))
    counts = np.bincount(labels[first], minlength=num_classes)
    if counts.min() < 3:
        return None
    folds = min(_FOLDS, int(counts.min()))
    rank = np.array([np.sum(first[:i] & (labels[:i] == labels[i])) for i in range(len(labels))])[copies]
    scores = np.zeros((len(labels), num_classes))
    known, unknown = np.zeros(len(labels)), np.zeros(len(labels))
    for fold in range(folds):
        kept = rank % folds != fold
        features = network.support_features(network.trained(kept), rule.features)
        means = class_prototypes(features[rule.support_pool][kept], labels[kept], num_classes, rule)
        (index,) = np.nonzero(~kept)
        classes = np.repeat(means[None], len(index), axis=0)
        scores[index], known[index], unknown[index] = _against(features, index, classes, labels, rule)
    return _held_out(labels, scores, known, unknown, copies, alone=np.zeros(len(labels), bool))


def _held_out(
    labels: np.ndarray,
    scores: np.ndarray,
    known: np.ndarray,
    unknown: np.ndarray,
    copies: np.ndarray,
    *,
    alone: np.ndarray,
) -> HeldOut:
    again = copies != np.arange(len(labels))
    none = alone | again
    return HeldOut(
        labels,
        np.where(none[:, None], np.nan, scores),
        np.where(none, np.nan, known),
        np.where(again, np.nan, unknown),
    )


def class_scores(queries: np.ndarray, classes: np.ndarray, rule: Rule, *, centred: bool = False) -> np.ndarray:
    """`Rule.scores` of queries `[..., n, dim]` by classes `[..., classes, dim]`, float64 `[..., n, classes]`.

    Args:
      queries, classes: what the rule compares.
      rule: how.
      centred: whether the classes' mean is first taken away from both, and their cosine is taken, whatever the rule's
        similarity is. Queries are pooled as the classes are then.
    """
    if centred:
        rule = dataclasses.replace(rule, similarity="cosine", query_pool=rule.support_pool)
        queries = unit_length(queries) if rule.unit_support else queries
        centre = classes.mean(axis=-2, keepdims=True)
        queries, classes = queries - centre, classes - centre
    found = _scores(jnp.asarray(queries), jnp.asarray(classes, jnp.float32), rule.tau, rule=static_rule(rule))
    return np.asarray(found, np.float64)


def similarities(pooled: np.ndarray, classes: np.ndarray, rule: Rule) -> np.ndarray:
    """Similarity of pooled features `[..., n, dim]` to classes, by the rule's measure without its scale."""
    return class_scores(pooled, classes, dataclasses.replace(rule, query_pool=rule.support_pool, tau=1.0))


@functools.partial(jax.jit, static_argnames="rule")
def _scores(queries: jax.Array, classes: jax.Array, tau: float, *, rule: Rule) -> jax.Array:
    return rule.scores(queries, classes, tau=tau)


def _sums(
    features: np.ndarray, labels: np.ndarray, num_classes: int, rule: Rule
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums by class `[classes, dim]`, counts `[classes]`, and the features as they are summed, all in float64."""
    features = unit_length(features) if rule.unit_support else np.asarray(features, np.float64)
    sums = np.zeros((num_classes, features.shape[1]))
    np.add.at(sums, labels, features)
    return sums, np.bincount(labels, minlength=num_classes), features


def _against(
    features: dict[str, np.ndarray],
    index: np.ndarray,
    classes: np.ndarray,
    labels: np.ndarray,
    rule: Rule,
    *,
    centred: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, and largest similarities to any class and to another, of pictures with prototypes `[n, classes, dim]`."""
    queries = features[rule.support_pool if centred else rule.query_pool][index]
    scores = class_scores(queries[:, None], classes, rule, centred=centred)[:, 0]
    near = similarities(features[rule.support_pool][index][:, None], classes, rule)[:, 0]
    others = near.copy()
    others[np.arange(len(index)), labels[index]] = -np.inf
    return scores, near.max(axis=-1), others.max(axis=-1)
