import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.models import build_model

VECTORS = Path(__file__).parents[1] / "vectors"
COUNTS = json.loads((VECTORS / "parameter_counts.json").read_text())["expected"]
SPATIAL = json.loads((VECTORS / "spatial_sizes.json").read_text())["expected"]["resnet12"]

ACTIVATIONS = {
    "swish": lambda x: x / (1 + np.exp(-x)),
    "leaky": lambda x: np.where(x > 0, x, 0.1 * x),
    "relu": lambda x: np.maximum(x, 0),
}


def pool_same(x, oracle):
    """TensorFlow's SAME for 2x2 windows: what is missing below and to the right never wins."""
    below, right = x.shape[1] % 2, x.shape[2] % 2
    x = np.pad(x, ((0, 0), (0, below), (0, right), (0, 0)), constant_values=-np.inf)
    return oracle.max_pool(x, 2, 2)


def numpy_block(x, params, stats, act, pool, oracle):
    """A block in inference, and what its first two convolutions say."""
    first = act(oracle.conv_bn(x, params["conv1"], stats["conv1"]))
    second = act(oracle.conv_bn(first, params["conv2"], stats["conv2"]))
    third = oracle.conv_bn(second, params["conv3"], stats["conv3"])
    shortcut = oracle.conv_bn(x, params["shortcut"], stats["shortcut"])
    return pool(act(third + shortcut)), first, second


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("pool_padding", ["valid", "same"])
def test_maps_and_sown_activations_are_the_numpy_ones(activation, pool_padding, oracle, randomised):
    options = {"widths": (4, 6), "activation": activation, "pool_padding": pool_padding}
    model = build_model("resnet12", options=options)
    images = np.random.default_rng(0).normal(size=(2, 7, 9, 3))  # odd before either pooling with "same"
    variables = randomised(model, images)
    params, stats = variables["params"]["backbone"], variables["batch_stats"]["backbone"]

    def pool(x):
        return oracle.max_pool(x, 2, 2) if pool_padding == "valid" else pool_same(x, oracle)

    out, sown = jax.jit(lambda v: model.apply(v, images, train=False, mutable=["intermediates"]))(variables)
    x = images
    for stage in ("stage1", "stage2"):
        x, *inner = numpy_block(x, params[stage], stats[stage], ACTIVATIONS[activation], pool, oracle)
        np.testing.assert_allclose(out.maps[stage], x, rtol=1e-4, atol=1e-5)
        block = sown["intermediates"]["backbone"][stage]
        for name, expected in zip(("activation1", "activation2"), inner, strict=True):
            assert len(block[name]) == 1
            np.testing.assert_allclose(block[name][0], expected, rtol=1e-4, atol=1e-5)
    assert x.shape[1:3] == ((1, 2) if pool_padding == "valid" else (2, 3))
    np.testing.assert_allclose(out.embedding, x.mean((1, 2)), rtol=1e-4, atol=1e-5)


def test_activations_are_sown_only_where_asked_for():
    model = build_model("resnet12", options={"widths": (4,)})
    images = jnp.ones((2, 4, 4, 3))
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), images, train=False))
    assert set(variables) == {"params", "batch_stats"}
    _, updated = jax.eval_shape(lambda v: model.apply(v, images, train=True, mutable=["batch_stats"]), variables)
    assert set(updated) == {"batch_stats"}


@pytest.mark.parametrize(
    ("row", "padding"), [("valid", "valid"), ("same", "same"), ("fc100", "valid"), ("meta_baseline_80", "valid")]
)
def test_sizes_of_the_maps(row, padding):
    model, (size, *expected) = build_model("resnet12", options={"pool_padding": padding}), SPATIAL[row]
    images = jnp.zeros((2, size, size, 3))
    out, _ = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), images, train=False))
    assert [maps.shape[1:3] for maps in out.maps.values()] == [(side, side) for side in expected]
    assert out.embedding.shape == (2, 512)


def test_parameters_by_kind_and_the_wide_variant():
    def counts(widths):
        model = build_model("resnet12", options={"widths": widths})
        shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=False))
        found = {"conv": 0, "bn": 0}
        for path, leaf in jax.tree_util.tree_leaves_with_path(shapes["params"]):
            found["conv" if path[-1].key == "kernel" else "bn"] += leaf.size
        return found

    expected = COUNTS["resnet12_64_128_256_512"]
    assert counts((64, 128, 256, 512)) == {"conv": expected["conv"], "bn": expected["bn"]}
    # The last block alone differs: 3x3 and 1x1 from 256, two 3x3 among its own, four normalisations.
    conv, bn = ((9 + 1) * 256 * 528 + 18 * 528 * 528), 4 * 2 * 528
    narrow, narrow_bn = ((9 + 1) * 256 * 512 + 18 * 512 * 512), 4 * 2 * 512
    wide = {"conv": expected["conv"] + conv - narrow, "bn": expected["bn"] + bn - narrow_bn}
    assert counts((64, 128, 256, 528)) == wide


@pytest.mark.parametrize(
    ("activation", "variance"),
    [("swish", 2 / (9 * 30)), ("relu", 2 / (9 * 30)), ("leaky", 2 / (1 + 0.1**2) / (9 * 90))],
)
def test_initial_kernels_have_the_variance_that_the_activation_asks_for(activation, variance):
    model = build_model("resnet12", options={"widths": (30, 90), "activation": activation})
    variables = jax.jit(lambda: model.init(jax.random.key(0), jnp.zeros((1, 4, 4, 3)), train=False))()
    kernel = variables["params"]["backbone"]["stage2"]["conv1"]["conv"]["kernel"]  # 30 to 90 channels
    np.testing.assert_allclose(np.var(kernel), variance, rtol=0.05)
