import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.models.pooling import POOLS, max_pool_2x2


@pytest.mark.parametrize("size", [(8, 8), (7, 6), (2, 5), (3, 3)])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_max_pool_2x2_is_the_windowed_one(size, dtype, padding):
    # All values differ, also in bfloat16, so that the gradient has one right answer.
    count = 2 * size[0] * size[1]
    values = np.random.default_rng(0).permutation(count) - count // 2
    x = jnp.asarray(values.reshape(2, *size, 1), dtype)

    def windowed(x):
        return nn.max_pool(x, (2, 2), strides=(2, 2), padding=padding.upper())

    def sliced(x):
        return max_pool_2x2(x, padding=padding)

    np.testing.assert_array_equal(sliced(x), windowed(x))
    weights = jnp.arange(1, windowed(x).size + 1, dtype=dtype).reshape(windowed(x).shape)
    mine, truth = (jax.grad(lambda x, f=f: jnp.sum(weights * f(x)))(x) for f in (sliced, windowed))
    np.testing.assert_array_equal(mine, truth)


def test_max_pool_2x2_shares_the_gradient_of_a_tie():
    gradient = jax.grad(lambda x: jnp.sum(max_pool_2x2(x)))(jnp.ones((1, 2, 2, 1)))
    np.testing.assert_array_equal(gradient, np.full((1, 2, 2, 1), 0.25))


def test_pools_of_bfloat16_maps_are_float32():
    maps = jnp.asarray(np.random.default_rng(0).normal(size=(2, 9, 7, 3)), jnp.bfloat16)
    exact = np.asarray(maps, np.float64)
    expected = {"gap": exact.mean((1, 2)), "gmp": exact.max((1, 2)), "flatten": exact.reshape(2, -1)}
    assert set(expected) == set(POOLS)
    for name, pool in POOLS.items():
        assert pool(maps).dtype == jnp.float32
        np.testing.assert_allclose(pool(maps), expected[name], rtol=1e-6, atol=1e-7)
