"""The networks of Table 1: their counts of parameters, their start, and one of them again in NumPy."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.models.theta_networks import THETA_NETWORKS

NARROW = {
    "affnet": {"hidden": 6},
    "ffnn": {"hidden": 6},
    "resnet_s": {"width": 4, "blocks": 1},
    "resnet50": {"size": 28, "width": 4, "blocks": (1, 1)},
}


def maps_of(batch=5, height=14, width=14):
    return np.random.default_rng(0).uniform(0, 2, (batch, height, width)).astype(np.float32)


@pytest.mark.parametrize("prep", [False, True])
@pytest.mark.parametrize("name", THETA_NETWORKS)
def test_parameters_are_those_of_table_1(name, prep, vector):
    network = THETA_NETWORKS[name](prep=prep)
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((2, 14, 14)), train=False))
    found = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes["params"]))
    assert found == vector("parameter_counts").expected[f"table1_{name}"][int(prep)]


@pytest.mark.parametrize("prep", [False, True])
@pytest.mark.parametrize("name", THETA_NETWORKS)
def test_all_begin_with_the_identity(name, prep):
    network, maps = THETA_NETWORKS[name](prep=prep, **NARROW[name]), maps_of()
    variables = jax.jit(partial(network.init, train=False))(jax.random.key(0), maps)
    assert ("preprocess" in variables["params"]) == prep
    apply = jax.jit(lambda v, train: network.apply(v, maps, train=train, mutable=["batch_stats"]), static_argnums=1)
    for train in (False, True):
        theta, updates = apply(variables, train)
        assert theta.dtype == jnp.float32
        np.testing.assert_array_equal(theta, np.tile([1.0, 1.0, 0.0, 0.0], (5, 1)))
        moved = [
            not np.array_equal(*pair)
            for pair in zip(*map(jax.tree.leaves, (variables["batch_stats"], updates["batch_stats"])), strict=True)
        ]
        assert any(moved) == train


@pytest.mark.parametrize("name", THETA_NETWORKS)
def test_maps_of_other_sizes_and_dtypes(name):
    network, maps = THETA_NETWORKS[name](prep=True, **NARROW[name]), maps_of(3, 9, 12).astype(np.float16)
    theta = jax.eval_shape(lambda: network.init_with_output(jax.random.key(0), maps, train=False))[0]
    assert theta.shape == (3, 4) and theta.dtype == jnp.float32


@pytest.mark.parametrize("prep", [False, True])
def test_ffnn_is_the_numpy_one(prep, oracle, randomised):
    network, maps = THETA_NETWORKS["ffnn"](prep=prep, hidden=6), maps_of()
    variables = randomised(network, maps)
    if prep:
        variables["params"]["preprocess"]["threshold"] = np.float32(0.4)
    params, stats = variables["params"]["network"], variables["batch_stats"]["network"]["bn"]
    x = np.asarray(maps, np.float64)
    if prep:
        least = x.min((1, 2), keepdims=True)
        x = (x - least) / (x.max((1, 2), keepdims=True) - least)
        x = np.tanh(25 * np.maximum(x - np.float64(np.float32(0.4)), 0))
    x = x.reshape(5, -1) @ params["hidden"]["kernel"] + params["hidden"]["bias"]
    x = np.maximum(oracle.normalise(x, params["bn"], stats), 0)
    head = params["head"]["theta"]
    np.testing.assert_allclose(
        network.apply(variables, maps, train=False), x @ head["kernel"] + head["bias"], rtol=1e-4, atol=1e-5
    )


def test_resnets_see_the_map_in_three_channels_at_their_size(oracle, randomised):
    """Stem and first block by loops; the enlarged map is that of a bilinear interpolation between cell centres."""
    maps = maps_of(2, 5, 6)
    enlarged = np.stack([bilinear(one, 12, 12) for one in np.asarray(maps, np.float64)])
    for name, options, images in (
        ("resnet_s", {"width": 4, "blocks": 1}, maps),
        ("resnet50", {"size": 12, "width": 4, "blocks": (1,)}, enlarged),
    ):
        network = THETA_NETWORKS[name](prep=False, **options)
        variables = randomised(network, maps)
        params, stats = variables["params"]["network"], variables["batch_stats"]["network"]["trunk"]
        trunk = params["trunk"]
        x = np.maximum(oracle.conv_bn(np.repeat(images[..., None], 3, -1), trunk["stem"], stats["stem"], 2), 0)
        x = oracle.max_pool(x, 3, 2, pad=1)
        p, s = trunk["stage1_block1"], stats["stage1_block1"]
        y = np.maximum(oracle.conv_bn(x, p["conv1"], s["conv1"]), 0)
        y = np.maximum(oracle.conv_bn(y, p["conv2"], s["conv2"]), 0)
        x = oracle.conv_bn(x, p["shortcut"], s["shortcut"]) + oracle.conv_bn(y, p["conv3"], s["conv3"])
        x = np.maximum(x, 0)
        x = x.mean((1, 2)) if name == "resnet50" else x.reshape(2, -1)
        head = params["head"]["theta"]
        expected = x @ head["kernel"] + head["bias"]
        np.testing.assert_allclose(network.apply(variables, maps, train=False), expected, rtol=1e-4, atol=1e-5)


def bilinear(image, height, width):
    """An image enlarged, one pixel at a time; beyond the outermost centres it is constant."""

    def between(position, count):
        position = min(max(position, 0), count - 1)
        low = min(int(position), count - 2)
        return low, position - low

    out = np.zeros((height, width))
    for i, j in np.ndindex(height, width):
        row, down = between((i + 0.5) * image.shape[0] / height - 0.5, image.shape[0])
        column, right = between((j + 0.5) * image.shape[1] / width - 0.5, image.shape[1])
        upper, lower = ((1 - right) * image[r, column] + right * image[r, column + 1] for r in (row, row + 1))
        out[i, j] = (1 - down) * upper + down * lower
    return out
