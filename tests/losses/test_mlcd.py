"""MLCD and MLC against the vector, loops over classes, and cross-entropy."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fsjax.losses import mlcd
from fsjax.losses.mlcd import MlcdLoss
from fsjax.options import choices
from fsjax.options.losses import MlcdOptions

FUNCTIONS = {"mlcd": mlcd.mlcd_loss, "mlc": mlcd.mlc_loss}


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def by_hand(kind, scores, positives, negatives):
    """The loss of one example; classes by number."""
    if kind == "mlc":
        return np.log1p(sum(np.exp(scores[n] - scores[p]) for n in negatives for p in positives))
    return np.log1p(sum(np.exp(-scores[p]) for p in positives)) + np.log1p(sum(np.exp(scores[n]) for n in negatives))


@pytest.mark.parametrize("kind", choices(MlcdOptions, "kind"))
def test_gives_the_vector(x64, root, finite_differences, kind):
    content = json.loads((root / "tests" / "vectors" / "mlcd_multilabel.json").read_text())
    scores, chosen = np.array(content["inputs"]["scores"]), content["inputs"]["positives"]
    positives = np.array([[k in row for k in range(scores.shape[1])] for row in chosen])
    loss = partial(FUNCTIONS[kind], positives=positives, negatives=~positives)
    np.testing.assert_allclose(loss(scores), content["expected"][f"{kind}_per_sample"], rtol=1e-10)
    np.testing.assert_allclose(jnp.mean(loss(scores)), content["expected"][kind], rtol=1e-10)
    gradient = jax.grad(lambda scores: jnp.sum(loss(scores)))(scores)
    (expected,) = finite_differences(lambda scores: jnp.sum(loss(scores)), scores)
    np.testing.assert_allclose(gradient, expected, atol=1e-7)


@pytest.mark.parametrize("kind", choices(MlcdOptions, "kind"))
def test_classes_that_are_neither_do_not_count(x64, kind):
    rng = np.random.default_rng(0)
    scores, role = rng.normal(size=(4, 7)) * 3, rng.integers(0, 3, (4, 7))
    role[0], role[1] = 1, 0  # no negative; neither
    found = FUNCTIONS[kind](scores, role == 1, role == 2)
    expected = [
        by_hand(kind, s, np.flatnonzero(r == 1), np.flatnonzero(r == 2)) for s, r in zip(scores, role, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    gradient = jax.grad(lambda scores: jnp.sum(FUNCTIONS[kind](scores, role == 1, role == 2)))(scores)
    assert np.all(gradient[role == 0] == 0) and np.all(np.isfinite(gradient))


def test_one_positive_and_all_negatives_of_mlc_is_the_cross_entropy(x64, evaluate):
    rng = np.random.default_rng(1)
    x, labels, weights = rng.normal(size=(6, 4)), rng.integers(0, 5, 6), rng.normal(size=(5, 4))
    module = MlcdLoss(num_classes=5, dim=4, kind="mlc", scale=7.0, negatives=1.0)
    result = evaluate(module, {"weights": weights}, x, labels)
    logits = 7 * unit(x) @ unit(weights).T
    expected = optax.softmax_cross_entropy_with_integer_labels(jnp.asarray(logits), labels)
    np.testing.assert_allclose(result.output.per_example, expected, rtol=1e-9)
    np.testing.assert_allclose(module.apply({"params": {"weights": weights}}, x, method="logits"), logits, rtol=1e-9)


@pytest.mark.parametrize("kind", choices(MlcdOptions, "kind"))
def test_module_is_the_formula_at_its_draw(x64, evaluate, finite_differences, kind):
    rng = np.random.default_rng(2)
    x, labels, weights = rng.normal(size=(6, 4)), rng.integers(0, 9, 6), rng.normal(size=(9, 4))
    module = MlcdLoss(num_classes=9, dim=4, kind=kind, scale=3.0, negatives=0.4)
    result = evaluate(module, {"weights": weights}, x, labels, step=5)
    positives = np.eye(9, dtype=bool)[labels]
    negatives = np.asarray(mlcd.drawn_negatives(_key(5), positives, share=0.4))
    scores = 3 * unit(x) @ unit(weights).T
    expected = [by_hand(kind, s, [k], np.flatnonzero(n)) for s, k, n in zip(scores, labels, negatives, strict=True)]
    np.testing.assert_allclose(result.output.per_example, expected, rtol=1e-9)

    def total(x, weights):
        return jnp.mean(module.apply({"params": {"weights": weights}}, x, labels, step=5).per_example)

    by_features, by_weights = finite_differences(total, x, weights)
    np.testing.assert_allclose(result.by_features, by_features, atol=1e-7)
    np.testing.assert_allclose(result.by_params["weights"], by_weights, atol=1e-7)


def _key(step):
    return jax.random.fold_in(jax.random.key(0, impl="threefry2x32"), step)


@pytest.mark.parametrize(
    ("classes", "share", "count"), [(101, 0.1, 10), (10, 0.1, 1), (5, 0.0, 1), (5, 1.0, 4), (1, 0.1, 0)]
)
def test_as_many_negatives_as_asked_and_at_least_one(classes, share, count):
    positives = np.eye(classes, dtype=bool)[np.arange(40) % classes]
    drawn = np.asarray(mlcd.drawn_negatives(_key(0), positives, share=share))
    assert np.all(drawn.sum(axis=1) == count) and not np.any(drawn & positives)


def test_negatives_are_drawn_evenly_and_follow_from_the_step():
    positives = np.eye(5, dtype=bool)[np.zeros(8000, int)]
    drawn = np.asarray(mlcd.drawn_negatives(_key(3), positives, share=0.5))
    np.testing.assert_allclose(drawn.mean(axis=0), [0, 0.5, 0.5, 0.5, 0.5], atol=5 * 0.5 / np.sqrt(8000))
    np.testing.assert_array_equal(drawn, mlcd.drawn_negatives(_key(3), positives, share=0.5))
    assert np.any(drawn != mlcd.drawn_negatives(_key(4), positives, share=0.5))
