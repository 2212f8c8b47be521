"""Orthogonal projection loss against the vectors, a loop over pairs, and rotations."""

import itertools

import jax
import numpy as np
import optax
import pytest

from fsjax.losses import opl
from fsjax.options import choices
from fsjax.options.losses import OplOptions


def by_hand(x, labels, gamma, variant):
    """Loss, mean cosines and the number of pairs of one class, pair after pair."""
    x = x / np.linalg.norm(x, axis=-1, keepdims=True)
    same, different = [], []
    for i, j in itertools.combinations(range(len(x)), 2):
        (same if labels[i] == labels[j] else different).append(x[i] @ x[j])
    s, d = (np.mean(cosines) if cosines else 0.0 for cosines in (same, different))
    penalty = {"abs_of_mean": abs(d), "signed": d, "mean_of_abs": np.mean(np.abs(different)) if different else 0.0}
    return 1 - s + gamma * penalty[variant], s, d, len(same)


def random_case(seed=0, batch=9, classes=4, dim=5):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(batch, dim)) + 0.3, rng.integers(0, classes, batch)


@pytest.mark.parametrize(
    "name",
    [
        "opl_abs_of_mean_g0.5",
        "opl_mean_of_abs_g0.5",
        "opl_mean_of_abs_g2.0",
        "opl_signed_g0.5",
        "opl_no_positive_pairs",
    ],
)
def test_gives_the_vector(x64, vector, name):
    v = vector(name)
    x, labels, options = v.inputs["x"], v.inputs["labels"], {"gamma": v.params["gamma"], "variant": v.params["neg"]}
    assert v.params["eps"] == 1e-6
    projection = opl.orthogonal_projection(x, labels, **options)
    np.testing.assert_allclose(projection.loss, v.expected["loss"], rtol=1e-10)
    np.testing.assert_allclose(projection.same, v.expected["s"], rtol=1e-10)
    np.testing.assert_allclose(projection.different, v.expected["d"], rtol=1e-10)
    if "grad_x" in v.expected:
        grad = jax.grad(lambda x: opl.orthogonal_projection(x, labels, **options).loss)(x)
        np.testing.assert_allclose(grad, v.expected["grad_x"], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("variant", choices(OplOptions, "variant"))
def test_is_the_loop_over_pairs(x64, finite_differences, variant):
    x, labels = random_case()
    projection = opl.orthogonal_projection(x, labels, gamma=0.7, variant=variant)
    np.testing.assert_allclose(projection, by_hand(x, labels, 0.7, variant), rtol=1e-6)  # but for the 1e-6 of a pair

    def total(x):
        return opl.orthogonal_projection(x, labels, gamma=0.7, variant=variant).loss

    np.testing.assert_allclose(jax.grad(total)(x), finite_differences(total, x)[0], atol=1e-8)


@pytest.mark.parametrize("variant", choices(OplOptions, "variant"))
def test_rotation_and_lengths_change_nothing(x64, variant):
    x, labels = random_case(1)
    rotation, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(5, 5)))
    lengths = np.random.default_rng(3).uniform(0.1, 30, (9, 1))
    expected = opl.orthogonal_projection(x, labels, gamma=0.5, variant=variant)
    for moved in (x @ rotation, lengths * x, lengths * x @ rotation):
        np.testing.assert_allclose(
            opl.orthogonal_projection(moved, labels, gamma=0.5, variant=variant), expected, rtol=1e-9
        )
    order = np.random.default_rng(4).permutation(9)
    shuffled = opl.orthogonal_projection(x[order], labels[order], gamma=0.5, variant=variant)
    np.testing.assert_allclose(shuffled, expected, rtol=1e-9)


def test_collapsed_classes_at_right_angles_have_no_loss(x64):
    projection = opl.orthogonal_projection(
        np.eye(3)[[0, 0, 1, 2, 2]], np.array([0, 0, 1, 2, 2]), gamma=1.0, variant="mean_of_abs"
    )
    np.testing.assert_allclose(projection.loss, 0, atol=1e-6)
    assert projection.positive_pairs == 2


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [2, 2, 2, 2], [1]])
def test_batches_without_one_kind_of_pair_are_finite(labels):
    x = random_case(5)[0][: len(labels)]
    labels = np.array(labels)
    for features in (x, np.zeros_like(x), 1e3 * x):
        function = jax.value_and_grad(
            lambda x: opl.orthogonal_projection(x, labels, gamma=0.5, variant="abs_of_mean").loss
        )
        loss, grad = function(features.astype("f"))
        assert np.isfinite(loss) and np.all(np.isfinite(grad))
    projection = opl.orthogonal_projection(x, labels, gamma=0.5, variant="abs_of_mean")
    assert projection.positive_pairs == by_hand(x, labels, 0.5, "abs_of_mean")[3]
    if len(set(labels.tolist())) == len(labels):
        assert projection.same == 0 and projection.loss >= 1


def test_module_adds_the_term_to_cross_entropy_and_reports_its_parts(x64, evaluate):
    x, labels = random_case(6)
    rng = np.random.default_rng(7)
    params = {"kernel": rng.normal(size=(5, 4)), "bias": rng.normal(size=4)}
    module = opl.OplLoss(num_classes=4, dim=5, lam=0.3, gamma=2.0, variant="mean_of_abs")
    result = evaluate(module, params, x, labels)
    logits = x @ params["kernel"] + params["bias"]
    cross_entropy = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    loss, same, different, pairs = by_hand(x, labels, 2.0, "mean_of_abs")
    np.testing.assert_allclose(result.output.per_example, cross_entropy, rtol=1e-9)
    np.testing.assert_allclose(result.output.regularizer, 0.3 * loss, rtol=1e-6)
    metrics = result.output.metrics
    np.testing.assert_allclose([metrics["same"], metrics["different"]], [same, different], rtol=1e-6)
    assert metrics["positive_pairs"] == pairs
