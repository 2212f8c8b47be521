"""The distances by matrix products against differences in float64, far from the origin too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.losses.arithmetic import gaussian

EPS = np.finfo(np.float32).eps


def direct(x, mu, log_var):
    """Squared Mahalanobis distances by differences, in float64."""
    x, mu, log_var = (np.asarray(array, np.float64) for array in (x, mu, log_var))
    return (np.square(x[:, None] - mu) * np.exp(-log_var.reshape(len(mu), -1))).sum(-1)


def problem(offset, covariance="diag", dim=64):
    rng = np.random.default_rng(0)
    mu = (offset + rng.normal(size=(10, dim))).astype("f")
    labels = rng.integers(0, 10, 32)
    x = (mu[labels] + 0.3 * rng.normal(size=(32, dim))).astype("f")
    log_var = rng.normal(size=(10, dim) if covariance == "diag" else 10).astype("f")
    return x, labels, mu, log_var


@pytest.mark.parametrize("covariance", ["diag", "isotropic"])
@pytest.mark.parametrize("offset", [0.0, 1e3, -1e4])
def test_float32_is_accurate_far_from_the_origin(jit, offset, covariance):
    """The bound is the module's docstring's, four units in the last place of the sum of absolute terms."""
    x, labels, mu, log_var = problem(offset, covariance)
    exact = direct(x, mu, log_var)
    center = mu.astype(np.float64).mean(0)
    terms = np.square(np.abs(x - center)[:, None] + np.abs(mu - center)) * np.exp(-log_var.reshape(10, -1))
    bound = 4 * EPS * terms.sum(-1)
    by_products, with_labels = jit(
        lambda *arrays: (
            gaussian.squared_mahalanobis(*arrays),
            gaussian.squared_mahalanobis(*arrays, labels),
        )
    )(x, mu, log_var)
    assert np.all(np.abs(by_products - exact) < bound)
    # Nor does that amount to much: five digits, and for the label all of them.
    np.testing.assert_allclose(by_products, exact, rtol=2e-5)
    own = np.eye(10)[labels] > 0
    np.testing.assert_allclose(with_labels[own], exact[own], rtol=4 * EPS)


def test_the_plain_expansion_would_not_be():
    """That the test above can fail: without the common centre no digit is right."""
    x, _, mu, log_var = problem(1e3)
    precision = jnp.exp(-log_var)
    plain = jnp.square(x) @ precision.T - 2 * x @ (mu * precision).T + (jnp.square(mu) * precision).sum(-1)
    assert np.abs(plain / direct(x, mu, log_var) - 1).max() > 0.1


@pytest.mark.parametrize("covariance", ["diag", "isotropic"])
def test_float32_gradients_are_accurate_far_from_the_origin(jit, covariance):
    x, labels, mu, log_var = problem(1e3, covariance)

    def by_products(x, mu, log_var):
        return jnp.mean(jax.nn.logsumexp(-gaussian.squared_mahalanobis(x, mu, log_var, labels) / 10, axis=-1))

    def by_differences(x, mu, log_var):
        squared = jnp.square(x[:, None] - mu) * jnp.exp(-log_var.reshape(10, -1))[None]
        return jnp.mean(jax.nn.logsumexp(-squared.sum(-1) / 10, axis=-1))

    actual = jit(jax.grad(by_products, (0, 1, 2)))(x, mu, log_var)
    with jax.enable_x64(True):
        arrays = [array.astype(np.float64) for array in (x, mu, log_var)]
        expected = jit(jax.grad(by_differences, (0, 1, 2)))(*arrays)
    for ours, exact in zip(actual, expected, strict=True):
        np.testing.assert_allclose(ours, exact, atol=1e-5 * np.abs(exact).max())


def test_distances_are_never_negative_and_keep_their_gradient_there(jit):
    """Features on a class mean that is far from the others, where the products cancel."""
    rng = np.random.default_rng(1)
    mu = 100 * rng.normal(size=(5, 64)).astype("f")
    log_var = rng.normal(size=(5, 64)).astype("f")
    squared = jit(gaussian.squared_mahalanobis)(mu, mu, log_var)
    assert np.all(squared >= 0)
    labels = np.arange(5)
    np.testing.assert_array_equal(np.diag(gaussian.squared_mahalanobis(mu, mu, log_var, labels)), 0)
    x = mu + np.float32(1e-3)
    grad = jit(jax.grad(lambda x: jnp.trace(gaussian.squared_mahalanobis(x, mu, log_var))))(x)
    exact = 2 * (x.astype(np.float64) - mu) * np.exp(-log_var)
    scale = (np.abs(mu) * np.exp(-log_var)).max()
    np.testing.assert_allclose(grad, exact, atol=16 * EPS * scale)


@pytest.mark.parametrize("covariance", ["diag", "isotropic"])
def test_float64_is_exact(x64, covariance):
    x, labels, mu, log_var = (np.asarray(array) for array in problem(0.0, covariance, dim=7))
    x, mu, log_var = (array.astype(np.float64) for array in (x, mu, log_var))
    exact = direct(x, mu, log_var)
    np.testing.assert_allclose(gaussian.squared_mahalanobis(x, mu, log_var), exact, rtol=1e-11)
    own = gaussian.own_squared_mahalanobis(x, labels, mu, log_var)
    np.testing.assert_allclose(own, exact[np.arange(len(x)), labels], rtol=1e-13)


def test_log_determinant():
    log_var = np.array([[0.5, -1.0], [2.0, 0.0]])
    np.testing.assert_allclose(gaussian.log_determinant(log_var, 2), [-0.5, 2.0])
    np.testing.assert_allclose(gaussian.log_determinant(log_var[:, 0], 3), [1.5, 6.0])


@pytest.mark.parametrize(("sign", "expected"), [(1.0, [0, 0, 1, 1, 1]), (-1.0, [-1, -1, -1, 0, 0])])
def test_inward_clip_lets_parameters_return(sign, expected):
    values = jnp.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    np.testing.assert_array_equal(gaussian.clip_inward(values, -1.0, 1.0), [-1, -1, 0, 1, 1])
    grad = jax.grad(lambda values: sign * gaussian.clip_inward(values, -1.0, 1.0).sum())(values)
    np.testing.assert_array_equal(grad, expected)
