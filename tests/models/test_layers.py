import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.models.layers import HE_NORMAL, batch_norm
from fsjax.models.resnet_cifar import identity_shortcut


def test_batch_norm_is_the_numpy_one():
    x = np.random.default_rng(0).normal(1.0, 3.0, size=(6, 5, 4, 3)).astype(np.float32)
    train, evaluate = (batch_norm(train=flag, dtype=jnp.float32, axis_name=None, name=None) for flag in (True, False))
    variables = train.init(jax.random.key(0), x)
    mean, var = x.astype(np.float64).mean((0, 1, 2)), x.astype(np.float64).var((0, 1, 2))
    y, updated = train.apply(variables, x, mutable=["batch_stats"])
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(var + 1e-5), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(updated["batch_stats"]["mean"], 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(updated["batch_stats"]["var"], 0.9 + 0.1 * var, rtol=1e-5)
    y = evaluate.apply({**variables, **updated}, x)
    np.testing.assert_allclose(y, (x - 0.1 * mean) / np.sqrt(0.9 + 0.1 * var + 1e-5), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("fan", "count"), [("fan_in", 9 * 40), ("fan_out", 9 * 160), ("fan_out_leaky", 9 * 160 * (1 + 0.1**2))]
)
def test_he_normal_is_a_normal_of_variance_two_over_fan(fan, count):
    kernel = np.asarray(HE_NORMAL[fan](jax.random.key(0), (3, 3, 40, 160), jnp.float32))
    np.testing.assert_allclose(kernel.var(), 2 / count, rtol=0.02)
    assert np.abs(kernel).max() > 3.5 * np.sqrt(2 / count)  # not truncated at 2 standard deviations


@pytest.mark.parametrize(("size", "stride", "features"), [((6, 6), 2, 8), ((5, 4), 2, 7), ((3, 3), 1, 8)])
def test_option_a_shortcut_is_the_numpy_one(size, stride, features):
    x = np.random.default_rng(0).normal(size=(2, *size, 4)).astype(np.float32)
    expected = np.zeros((2, -(-size[0] // stride), -(-size[1] // stride), features), np.float32)
    first = (features - 4) // 2
    for row in range(expected.shape[1]):
        for column in range(expected.shape[2]):
            expected[:, row, column, first : first + 4] = x[:, row * stride, column * stride]
    np.testing.assert_array_equal(identity_shortcut(x, features, stride), expected)
