"""AttNet, the pre-processing and AffNet: against the vectors, NumPy, and the paper's counts of parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.errors import UserError
from fsjax.models.affnet import BINARIZE, AffNet, Preprocess, binarized
from fsjax.models.attnet import AttNet

RNG = np.random.default_rng(0)


def count(module, x, **more):
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), x, **more))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))


def test_parameters_are_the_papers(vector):
    expected = vector("parameter_counts").expected
    maps = jnp.zeros((2, 14, 14))
    assert count(AffNet(), maps, train=False) == expected["affnet_without_prep"] == 4868
    assert count(AffNet(), maps, train=False) + count(Preprocess(), maps) == expected["affnet_with_prep"] == 4869
    attnet = AttNet((14, 14))
    assert attnet.input_size == (64, 64)
    assert count(attnet, jnp.zeros((2, 64, 64, 3)), train=False) == expected["attnet_with_3x3_head"] == 227649


@pytest.mark.parametrize("binarize", list(BINARIZE))
def test_preprocessing_is_the_vector(x64, vector, binarize):
    v = vector("affnet_preprocess")
    found = binarized(v.inputs["A"], v.params["w_tau"], binarize=binarize, sharpness=v.params["c"])
    np.testing.assert_allclose(found, v.expected[binarize], atol=1e-10)  # 1e-12 in the denominator, times 50
    np.testing.assert_allclose(found.max(1), v.expected[f"{binarize}_hprofile"], atol=1e-10)
    np.testing.assert_allclose(found.max(2), v.expected[f"{binarize}_vprofile"], atol=1e-10)
    if binarize == "rescaled":

        def total(maps, threshold):
            prepared = binarized(maps, threshold, binarize=binarize, sharpness=v.params["c"])
            return jnp.sum(prepared * v.inputs["cotangent"])

        of_maps, of_threshold = jax.grad(total, argnums=(0, 1))(v.inputs["A"], v.params["w_tau"])
        np.testing.assert_allclose(of_maps, v.expected["grad_A_rescaled"], atol=1e-8)
        np.testing.assert_allclose(of_threshold, v.expected["grad_w_tau_rescaled"], rtol=1e-9)


def test_preprocessing_of_a_constant_map_is_finite(jit):
    module = Preprocess()
    variables = module.init(jax.random.key(0), jnp.zeros((1, 4, 4)))
    assert jax.tree.leaves(variables) == [np.float32(0.3)]
    maps = jnp.full((2, 4, 4), 3.0)
    value, gradient = jit(jax.value_and_grad(lambda m: jnp.sum(module.apply(variables, m))))(maps)
    assert float(value) == 0.0 and np.isfinite(gradient).all()


def test_unknown_binarisation():
    with pytest.raises(UserError, match="unknown binarize 'hard'.*literal, rescaled, sigmoid"):
        Preprocess(binarize="hard").init(jax.random.key(0), jnp.zeros((1, 4, 4)))


def test_affnet_begins_with_the_identity_to_the_bit():
    maps = RNG.uniform(size=(5, 6, 9)).astype(np.float32)
    module = AffNet()
    variables = module.init(jax.random.key(0), maps, train=False)
    for train in (False, True):
        theta, _ = module.apply(variables, maps, train=train, mutable=["batch_stats"])
        np.testing.assert_array_equal(theta, [[1, 1, 0, 0]] * 5)


@pytest.mark.parametrize("train", [False, True])
def test_affnet_against_numpy(randomised, train):
    """Rows and columns are not mixed up: the map is no square, and every number is drawn."""
    maps = RNG.uniform(size=(7, 4, 6)).astype(np.float32)
    module = AffNet(hidden=5)
    variables = randomised(module, maps)
    theta, _ = module.apply(variables, maps, train=train, mutable=["batch_stats"])

    def network(name, profile):
        params = jax.tree.map(lambda x: np.asarray(x, np.float64), variables["params"][name])
        stats = variables["batch_stats"][name]["bn"]
        x = profile @ params["hidden"]["kernel"] + params["hidden"]["bias"]
        mean, var = (x.mean(0), x.var(0)) if train else (stats["mean"], stats["var"])
        x = (x - mean) / np.sqrt(var + 1e-5) * params["bn"]["scale"] + params["bn"]["bias"]
        return np.maximum(x, 0) @ params["head"]["theta"]["kernel"] + params["head"]["theta"]["bias"]

    (s_x, t_x), (s_y, t_y) = network("horizontal", maps.max(1)).T, network("vertical", maps.max(2)).T
    np.testing.assert_allclose(theta, np.stack([s_x, s_y, t_x, t_y], 1), rtol=2e-4, atol=1e-5)


def test_attnet_against_numpy(oracle, randomised, jit):
    """Stem, pooling, one block and the convolution without padding; of an image of just the size."""
    module = AttNet((2, 3), width=4, blocks=1)
    assert module.input_size == (16, 20)
    images = RNG.normal(size=(2, 16, 20, 3)).astype(np.float32)
    variables = randomised(module, images)
    found = jit(lambda v, x: module.apply(v, x, train=False))(variables, images)
    params, stats = (variables[name]["trunk"] for name in ("params", "batch_stats"))
    x = np.maximum(oracle.conv_bn(images, params["stem"], stats["stem"], 2), 0)
    x = oracle.max_pool(x, 3, 2, 1)
    params, stats = params["stage1_block1"], stats["stage1_block1"]
    y = np.maximum(oracle.conv_bn(x, params["conv1"], stats["conv1"]), 0)
    y = np.maximum(oracle.conv_bn(y, params["conv2"], stats["conv2"]), 0)
    y = oracle.conv_bn(y, params["conv3"], stats["conv3"])
    y = np.maximum(y + oracle.conv_bn(x, params["shortcut"], stats["shortcut"]), 0)
    last = variables["params"]["map"]
    expected = (oracle.convolve(y, last["kernel"]) + last["bias"])[:, 1:-1, 1:-1, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_attnet_takes_images_of_any_size(randomised):
    """A smooth picture gives the same map at two sizes, both reduced without aliasing."""
    module = AttNet((3, 3), width=4, blocks=1)
    maps = []
    for size in (80, 160):
        y, x = np.meshgrid(*[(np.arange(size) + 0.5) / size] * 2, indexing="ij")
        image = np.float32(np.stack([np.sin(3 * x), np.cos(4 * y), x * y], -1))[None]
        maps.append(module.apply(randomised(module, image), image, train=False))
    assert maps[0].shape == (1, 3, 3) and maps[0].dtype == jnp.float32
    np.testing.assert_allclose(*maps, atol=0.02)
