import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.errors import UserError
from fsjax.models import MODELS, Encoded, build_model

SIZES = {
    "cnn": (8, 8, 1),
    "mnist_2d": (28, 28, 1),
    "mnist_100d": (28, 28, 1),
    "vgg13": (32, 32, 3),
    "resnet18_cifar": (32, 32, 3),
    "resnet32": (32, 32, 3),
    "resnet32_bbn": (32, 32, 3),
    "resnet50": (224, 224, 3),
    "resnet101": (224, 224, 3),
}
NARROW = {
    "cnn": {"stages": [[4], [6]]},
    "mnist_2d": {"stages": [[4], [6]], "hidden": [8]},
    "mnist_100d": {"stages": [[4], [6]], "dim": 5},
    "vgg13": {"widths": [4, 6, 8], "convs": [1, 1, 1]},
    "resnet18_cifar": {"width": 4, "blocks": [1, 1]},
    "resnet32": {"width": 4, "blocks": [1, 1]},
    "resnet32_bbn": {"width": 4, "blocks": [1, 1]},
    "resnet50": {"width": 4, "blocks": [1, 1]},
    "resnet101": {"width": 4, "blocks": [1, 1]},
}


def shapes_of(name):
    """Parameters and output of a network as shapes: nothing is computed."""
    model, images = build_model(name), jnp.zeros((2, *SIZES[name]))
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), images, train=False))
    return variables["params"], jax.eval_shape(lambda v: model.apply(v, images, train=False), variables)


def encode(model, variables, images):
    return jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, images)


def conv(inputs, outputs, side=3):
    """Parameters of a convolution without bias and its normalisation's scale and bias."""
    return side * side * inputs * outputs + 2 * outputs


MNIST_CONVS = conv(1, 32) + conv(32, 32) + conv(32, 64) + conv(64, 64)
BASIC = {width: 2 * conv(width, width) for width in (16, 32, 64)}
COUNTS = {
    "cnn": MNIST_CONVS,
    "mnist_2d": MNIST_CONVS + (7 * 7 * 64 * 256 + 2 * 256) + (256 * 2 + 2),
    "mnist_100d": MNIST_CONVS + conv(64, 128) + (3 * 3 * 128 * 100 + 100),
    "vgg13": (
        (conv(3, 96) + 4 * conv(96, 96)) + (conv(96, 192) + 3 * conv(192, 192)) + (conv(192, 384) + 3 * conv(384, 384))
    ),
    # Published, less the linear classifier: kuangliu/pytorch-cifar, akamaster, torchvision (twice).
    "resnet18_cifar": 11_173_962 - (512 * 10 + 10),
    "resnet32": 464_154 - (64 * 10 + 10),
    "resnet50": 25_557_032 - (2048 * 1000 + 1000),
    "resnet101": 44_549_160 - (2048 * 1000 + 1000),
    # Stem; 5 blocks; the widening one and 4; the widening one and 3; the two branches.
    "resnet32_bbn": (
        conv(3, 16)
        + 5 * BASIC[16]
        + (conv(16, 32) + conv(32, 32) + 4 * BASIC[32])
        + (conv(32, 64) + conv(64, 64) + 3 * BASIC[64])
        + 2 * BASIC[64]
    ),
}
MAPS = {
    "cnn": [(4, 32), (2, 64)],
    "mnist_2d": [(14, 32), (7, 64)],
    "mnist_100d": [(14, 32), (7, 64), (3, 128)],
    "vgg13": [(16, 96), (8, 192), (8, 384)],
    "resnet18_cifar": [(32, 64), (16, 128), (8, 256), (4, 512)],
    "resnet32": [(32, 16), (16, 32), (8, 64)],
    "resnet32_bbn": [(32, 16), (16, 32), (8, 128)],
    "resnet50": [(56, 256), (28, 512), (14, 1024), (7, 2048)],
    "resnet101": [(56, 256), (28, 512), (14, 1024), (7, 2048)],
}
DIMS = {"mnist_2d": 2, "mnist_100d": 100}


@pytest.mark.parametrize("name", MODELS)
def test_parameters_and_shapes(name):
    params, out = shapes_of(name)
    assert isinstance(out, Encoded)
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)) == COUNTS[name]
    expected = {f"stage{i}": (2, side, side, c) for i, (side, c) in enumerate(MAPS[name], 1)}
    assert {stage: maps.shape for stage, maps in out.maps.items()} == expected
    assert list(out.maps) == list(expected)
    assert out.embedding.shape == (2, DIMS.get(name, MAPS[name][-1][1]))


@pytest.mark.parametrize("name", MODELS)
def test_bfloat16_keeps_parameters_statistics_and_embedding_in_float32(name, randomised):
    images = jax.random.normal(jax.random.key(1), (2, 28, 28, 3))
    exact = build_model(name, options=NARROW[name])
    rough = build_model(name, dtype="bfloat16", options=NARROW[name])
    variables = jax.eval_shape(lambda: rough.init(jax.random.key(0), images, train=False))
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    variables = randomised(rough, images)
    out = encode(rough, variables, images)
    assert out.embedding.dtype == jnp.float32
    assert {maps.dtype for maps in out.maps.values()} == {jnp.dtype("bfloat16")}
    truth = encode(exact, variables, images).embedding
    assert np.abs(out.embedding - truth).max() < 0.05 * np.abs(truth).max()


def test_statistics_move_in_training_only(randomised):
    model = build_model("resnet32", options={"width": 4, "blocks": (1, 1)})
    images = jax.random.normal(jax.random.key(1), (4, 8, 8, 3))
    variables = randomised(model, images)
    evaluated, trained = (
        jax.jit(lambda v, train=train: model.apply(v, images, train=train, mutable=["batch_stats"])[1])(variables)
        for train in (False, True)
    )
    before = jax.tree.leaves(variables["batch_stats"])
    assert all(np.array_equal(a, b) for a, b in zip(before, jax.tree.leaves(evaluated), strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(before, jax.tree.leaves(trained), strict=True))


def relu(x):
    return np.maximum(x, 0)


def test_cnn_is_the_numpy_one(oracle, randomised):
    model = build_model("cnn", options={"stages": ((5, 6), (7,)), "pool": "flatten", "hidden": (8,), "dim": 3})
    images = np.random.default_rng(0).normal(size=(2, 9, 10, 2))
    variables = randomised(model, images)
    params, stats = variables["params"], variables["batch_stats"]
    backbone, running = params["backbone"], stats["backbone"]
    x = images
    for names in (["stage1_conv1", "stage1_conv2"], ["stage2_conv1"]):
        for name in names:
            x = relu(oracle.conv_bn(x, backbone[name], running[name]))
        x = oracle.max_pool(x, 2, 2)
    x = x.reshape(2, -1) @ params["hidden1"]["kernel"]
    x = relu(oracle.normalise(x, params["hidden1_bn"], stats["hidden1_bn"]))
    x = x @ params["embedding"]["kernel"] + params["embedding"]["bias"]
    np.testing.assert_allclose(encode(model, variables, images).embedding, x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet32", "resnet32_bbn", "resnet18_cifar"])
def test_cifar_resnets_are_the_numpy_one(name, oracle, randomised):
    model = build_model(name, options={"width": 4, "blocks": (1, 2)})
    images = np.random.default_rng(0).normal(size=(2, 7, 8, 3))  # an odd and an even size before the stride
    variables = randomised(model, images)
    params, stats = variables["params"]["backbone"], variables["batch_stats"]["backbone"]

    def block(x, name, stride):
        p, s = params[name], stats[name]
        y = relu(oracle.conv_bn(x, p["conv1"], s["conv1"], stride))
        y = oracle.conv_bn(y, p["conv2"], s["conv2"])
        if "shortcut" in p:
            x = oracle.conv_bn(x, p["shortcut"], s["shortcut"], stride)
        elif x.shape[-1] != y.shape[-1]:
            x, identity = np.zeros(y.shape), x
            x[..., 2:6] = identity[:, ::stride, ::stride]  # 4 channels in the middle of 8
        return relu(x + y)

    x = relu(oracle.conv_bn(images, params["stem"], stats["stem"]))
    x = block(x, "stage1_block1", 1)
    x = block(x, "stage2_block1", 2)
    last = ["stage2_branch1", "stage2_branch2"] if name == "resnet32_bbn" else ["stage2_block2"]
    x = np.concatenate([block(x, branch, 1) for branch in last], axis=-1)
    assert ("shortcut" in params["stage2_block1"]) == (name == "resnet18_cifar")
    np.testing.assert_allclose(encode(model, variables, images).embedding, x.mean((1, 2)), rtol=1e-4, atol=1e-5)


def test_imagenet_resnet_is_the_numpy_one(oracle, randomised):
    model = build_model("resnet50", options={"width": 2, "blocks": (1, 1), "pool": "gmp"})
    images = np.random.default_rng(0).normal(size=(2, 30, 33, 3))
    variables = randomised(model, images)
    params, stats = variables["params"]["backbone"], variables["batch_stats"]["backbone"]

    x = relu(oracle.conv_bn(images, params["stem"], stats["stem"], 2))
    x = oracle.max_pool(x, 3, 2, pad=1)
    for name, stride in (("stage1_block1", 1), ("stage2_block1", 2)):
        p, s = params[name], stats[name]
        y = relu(oracle.conv_bn(x, p["conv1"], s["conv1"]))
        y = relu(oracle.conv_bn(y, p["conv2"], s["conv2"], stride))
        y = oracle.conv_bn(y, p["conv3"], s["conv3"])
        x = relu(y + oracle.conv_bn(x, p["shortcut"], s["shortcut"], stride))
    np.testing.assert_allclose(encode(model, variables, images).embedding, x.max((1, 2)), rtol=1e-4, atol=1e-5)


def test_prelu_scales_the_negative_part_of_the_embedding(randomised):
    images = jax.random.normal(jax.random.key(1), (8, 8, 8, 1))
    plain, bent = (build_model("cnn", options={"stages": [[4]], "dim": 9, "prelu": on}) for on in (False, True))
    variables = randomised(bent, images)
    variables["params"]["prelu"]["slope"] = np.float32(0.3)
    params = {name: value for name, value in variables["params"].items() if name != "prelu"}
    before = np.asarray(encode(plain, {**variables, "params": params}, images).embedding)
    after = encode(bent, variables, images).embedding
    assert (before < 0).any() and (before > 0).any()
    np.testing.assert_allclose(after, np.where(before < 0, 0.3 * before, before), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("vgg31", {}, r"unknown model 'vgg31'; known: cnn, mnist_100d, .*resnet101.*Did you mean 'vgg13'\?"),
        ("vgg13", {"dtype": "float16"}, r"unknown model dtype 'float16'; known: bfloat16, float32"),
        (
            "vgg13",
            {"options": {"width": 4}},
            r"unknown option of model 'vgg13' 'width'.*known: convs, dim, pool, widths\.",
        ),
        ("cnn", {"options": {"dtype": "float32"}}, r"unknown option of model 'cnn' 'dtype'"),
        ("cnn", {"options": {"pool": "gup"}}, r"unknown pool 'gup'; known: flatten, gap, gmp"),
        ("vgg13", {"options": {"widths": (4, 8)}}, r"vgg13 takes a width and a number.*widths=\(4, 8\)"),
    ],
)
def test_what_cannot_be_built_is_named(name, arguments, message):
    with pytest.raises(UserError, match=message):
        build_model(name, **arguments)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("mnist_100d", (2, 7, 28, 1), "images of 7x28 are too small .* 3 times: at least 8x8 is needed"),
        ("vgg13", (2, 3, 3, 3), "at least 4x4"),
        ("cnn", (8, 8, 1), r"\[batch, height, width, channels\], .*\(8, 8, 1\)"),
    ],
)
def test_images_that_do_not_fit_are_refused(name, shape, message):
    with pytest.raises(UserError, match=message):
        build_model(name).init(jax.random.key(0), jnp.zeros(shape), train=False)
