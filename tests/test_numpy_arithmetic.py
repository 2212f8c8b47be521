"""What NumPy computes of a traced function is what XLA does."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from tests.numpy_arithmetic import numpy_arithmetic, numpy_jit

RNG = np.random.default_rng(0)
IMAGES, KERNEL = RNG.normal(size=(2, 7, 6, 4)), RNG.normal(size=(3, 3, 4, 8))
X, Y, SQUARE = (RNG.normal(size=shape) for shape in ((4, 5), (4, 5), (5, 5)))
ROWS, LABELS = np.array([3, 0, 3, 9, -1]), np.array([1, 0, 4, 4])


def refuse(*_, **__):
    pytest.fail("a primitive is not known to NumPy")


def gathered(x, rows):
    near = rows % 4
    picked = [x.at[near].get(mode="promise_in_bounds"), *(x.at[rows].get(mode=mode) for mode in ("clip", "fill"))]
    along = jnp.take_along_axis(x, near[None, :].repeat(4, 0), 1)
    return [*picked, x[:, near, None], along, jnp.take(jnp.arange(4), rows)]


def scattered(x, rows):
    to, some = x.at[rows], jnp.ones((5, 5)) * jnp.arange(5.0)
    by_rows = [to.add(some), to.add(some, mode="clip"), to.set(7.0), to.max(some), to.min(some), to.multiply(some)]
    return [*by_rows, x.at[:, rows % 4].add(1.0), x.at[1:3, 2].set(0.0)]


def controlled(x, count):
    sums = lax.scan(lambda carry, row: (carry + row, carry * row), x[0], x)
    back = lax.scan(lambda carry, row: (carry - row, carry), x[0], x, reverse=True)
    loops = lax.while_loop(lambda s: s[0] < count, lambda s: (s[0] + 1, s[1] * 2), (0, x))
    cases = [lax.cond(count > n, lambda v: v + 1, lambda v: v - 1, x) for n in (1, 8)]
    return sums, back, loops, cases, lax.fori_loop(0, 3, lambda i, v: v + i, x)


def searched(x):
    sorts = [jnp.sort(x), jnp.argsort(-x, axis=0), lax.top_k(x, 3), lax.sort((jnp.round(x), x), num_keys=2)]
    running = [jnp.cumsum(x, 1), lax.cumsum(x, 0, reverse=True), lax.cummax(x, 0)]
    return [*sorts, *running, x.argmax(1), x.argmin(0), jnp.median(x)]


def shaped(x, y):
    parts = [x[::2, ::-1], lax.dynamic_slice(x, (3, 1), (2, 2)), jnp.split(x, [2], 0), x.T, x[None].squeeze(0)]
    whole = [jnp.concatenate([x, y], 1), jnp.tile(x, (2, 1)), jnp.stack([x, y], 1), jnp.where(x > 0, x, y)]
    padded = lax.pad(x, jnp.ones((), x.dtype), [(1, -2, 2), (-1, 3, 0)])
    return [*parts, *whole, padded, lax.dynamic_update_slice(x, y[:2, :2], (1, 4)), jnp.clip(x, -0.5, 0.5), jnp.eye(3)]


def multiplied(x, y, square):
    batches = jnp.einsum("bij,bjk->bik", x[:, None] * square, square[None] * y[:, None])
    products = [x @ square, jnp.einsum("ij,kj->ik", x, y), jnp.einsum("bi,bi->b", x, y), batches]
    return [*products, jnp.sum(x), jnp.prod(x, 1), jnp.any(x > 2), jnp.all(x < 2, 0)]


def convolved(images, kernel):
    names = ("NHWC", "HWIO", "NHWC")

    def total(images, kernel, **options):
        return jnp.sum(jnp.sin(lax.conv_general_dilated(images, kernel, dimension_numbers=names, **options)))

    return [
        jax.value_and_grad(total, (0, 1))(images, kernel[:, :, : 4 // groups], **options, feature_group_count=groups)
        for groups in (1, 2, 4)
        for options in (
            {"window_strides": (1, 1), "padding": "SAME"}, {"window_strides": (2, 1), "padding": ((0, 1), (2, 0))},
            {"window_strides": (2, 2), "padding": "VALID", "rhs_dilation": (2, 1)},
        )
    ]  # fmt: skip


def pooled(images, _):
    def total(images, padding):
        largest = nn.max_pool(images, (3, 2), (2, 2), padding)
        return jnp.sum(jnp.cos(largest)) + jnp.sum(nn.avg_pool(images, (2, 2), (1, 2), padding) ** 2)

    return [jax.value_and_grad(total)(images, padding) for padding in ("SAME", "VALID")]


def formulas(x, y):
    unit = jnp.tanh(x) * 0.9
    stable = [jax.nn.log_softmax(x), jax.nn.softplus(y), jax.nn.sigmoid(x), jnp.log1p(unit), jnp.expm1(x)]
    powers = [lax.rsqrt(x**2 + 1), x**3, x**-2, jnp.abs(y) ** x]
    angles = [jnp.arccos(unit), jnp.arctan2(x, y)]
    whole = [jnp.mod(x, 0.3), jnp.floor_divide(jnp.arange(-4, 4), 3), jnp.round(x), jnp.sign(x)]
    return [*stable, *powers, *angles, *whole, lax.erf(x), jnp.isfinite(x / 0), jnp.maximum(x, y)]


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (gathered, (X, ROWS)), (scattered, (X, ROWS)), (controlled, (X, 5)), (searched, (X,)), (shaped, (X, Y)),
        (multiplied, (X, Y, SQUARE)), (formulas, (X, Y)), (convolved, (IMAGES, KERNEL)), (pooled, (IMAGES, KERNEL)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_results_are_xlas(function, arguments, dtype):
    with jax.enable_x64(dtype == "float64"):
        given = [arg.astype(dtype) if getattr(arg, "dtype", None) == np.float64 else arg for arg in arguments]
        ours, theirs = numpy_jit(function, refuse)(*given), jax.jit(function)(*given)
        assert jax.tree.structure(ours) == jax.tree.structure(theirs)
        for x, y in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            assert x.dtype == y.dtype
            close = {"rtol": 1e-12, "atol": 1e-12} if dtype == "float64" else {"rtol": 1e-4, "atol": 1e-4}
            np.testing.assert_allclose(x, y, **close)


def loss(x, labels, *, scale):
    """Of a vector's kind: rows picked by label, an own gradient, clips, a mean."""
    logits = scale * x @ jax.nn.relu(x[:3].T) + jnp.arange(3)
    own = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None] % 3, axis=1)
    counts = jnp.zeros(5).at[labels].add(1.0)
    return -jnp.mean(own[:, 0] * counts[labels]) + jnp.linalg.norm(jnp.clip(x, -1, 1))


def test_gradients_are_xlas(x64):
    gradients = jax.value_and_grad(loss)
    ours = numpy_jit(gradients, refuse)(X, LABELS, scale=2.0)
    for x, y in zip(jax.tree.leaves(ours), jax.tree.leaves(jax.jit(gradients)(X, LABELS, scale=2.0)), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-14)


def test_half_precision_is_summed_in_single():
    x = np.full((300, 3), 1.01, jnp.bfloat16)
    ours, theirs = numpy_jit(jnp.sum, refuse)(x), jax.jit(jnp.sum)(x)
    assert ours.dtype == theirs.dtype == jnp.bfloat16
    np.testing.assert_allclose(ours.astype("f"), np.asarray(theirs, "f"), rtol=0.01)


@pytest.mark.parametrize("function", [controlled, formulas, convolved, pooled, loss])
def test_operations_one_by_one_are_xlas(function, x64):
    arguments = {controlled: (X, 5), formulas: (X, Y), loss: (X, LABELS)}.get(function, (IMAGES, KERNEL))
    options = {"scale": 0.5} if function is loss else {}
    theirs = jax.jit(partial(function, **options))(*arguments)
    with numpy_arithmetic():
        key = jax.random.key(3)
        ours = function(*map(jnp.asarray, arguments), **options)
        drawn = jax.random.normal(jax.random.fold_in(key, 7), (5,))
    for x, y in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(drawn, jax.random.normal(jax.random.fold_in(key, 7), (5,)), rtol=1e-12)


def drawn(seed):
    key = jax.random.key(seed, impl="threefry2x32")
    first, second = jax.random.split(key)
    rows = jax.vmap(lambda key: jax.random.normal(key, (3,)))(jax.random.split(second, 4))
    folded = jax.vmap(lambda number: jax.random.uniform(jax.random.fold_in(first, number)))(jnp.arange(4))
    bits = [jax.random.bits(key, (2, 3), f"uint{width}") for width in (8, 16, 32)]
    wide = jax.random.bits(first, (5,), "uint64") if jax.config.jax_enable_x64 else ()
    others = jax.random.uniform(jax.random.key(seed, impl="rbg"), (3,))
    return rows, folded, bits, wide, others, jax.random.permutation(first, 7), jax.random.beta(second, 2.0, 3.0)


@pytest.mark.parametrize("double", [False, True])
def test_random_numbers_are_xlas(double):
    with jax.enable_x64(double):
        theirs = jax.tree.leaves(jax.jit(drawn)(3))
        traced = jax.tree.leaves(numpy_jit(drawn, refuse)(3))
        with numpy_arithmetic():
            one_by_one = jax.tree.leaves(drawn(3))
        for x, *ours in zip(theirs, traced, one_by_one, strict=True):
            for y in ours:
                np.testing.assert_allclose(y, x, rtol=1e-12 if double else 1e-6, atol=1e-7)
                assert y.dtype == x.dtype


def test_other_primitives_are_compiled():
    called = []
    numpy_jit(jnp.linalg.cholesky, lambda x: called.append(x.shape))(np.eye(3))
    assert called == [(3, 3)]


def test_static_arguments_and_constants_are_not_traced():
    function = numpy_jit(lambda x, count, kind: [x * 2] * count if kind == "twice" else [x], refuse, static_argnums=1)
    assert len(function(np.ones(2), 3, "twice")) == 3 and len(function(np.ones(2), 3, "once")) == 1
