"""L-Softmax against the vectors, the definition with the angle itself, and its schedule."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fsjax.losses import lsoftmax

VECTORS = [
    "lsoftmax_m1_beta0",
    "lsoftmax_m2_beta0",
    "lsoftmax_m3_beta0",
    "lsoftmax_m4_beta0",
    "lsoftmax_m4_beta5",
]


@pytest.mark.parametrize("name", VECTORS)
def test_gives_the_vector(x64, vector, evaluate, finite_differences, jit, name):
    v = vector(name)
    x, labels, kernel = v.inputs["x"], v.inputs["labels"], v.inputs["W"]
    logits = jit(partial(lsoftmax.lsoftmax_logits, **v.params))(x, labels, kernel)
    np.testing.assert_allclose(logits, v.expected["logits"], rtol=1e-9, atol=1e-9)
    module = lsoftmax.LSoftmaxLoss(num_classes=4, dim=3, **v.params, beta_gamma=0.0)
    result = evaluate(module, {"kernel": kernel}, x, labels)
    np.testing.assert_allclose(result.total, v.expected["loss"], rtol=1e-9, atol=1e-9)

    def total(kernel, x):
        return jnp.mean(module.apply({"params": {"kernel": kernel}}, x, labels, step=0).per_example)

    by_kernel, by_x = finite_differences(total, kernel, x)
    np.testing.assert_allclose(result.by_params["kernel"], by_kernel, atol=1e-7)
    np.testing.assert_allclose(result.by_features, by_x, atol=1e-7)


@pytest.mark.parametrize("m", [1, 2, 3, 4, 7])
def test_margin_is_the_definition_by_angle(x64, jit, m):
    theta = np.linspace(0, np.pi, 1001)
    k = np.minimum(np.floor(theta * m / np.pi), m - 1)
    expected = (-1) ** k * np.cos(m * theta) - 2 * k
    psi = jit(lsoftmax.angular_margin, static_argnums=1)(np.cos(theta), m)
    np.testing.assert_allclose(psi, expected, rtol=1e-10, atol=1e-11)
    assert np.all(np.diff(psi) < 1e-12)


def test_margin_of_one_is_softmax(evaluate):
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(6, 3)).astype("f"), np.array([0, 1, 2, 3, 0, 1])
    kernel = rng.normal(size=(3, 4)).astype("f")
    module = lsoftmax.LSoftmaxLoss(num_classes=4, dim=3, m=1, beta=0.0)
    result = evaluate(module, {"kernel": kernel}, x, labels)
    expected = optax.softmax_cross_entropy_with_integer_labels(jnp.asarray(x @ kernel), labels)
    np.testing.assert_allclose(result.output.per_example, expected, rtol=1e-5)
    logits = module.apply({"params": {"kernel": kernel}}, x, method="logits")
    np.testing.assert_allclose(logits, x @ kernel, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("m", [1, 4])
def test_gradients_are_finite_where_the_angle_has_none(evaluate, m):
    """Features along the weights, against them, and of norm zero."""
    kernel = np.array([[3.0, -1.0], [4.0, 2.0]], "f")
    x = np.stack([kernel[:, 0], -kernel[:, 0], np.zeros(2), 1e-8 * kernel[:, 0], 1e3 * kernel[:, 0]]).astype("f")
    module = lsoftmax.LSoftmaxLoss(num_classes=2, dim=2, m=m, beta=0.0)
    for kernels in (kernel, np.zeros_like(kernel)):
        result = evaluate(module, {"kernel": kernels}, x, np.zeros(5, int))
        for array in (result.total, result.by_features, result.by_params["kernel"]):
            assert np.all(np.isfinite(array))


def test_the_plain_logit_fades_as_in_the_caffe_layer():
    module = lsoftmax.LSoftmaxLoss(num_classes=2, dim=2, beta_min=5.0)
    for step in (0, 1000, 5000, 10**6):
        expected = max(5.0, 1000 * (1 + 2.5e-5 * step) ** -35)
        np.testing.assert_allclose(jax.jit(module.beta_at)(step), expected, rtol=1e-4)
    assert lsoftmax.LSoftmaxLoss(num_classes=2, dim=2).beta_at(9000) < 1


def test_the_step_reaches_the_loss(evaluate):
    module = lsoftmax.LSoftmaxLoss(num_classes=2, dim=2)
    kernel, x = jnp.array([[1.0, 0.0], [0.2, 1.0]]), jnp.ones((2, 2))
    early, late = (evaluate(module, {"kernel": kernel}, x, jnp.array([0, 1]), step=step) for step in (0, 10**5))
    assert late.total > early.total + 0.1
