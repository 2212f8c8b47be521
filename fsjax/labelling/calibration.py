"""Two numbers that are chosen on support pictures left out: a temperature, and a threshold of "none of these"."""

import dataclasses

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp


def fit_temperature(scores: np.ndarray, labels: np.ndarray) -> float:
    """The temperature by which a softmax of scores says how likely each class is, of the classes there are.

    The maximum of the likelihood of the labels. They count as Platt (1999) has them: of n pictures, the own class
    with (n + 1) / (n + 2) and the others with the rest. A few pictures that are all told apart would make every
    probability 1 otherwise.

    Args:
      scores: `[n, classes]` of pictures that had no part in what scores them; at least two classes.
      labels: ints `[n]`.

    Returns:
      The temperature that scores are divided by.
    """
    count, num_classes = scores.shape
    spread = float(np.mean(np.ptp(scores, axis=-1)))
    if spread == 0:  # all classes alike: every temperature says the same
        return 1.0
    sure = (count + 1) / (count + 2)
    targets = np.full(scores.shape, (1 - sure) / (num_classes - 1))
    targets[np.arange(count), labels] = sure

    def loss(log_temperature: float) -> float:
        logits = scores / (spread * np.exp(log_temperature))
        return float(np.mean(logsumexp(logits, axis=-1) - np.sum(targets * logits, axis=-1)))

    # Convex in the inverse of the temperature, so there is one minimum.
    found = minimize_scalar(loss, bounds=(np.log(1e-3), np.log(1e3)), method="bounded", options={"xatol": 1e-6})
    return spread * float(np.exp(found.x))


@dataclasses.dataclass(frozen=True)
class Threshold:
    """The least similarity to a class that a picture must have, or it is none of these.

    Attributes:
      value: of the similarity.
      kept: support pictures, each left out of its class, that are at or above it; None for a threshold that was given.
      known: of so many.
      refused: support pictures whose whole class is left out that are below it.
      unknown: of so many.
      implants: whether there are such: then of that class the prototype alone was left out.
    """

    value: float
    kept: int | None = None
    known: int = 0
    refused: int = 0
    unknown: int = 0
    implants: bool = False

    def __str__(self) -> str:
        if self.kept is None:
            return f"similarity {self.value:.4g}, as given"
        of = "prototype is left out (the implants have seen the class)" if self.implants else "whole class is left out"
        return (
            f"similarity {self.value:.4g}: of {self.known} support pictures, each left out of its class, {self.kept} "
            f"are kept ({100 * self.kept / self.known:.1f} %); of {self.unknown} whose {of}, "
            f"{self.refused} are refused ({100 * self.refused / self.unknown:.1f} %)"
        )


def choose_threshold(known: np.ndarray, unknown: np.ndarray, *, implants: bool = False) -> Threshold:
    """The threshold with the best balanced accuracy: the mean of the shares of known kept and of unknown refused.

    It lies in the middle between two similarities; of several as good, in the widest gap.

    Args:
      known: `[n]` largest similarities of pictures whose class is there.
      unknown: `[m]`, of pictures whose class is not.
      implants: see `Threshold`.
    """
    values = np.unique(np.concatenate([known, unknown]))
    gap = max(float(np.ptp(values)), abs(float(values[0])) * 1e-6, 1e-9)
    edges = np.concatenate([[values[0] - gap], values, [values[-1] + gap]])
    middles, widths = (edges[:-1] + edges[1:]) / 2, np.diff(edges)
    widths[[0, -1]] = 0  # all or none are kept: only where nothing else is as good
    kept = np.sum(known[:, None] >= middles, axis=0)
    refused = np.sum(unknown[:, None] < middles, axis=0)
    balanced = np.round(kept / len(known) + refused / len(unknown), 12)
    best = max(range(len(middles)), key=lambda i: (balanced[i], widths[i]))
    return Threshold(float(middles[best]), int(kept[best]), len(known), int(refused[best]), len(unknown), implants)
