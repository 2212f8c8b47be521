"""The rule of prediction; what fsjax computes in float32 on the device is computed in float64 here.

Internal: no part of the public interface.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

# Under square roots, as in fsjax.
_EPSILON = 1e-12


def rule_scores(queries: np.ndarray, vectors: np.ndarray, rule: Mapping[str, Any]) -> np.ndarray:
    """Scores `[n, classes]` of features `[n, dim]`, or `[n, positions, dim]` if each position counts for itself."""
    features: np.ndarray = queries.reshape(-1, queries.shape[-1]).astype(np.float64)
    cuts = np.cumsum(rule["widths"])[:-1]
    parts = zip(np.split(features, cuts, axis=-1), np.split(vectors, cuts, axis=-1), strict=True)
    scores = np.sum([_similarities(rule["similarity"], *pair, rule["tau"]) for pair in parts], axis=0)
    if queries.ndim == 2:
        return scores
    log_shares = log_softmax(scores.reshape(*queries.shape[:2], -1))
    top = log_shares.max(axis=1, keepdims=True)
    return np.log(np.mean(np.exp(log_shares - top), axis=1)) + top[:, 0]


def _similarities(name: str, features: np.ndarray, vectors: np.ndarray, tau: float) -> np.ndarray:
    if name == "cosine":
        return tau * unit_length(features) @ unit_length(vectors).T
    squares = (features**2).sum(-1)[:, None] - 2 * features @ vectors.T + (vectors**2).sum(-1)
    squares = np.maximum(squares, 0)
    return -tau * (squares if name == "squared_euclid" else np.sqrt(squares + _EPSILON))


def unit_length(vectors: np.ndarray) -> np.ndarray:
    """Vectors `[..., dim]` at length 1."""
    return vectors / np.sqrt((vectors**2).sum(axis=-1, keepdims=True) + _EPSILON)


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """Logarithms of the softmax over the last axis."""
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def support_sum(features: np.ndarray, *, unit_support: bool) -> np.ndarray:
    """The sum of support features `[n, dim]`, of length 1 before if `unit_support`; float64 `[dim]`."""
    features = features.astype(np.float64)
    return (unit_length(features) if unit_support else features).sum(axis=0)
