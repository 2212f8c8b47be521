"""The geometry of a run's embeddings, on training and on test images: neural collapse, and the contrastive measures."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from threadpoolctl import threadpool_limits

from fsjax import data
from fsjax.errors import UserError, unknown
from fsjax.evaluation.analysis.contrastive import Estimate, hardness, tolerance, uniformity
from fsjax.evaluation.analysis.neural_collapse import NeuralCollapse, neural_collapse
from fsjax.evaluation.over_split import over_examples
from fsjax.losses.harmonic import HarmonicLoss
from fsjax.methods.base import Method, Variables

# What `config.data` calls them; "base" are images of base classes that were kept out of training.
SPLITS = ("train", "validation", "base", "test")
# How a loss's own parameters make a linear classifier of one row per class, by the name of the parameter.
_ROWS: dict[str, Callable[[Any], Any]] = {"kernel": np.transpose, "weights": np.asarray, "means": np.asarray}


@dataclasses.dataclass(frozen=True)
class Geometry:
    """The measures of one split.

    Attributes:
      split: of `SPLITS`.
      collapse: NC1 to NC4, the classifier's where these are images of its classes.
      uniformity, tolerance, hardness: see `fsjax.evaluation.analysis.contrastive`.
      tau: temperature of the hardness.
    """

    split: str
    collapse: NeuralCollapse
    uniformity: Estimate
    tolerance: float
    hardness: Estimate
    tau: float

    def to_json(self) -> dict[str, Any]:
        """The measures as JSON types; None for what is not defined."""
        return _storable(dataclasses.asdict(self))


def measure(
    method: Method,
    params: Variables,
    collections: Variables,
    splits: data.Splits,
    split: str,
    *,
    batch_size: int = 256,
    tau: float = 0.2,
) -> Geometry:
    """The measures of a trained method on one split of its data.

    The features are the embeddings (of a dense method, the pooled maps). The classifier of NC2 and NC3 is the linear
    one of the loss, where it has one that is as wide as the embeddings: its kernel, its weights, or its means. NC4
    takes the predictions of the method's own rule.

    Args:
      method: see `fsjax.methods`.
      params, collections: its trained variables.
      splits: the data.
      split: of `SPLITS`. Under a class split, "validation" and "test" are of other classes than the classifier's: then
        it has no NC2, NC3 or NC4.
      batch_size: images through the network at once.
      tau: temperature of the hardness.

    Raises:
      UserError: for a split that there is not, of one class, or of embeddings that are not finite.
    """
    examples = examples_of(splits, split)
    own_classes = not splits.info.few_shot or split in ("train", "base")
    features, predicted = _embedded(method, params, collections, examples, splits.info, batch_size, own_classes)
    weights = linear_classifier(method, params, features.shape[1]) if own_classes else None
    labels = examples.labels
    # On one thread: of several, a core that other work shares stalls all.
    with threadpool_limits(1):
        return Geometry(
            split,
            neural_collapse(features, labels, weights, predicted),
            uniformity(features),
            tolerance(features, labels),
            hardness(features, labels, tau=tau),
            tau,
        )


def examples_of(splits: data.Splits, split: str) -> data.Examples:
    """The images of a split.

    Raises:
      UserError: if there is no such split.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    examples = getattr(splits, split)
    if examples is None:
        there = ", ".join(name for name in SPLITS if getattr(splits, name) is not None)
        raise UserError(f"the run's data have no {split} images; there are: {there}")
    return examples


# Distances of the harmonic loss that do not change when both vectors are moved.
_OF_DIFFERENCES = ("euclid", "squared_euclid", "manhattan", "chebyshev", "minkowski", "mahalanobis")


def linear_classifier(method: Method, params: Mapping[str, Any], dim: int) -> np.ndarray | None:
    """The rows `[classes, dim]` of a loss's linear classifier; None where it has none for features of this width.

    Points that features are compared with by a distance of their differences, the means of Gaussians and most centres
    of the harmonic loss, are taken about their mean, as class means are: moved together with the features, they change
    no distance.
    """
    for name, rows in _ROWS.items():
        found = params.get("loss", {}).get(name)
        if found is None or getattr(found, "ndim", 0) != 2 or rows(found).shape[1] != dim:
            continue
        found = rows(np.asarray(found))
        loss = method.loss
        points = name == "means" or (isinstance(loss, HarmonicLoss) and loss.distance in _OF_DIFFERENCES)
        return found - found.mean(axis=0) if points else found
    return None


def _embedded(
    method: Method,
    params: Variables,
    collections: Variables,
    examples: data.Examples,
    info: data.DataInfo,
    batch_size: int,
    predict: bool,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Embeddings `[n, dim]`, and predicted labels `[n]` where they are asked for and the method has a classifier."""
    predict = predict and method.has_classes

    def embed(images: jax.Array) -> tuple[jax.Array, ...]:
        embeddings = method.embed(params, collections, images)
        return (embeddings, *([jnp.argmax(method.logits(params, collections, images), axis=-1)] if predict else []))

    found = over_examples(embed, examples, info, batch_size=batch_size)
    return found[0], found[1] if predict else None


def table(found: Sequence[Geometry]) -> str:
    """The measures as a Markdown table, a column per split; "–" for what is not defined."""
    collapses = [geometry.collapse for geometry in found]
    tau = found[0].tau
    rows = [
        ("images", [f"{c.images:,}" for c in collapses]),
        ("classes", [str(c.classes) for c in collapses]),
        ("NC1, scatter within by between classes", [_number(c.nc1) for c in collapses]),
        *_frames("class means", [c.means for c in collapses]),
        *_frames("classifier", [c.weights for c in collapses]),
        ("NC3, classifier against class means", [_number(c.nc3) for c in collapses]),
        ("NC4, classifier against nearest mean", [_number(c.nc4) for c in collapses]),
        ("uniformity", [_estimate(geometry.uniformity) for geometry in found]),
        ("tolerance", [_number(geometry.tolerance) for geometry in found]),
        (f"hardness at temperature {tau:g}", [_estimate(geometry.hardness) for geometry in found]),
    ]
    head = ["| measure | " + " | ".join(geometry.split for geometry in found) + " |", "|---|" + "---|" * len(found)]
    return "\n".join(head + [f"| {name} | {' | '.join(cells)} |" for name, cells in rows])


def _frames(of: str, frames: Sequence[Any]) -> list[tuple[str, list[str]]]:
    """The rows of NC2."""
    words = {"norms": "spread of lengths", "simplex": "from a simplex", "orthogonal": "from orthogonal"}
    return [
        (f"NC2, {of}: {word}", [_number(None if frame is None else getattr(frame, name)) for frame in frames])
        for name, word in words.items()
    ]


def _number(value: float | None) -> str:
    return "–" if value is None or not np.isfinite(value) else f"{value:.4g}"


def _estimate(estimate: Estimate) -> str:
    return _number(estimate.value) + (f" ± {1.96 * estimate.error:.2g}" if estimate.error else "")


def _storable(found: Any) -> Any:
    """None for numbers that JSON does not have."""
    if isinstance(found, dict):
        return {name: _storable(value) for name, value in found.items()}
    return None if isinstance(found, float) and not np.isfinite(found) else found
