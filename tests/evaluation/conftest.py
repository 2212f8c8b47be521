"""Few-shot tasks again in NumPy, task by task, and banks to try them on."""

import types

import numpy as np
import pytest

from fsjax.evaluation.few_shot.tasks import Bank


def unit(x):
    return x / np.sqrt((x**2).sum(-1, keepdims=True) + 1e-12)


def similarities(queries, classes, similarity):
    if similarity == "cosine":
        return unit(queries) @ unit(classes).T
    return -((queries[:, None] - classes[None]) ** 2).sum(-1)


def prototype(features, rule):
    """docs/readings.md, "Cosine and prototypes"; with `unit_support`, of Qi et al."""
    return (unit(features) if rule.unit_support else features).mean(0)


def predicted(queries, classes, rule):
    """Classes of queries `[n, dim]`, or `[n, positions, dim]` by Eq. 14 of Lifchitz et al."""
    if rule.query_pool != "dense":
        return similarities(queries, classes, rule.similarity).argmax(1)
    found = []
    for positions in queries:
        exponents = np.exp(rule.tau * similarities(positions, classes, rule.similarity))
        found.append((exponents / exponents.sum(1, keepdims=True)).mean(0).argmax())
    return np.array(found)


def support_classes(features, support, rule):
    """The prototypes of a task's real classes."""
    return np.stack([prototype(features[row[row >= 0]], rule) for row in support if (row >= 0).any()])


def looped(features, rule, episodes, num_classes):
    """Accuracy of each task, and each class's hits and queries, by a loop over tasks and classes in float64.

    `features` by name; `episodes` has the arrays of `fsjax.data.Episodes`.
    """
    of_support, of_queries = (np.asarray(features[p], np.float64) for p in (rule.support_pool, rule.query_pool))
    accuracy, correct, count = [], np.zeros(num_classes, int), np.zeros(num_classes, int)
    for classes, support, query in zip(episodes.classes, episodes.support, episodes.query, strict=True):
        prototypes = support_classes(of_support, support, rule)
        hits = []
        for way, label in enumerate(classes[classes >= 0]):
            right = predicted(of_queries[query[way][query[way] >= 0]], prototypes, rule) == way
            correct[label] += right.sum()
            count[label] += len(right)
            hits.extend(right)
        accuracy.append(np.mean(hits))
    return np.array(accuracy), correct, count


def jointly_looped(novel, base, weights, rule, episodes, base_episodes):
    """The accuracy of each task's novel, base, and of all its queries, among base weights and novel prototypes."""
    of_support, of_novel, of_base, weights = (
        np.asarray(x, np.float64)
        for x in (novel[rule.support_pool], novel[rule.query_pool], base[rule.query_pool], weights)
    )
    found = {"novel": [], "base": [], "both": []}
    for i, support in enumerate(episodes.support):
        everyone = np.concatenate([weights, support_classes(of_support, support, rule)])
        novel_hits, base_hits = [], []
        for way, row in enumerate(episodes.query[i][episodes.classes[i] >= 0]):
            novel_hits.extend(predicted(of_novel[row[row >= 0]], everyone, rule) == len(weights) + way)
        for label, row in zip(base_episodes.classes[i], base_episodes.query[i], strict=True):
            if label >= 0:
                base_hits.extend(predicted(of_base[row[row >= 0]], everyone, rule) == label)
        for name, hits in {"novel": novel_hits, "base": base_hits, "both": novel_hits + base_hits}.items():
            found[name].append(np.mean(hits))
    return {name: np.array(values) for name, values in found.items()}


@pytest.fixture(scope="session")
def by_hand():
    """`looped` and `jointly_looped`."""
    return types.SimpleNamespace(looped=looped, jointly_looped=jointly_looped)


@pytest.fixture(scope="session")
def make_bank():
    """A function that gives a bank of Gaussian classes with features by every name, and its labels."""

    def make(counts=(14, 9, 20, 11, 16, 12), *, dim=6, spread=1.8, seed=0, where="the novel classes"):
        rng = np.random.default_rng(seed)
        labels = rng.permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.int32)
        centres = rng.normal(size=(len(counts), dim))
        maps = centres[labels][:, None] + spread * rng.normal(size=(len(labels), 4, dim)) + 0.3
        features = {"gap": maps.mean(1), "gmp": maps.max(1), "flatten": maps.reshape(len(maps), -1), "dense": maps}
        features = {name: array.astype(np.float32) for name, array in features.items()}
        names = tuple(f"class {label}" for label in range(len(counts)))
        return Bank.of(features, labels, names, where), labels

    return make
