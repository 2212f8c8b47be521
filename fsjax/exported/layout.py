"""Which files an export has, and what its classes are stored as.

Internal: no part of the public interface.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence

import numpy as np

# Of the folder; another number means that this reader does not know what is in it.
FORMAT = 4
FACTS, FEATURES, LOGITS, WEIGHTS, CLASSES = (
    "export.json", "features.jaxexport", "logits.jaxexport", "weights.npz", "classes.npz",
)  # fmt: skip
# The command and what it imports, which go along.
COMMAND, PACKAGE = "__main__.py", "exported"
# What is predicted of a picture that is not similar enough to any class.
NONE_OF_THESE = "none of these"
# Heads whose scores are linear in features at length 1.
LINEAR = ("ridge", "logistic", "naive_bayes")


class ExportError(ValueError):
    """What the user can set right: a damaged folder, images that the network does not take, an unknown class."""


@dataclasses.dataclass
class KnownClass:
    """A class of an export.

    Attributes:
      name: unlike those of the others.
      vector: float64 `[dim]`: of a class that is the mean of pictures, the sum of their support features; of a trained
        one, its weights; empty if the rule of the loss scores it.
      count: how many pictures the sum is of; 0 of a trained class.
      output: the place of a trained class among the scores of the loss's rule; -1 of others.
      weights: float64 `[dim]`, of a linear head that was fitted on the pictures of all classes; empty without such.
      bias: of that head.
    """

    name: str
    vector: np.ndarray
    count: int = 0
    output: int = -1
    weights: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0))
    bias: float = 0.0


def classes_file(classes: Sequence[KnownClass]) -> bytes:
    """The content of classes.npz."""
    vectors = np.stack([c.vector for c in classes]) if classes else np.zeros((0, 0))
    columns = {name: np.array([getattr(c, name) for c in classes], np.int64) for name in ("count", "output")}
    stream = io.BytesIO()
    weights = np.stack([c.weights for c in classes]) if classes else np.zeros((0, 0))
    np.savez(
        stream,
        vectors=vectors.astype(np.float64),
        counts=columns["count"],
        outputs=columns["output"],
        weights=weights.astype(np.float64),
        bias=np.array([c.bias for c in classes], np.float64),
    )
    return stream.getvalue()


def arrays_of(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` file, by name; nothing is unpickled."""
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        return dict(stored)
