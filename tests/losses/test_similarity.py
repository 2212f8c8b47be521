"""The similarities against the vectors, loops in NumPy, and limiting cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.losses.arithmetic.similarity import SIMILARITIES, negative_squared_distance, scaled_cosine, unit
from fsjax.losses.softmax import softmax_cross_entropy

PROTOTYPE_VECTORS = {
    "proto_ce_cosine_tau1": "cosine", "proto_ce_cosine_tau10": "cosine", "proto_ce_sqeuclid": "squared_euclid",
}  # fmt: skip


def cosine_loop(a, b, tau):
    return tau * np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b))


def distance_loop(a, b, tau):
    return -tau * sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def root_loop(a, b, tau):
    return -tau * sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) ** 0.5


LOOPS = {"cosine": cosine_loop, "squared_euclid": distance_loop, "euclid": root_loop}


@pytest.mark.parametrize("name", PROTOTYPE_VECTORS)
def test_logits_loss_and_gradients_are_the_vector(x64, vector, jit, finite_differences, name):
    v = vector(name)
    tau, similarity = v.params.get("tau", 1.0), SIMILARITIES[PROTOTYPE_VECTORS[name]]
    points = v.inputs["queries"], v.expected["prototypes"], np.float64(tau)

    def total(queries, prototypes, tau):
        return jnp.mean(softmax_cross_entropy(similarity(queries, prototypes, tau), v.inputs["labels"]))

    np.testing.assert_allclose(similarity(*points), v.expected["logits"], rtol=1e-9)
    value, gradients = jit(jax.value_and_grad(total, argnums=(0, 1, 2)))(*points)
    np.testing.assert_allclose(value, v.expected["loss"], rtol=1e-9)
    for key, gradient in zip(("grad_queries", "grad_prototypes"), gradients, strict=False):
        if key in v.expected:
            np.testing.assert_allclose(gradient, v.expected[key], rtol=1e-9, atol=1e-12)
    # The vectors have no gradient by tau, and that of the distance none at all.
    for gradient, expected in zip(gradients, finite_differences(total, *points), strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", SIMILARITIES)
def test_leading_axes_are_a_loop(x64, name):
    rng = np.random.default_rng(0)
    features, classes = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 3, 6, 5))
    found = SIMILARITIES[name](features, classes, 2.5)
    assert found.shape == (2, 3, 4, 6)
    for i, j, n, k in np.ndindex(found.shape):
        expected = LOOPS[name](features[i, j, n], classes[i, j, k], 2.5)
        np.testing.assert_allclose(found[i, j, n, k], expected, rtol=1e-9)


def test_cosine_knows_no_lengths(x64):
    rng = np.random.default_rng(1)
    features, classes = rng.normal(size=(4, 5)), rng.normal(size=(3, 5))
    expected = scaled_cosine(features, classes, 10.0)
    np.testing.assert_allclose(scaled_cosine(1e3 * features, 0.1 * classes, 10.0), expected, rtol=1e-9)
    np.testing.assert_allclose(np.diag(scaled_cosine(features, features, 10.0)), 10.0, rtol=1e-9)
    np.testing.assert_allclose(np.diag(scaled_cosine(features, -features, 10.0)), -10.0, rtol=1e-9)


def test_distance_keeps_its_digits_far_from_the_origin():
    """Classes 1 apart, 4,000 from the origin: the expanded square would have an error of about 1 in float32."""
    classes = np.float32(4000) + np.eye(3, dtype=np.float32)
    found = negative_squared_distance(classes, classes, 1.0)
    np.testing.assert_array_equal(found, -2 * (1 - np.eye(3)))


def test_unit_has_length_one_and_leaves_zero(x64):
    vectors = np.random.default_rng(2).normal(size=(4, 3, 5))
    np.testing.assert_allclose(np.linalg.norm(unit(vectors), axis=-1), 1.0, rtol=1e-9)
    np.testing.assert_array_equal(unit(np.zeros((2, 5))), 0.0)


@pytest.mark.parametrize("name", SIMILARITIES)
def test_zero_vectors_have_finite_gradients(name):
    def total(features, classes, tau):
        return jnp.sum(jnp.sin(SIMILARITIES[name](features, classes, tau)))

    some = jnp.ones((2, 3))
    for features, classes in ((0 * some, some), (some, 0 * some), (0 * some, 0 * some)):
        for gradient in jax.grad(total, argnums=(0, 1, 2))(features, classes, 10.0):
            assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("name", SIMILARITIES)
def test_half_precision_is_computed_in_float32(name):
    rng = np.random.default_rng(3)
    features, classes = (jnp.asarray(rng.normal(size=(n, 5)), jnp.bfloat16) for n in (4, 3))
    found = SIMILARITIES[name](features, classes, 10.0)
    assert found.dtype == jnp.float32
    expected = SIMILARITIES[name](features.astype(jnp.float32), classes.astype(jnp.float32), 10.0)
    np.testing.assert_array_equal(found, expected)
