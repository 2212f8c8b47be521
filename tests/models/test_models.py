import json
import math
from pathlib import Path

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
    "c64f": (84, 84, 3),
    "c128f": (84, 84, 3),
    "vgg13": (32, 32, 3),
    "resnet12": (84, 84, 3),
    "resnet18_cifar": (32, 32, 3),
    "resnet32": (32, 32, 3),
    "resnet32_bbn": (32, 32, 3),
    "wrn28_10": (32, 32, 3),
    "resnet18": (224, 224, 3),
    "resnet50": (224, 224, 3),
    "resnet101": (224, 224, 3),
    "efficientnet_lite0": (224, 224, 3),
}


# Counts of docs/readings.md, "ResNet-12", and sizes of its networks' maps, by arithmetic.
VECTORS = Path(__file__).parents[1] / "vectors"
PUBLISHED = json.loads((VECTORS / "parameter_counts.json").read_text())["expected"]
SPATIAL = json.loads((VECTORS / "spatial_sizes.json").read_text())["expected"]["resnet12"]


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


def pre_activation(inputs, outputs):
    """Parameters of a block of a wide residual network: the first normalisation is of the inputs."""
    shortcut = inputs * outputs if inputs != outputs else 0
    return 2 * inputs + 9 * inputs * outputs + 2 * outputs + 9 * outputs * outputs + shortcut


MNIST_CONVS = conv(1, 32) + conv(32, 32) + conv(32, 64) + conv(64, 64)
BASIC = {width: 2 * conv(width, width) for width in (16, 32, 64)}
COUNTS = {
    "cnn": MNIST_CONVS,
    "mnist_2d": MNIST_CONVS + (7 * 7 * 64 * 256 + 2 * 256) + (256 * 2 + 2),
    "mnist_100d": MNIST_CONVS + conv(64, 128) + (3 * 3 * 128 * 100 + 100),
    "vgg13": (
        (conv(3, 96) + 4 * conv(96, 96)) + (conv(96, 192) + 3 * conv(192, 192)) + (conv(192, 384) + 3 * conv(384, 384))
    ),
    "c64f": conv(3, 64) + 3 * conv(64, 64),
    "c128f": conv(3, 64) + conv(64, 64) + conv(64, 128) + conv(128, 128),
    "resnet12": PUBLISHED["resnet12_64_128_256_512"]["total"],
    # Stem; each group's widening block and 3 more; the last normalisation.
    "wrn28_10": (
        9 * 3 * 16
        + sum(pre_activation(i, o) + 3 * pre_activation(o, o) for i, o in ((16, 160), (160, 320), (320, 640)))
        + 2 * 640
    ),
    # Published, less the linear classifier: kuangliu/pytorch-cifar, akamaster, torchvision (three times).
    "resnet18_cifar": 11_173_962 - (512 * 10 + 10),
    "resnet32": 464_154 - (64 * 10 + 10),
    "resnet18": 11_689_512 - (512 * 1000 + 1000),
    "resnet50": 25_557_032 - (2048 * 1000 + 1000),
    "resnet101": 44_549_160 - (2048 * 1000 + 1000),
    "efficientnet_lite0": 4_652_008 - (1280 * 1000 + 1000),
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
    "c64f": [(42, 64), (21, 64), (10, 64), (5, 64)],
    "c128f": [(42, 64), (21, 64), (10, 128), (5, 128)],
    "vgg13": [(16, 96), (8, 192), (8, 384)],
    "resnet12": list(zip(SPATIAL["valid"][1:], (64, 128, 256, 512), strict=True)),
    "resnet18_cifar": [(32, 64), (16, 128), (8, 256), (4, 512)],
    "resnet32": [(32, 16), (16, 32), (8, 64)],
    "resnet32_bbn": [(32, 16), (16, 32), (8, 128)],
    "wrn28_10": [(32, 160), (16, 320), (8, 640)],
    "resnet18": [(56, 64), (28, 128), (14, 256), (7, 512)],
    "resnet50": [(56, 256), (28, 512), (14, 1024), (7, 2048)],
    "resnet101": [(56, 256), (28, 512), (14, 1024), (7, 2048)],
    "efficientnet_lite0": [(112, 16), (56, 24), (28, 40), (14, 112), (7, 1280)],
}
DIMS = {"mnist_2d": 2, "mnist_100d": 100, "c64f": 5 * 5 * 64, "c128f": 5 * 5 * 128}


@pytest.mark.xla
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
def test_bfloat16_keeps_parameters_statistics_and_embedding_in_float32(name, randomised, narrow):
    images = jax.random.normal(jax.random.key(1), (2, 28, 28, 3))
    exact = build_model(name, options=narrow[name])
    rough = build_model(name, dtype="bfloat16", options=narrow[name])
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


@pytest.mark.parametrize("last_relu", [True, False])
def test_conv4_is_the_numpy_one(last_relu, oracle, randomised):
    options = {"widths": (5, 6), "last_relu": last_relu, "pool": "gap"}
    model = build_model("c128f", options=options)
    images = np.random.default_rng(0).normal(size=(2, 9, 10, 3))
    variables = randomised(model, images)
    params, stats = variables["params"]["backbone"], variables["batch_stats"]["backbone"]
    x = oracle.max_pool(relu(oracle.conv_bn(images, params["stage1_conv1"], stats["stage1_conv1"])), 2, 2)
    x = oracle.conv_bn(x, params["stage2_conv1"], stats["stage2_conv1"])
    x = oracle.max_pool(relu(x) if last_relu else x, 2, 2)
    assert (x < 0).any() != last_relu
    np.testing.assert_allclose(encode(model, variables, images).maps["stage2"], x, rtol=1e-4, atol=1e-5)


def test_wide_resnet_is_the_numpy_one(oracle, randomised):
    model = build_model("wrn28_10", options={"depth": 16, "widen": 1})
    images = np.random.default_rng(0).normal(size=(2, 7, 8, 3))  # an odd and an even size before the stride
    variables = randomised(model, images)
    params, stats = variables["params"]["backbone"], variables["batch_stats"]["backbone"]

    x = oracle.convolve(images, params["stem"]["kernel"])
    for stage in (1, 2, 3):
        for index in (1, 2):
            p, s = params[f"stage{stage}_block{index}"], stats[f"stage{stage}_block{index}"]
            stride = 2 if stage > 1 and index == 1 else 1
            active = relu(oracle.normalise(x, p["bn1"], s["bn1"]))
            y = oracle.convolve(active, p["conv1"]["kernel"], stride)
            y = oracle.convolve(relu(oracle.normalise(y, p["bn2"], s["bn2"])), p["conv2"]["kernel"])
            # widen=1 keeps 16 channels in the first group, so that only the strided blocks project.
            assert ("shortcut" in p) == (stride == 2)
            if stride == 2:
                x = active[:, ::2, ::2] @ np.asarray(p["shortcut"]["kernel"], np.float64)[0, 0]
            x = x + y
    x = relu(oracle.normalise(x, params["bn"], stats["bn"]))
    np.testing.assert_allclose(encode(model, variables, images).embedding, x.mean((1, 2)), rtol=1e-4, atol=1e-5)


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
        ("vgg31", {}, r"unknown model 'vgg31'; known: c128f, c64f, cnn, .*resnet101.*Did you mean 'vgg13'\?"),
        ("vgg13", {"dtype": "float16"}, r"unknown model dtype 'float16'; known: bfloat16, float32"),
        (
            "vgg13",
            {"options": {"width": 4}},
            r"unknown key in model.vgg13: 'width'; known: convs, dim, pool, widths\.",
        ),
        ("cnn", {"options": {"dtype": "float32"}}, r"unknown key in model.cnn: 'dtype'"),
        ("cnn", {"options": {"pool": "gup"}}, r"model.cnn.pool='gup' must be one of 'gap', 'gmp'"),
        (
            "resnet12",
            {"options": {"activation": "elu"}},
            r"activation='elu' must be one of 'swish', 'leaky', 'relu'",
        ),
        (
            "resnet12",
            {"options": {"pool_padding": "full"}},
            r"pool_padding='full' must be one of 'valid', 'same'",
        ),
        (
            "resnet12",
            {"options": {"widths": ()}},
            r"model.resnet12.widths=\(\) must be a tuple of 1 to 50",
        ),
        ("resnet12", {"options": {"widths": (4, 0)}}, r"model.resnet12.widths=\(4, 0\): each must be at least 1"),
        ("wrn28_10", {"options": {"depth": 27}}, r"depth=27: depths are 6n \+ 4 .*10, 16, 22, 28"),
        ("wrn28_10", {"options": {"depth": 4}}, r"depth=4 must be at least 10"),
        ("vgg13", {"options": {"widths": (4, 8)}}, r"widths=\(4, 8\) and .*convs=.*: vgg13 takes a width and a number"),
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
        ("resnet12", (2, 84, 15, 3), "images of 84x15 are too small .* 4 times: at least 16x16"),
        ("cnn", (8, 8, 1), r"\[batch, height, width, channels\], .*\(8, 8, 1\)"),
    ],
)
def test_images_that_do_not_fit_are_refused(name, shape, message):
    with pytest.raises(UserError, match=message):
        build_model(name).init(jax.random.key(0), jnp.zeros(shape), train=False)
