import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.errors import UserError
from fsjax.models import build_model
from fsjax.models.pooling import POOLS, global_average_pool, global_max_pool, k_max_pool, max_pool_2x2


@pytest.mark.xla
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_nan_of_either_sign_is_not_passed_over(sign):
    """0/0 as a processor computes it has its sign set, and XLA sorts such a NaN below all numbers."""
    maps = np.random.default_rng(0).normal(size=(2, 3, 3, 4)).astype(np.float32)
    maps[1, 2, 1, 3] = np.copysign(np.float32(np.nan), sign)
    for name, pool in POOLS.items():
        found = np.asarray(jax.jit(pool)(maps))
        assert np.isfinite(found[0]).all(), name
        assert np.isnan(found[1]).any(), name


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
    expected["kmax4"] = np.sort(exact.reshape(2, -1, 3), axis=1)[:, -4:].mean(1)
    assert set(expected) == set(POOLS)
    for name, pool in POOLS.items():
        assert pool(maps).dtype == jnp.float32
        np.testing.assert_allclose(pool(maps), expected[name], rtol=1e-6, atol=1e-7)


def test_k_max_pool_gives_the_vector(vector):
    v = vector("kmax_pooling")
    maps = jnp.asarray(v.inputs["maps"])
    for k, name in ((4, "k4"), (1, "k1"), (9, "k9_equals_gap")):
        np.testing.assert_allclose(k_max_pool(maps, k=k), v.expected[name], rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(POOLS["kmax4"](maps), k_max_pool(maps, k=4))


@pytest.mark.parametrize("ties", [False, True])
def test_k_max_pool_is_the_mean_of_a_sorted_list(ties):
    """With its gradient: 1 / k each for k of the largest. k = 1 is the maximum, k = all the average."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 4, (2, 3, 4, 5)) if ties else rng.permutation(120).reshape(2, 3, 4, 5)
    maps, cotangent = jnp.asarray(values, jnp.float32), jnp.asarray(rng.normal(size=(2, 5)), jnp.float32)

    def both(pool):
        pooled, pull = jax.vjp(pool, maps)
        return pooled, pull(cotangent)[0]

    for k in (1, 4, 7, 12):
        pooled, gradient = both(lambda x, k=k: k_max_pool(x, k=k))
        for n, c in np.ndindex(2, 5):
            column = values[n, :, :, c].ravel()
            order = sorted(range(12), key=lambda place, column=column: (-column[place], place))
            np.testing.assert_allclose(pooled[n, c], np.mean(column[order[:k]]), rtol=1e-6)
            expected = np.zeros(12)
            expected[order[:k]] = cotangent[n, c] / k
            np.testing.assert_allclose(gradient[n, :, :, c].ravel(), expected, rtol=1e-5)
    np.testing.assert_array_equal(k_max_pool(maps, k=1), global_max_pool(maps))
    np.testing.assert_allclose(k_max_pool(maps, k=12), global_average_pool(maps), rtol=1e-6)


def test_maps_with_fewer_positions_than_k_are_refused_in_words():
    with pytest.raises(UserError, match=r"k=4 largest.*1 to 3, the positions of maps of 1x3 .*'gap' or 'gmp'"):
        POOLS["kmax4"](jnp.zeros((2, 1, 3, 5)))
    with pytest.raises(UserError, match="k=0 largest"):
        k_max_pool(jnp.zeros((2, 2, 2, 5)), k=0)
    model = build_model("cnn", options={"stages": [[4]], "pool": "kmax4"})
    with pytest.raises(UserError, match="maps of 1x2"):
        jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((2, 2, 4, 1)), train=False))
