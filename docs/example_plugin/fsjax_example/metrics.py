"""The accuracy that half of the classes reach."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def median_class_accuracy(sums: Mapping[str, Any], class_counts: Sequence[int] | None) -> float:
    """The median of the classes' own accuracies; `sums` as `fsjax.evaluation.metrics.classification_sums` has them."""
    present = sums["count"] > 0
    return float(np.median(sums["correct"][present] / sums["count"][present]))
