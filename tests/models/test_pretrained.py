"""Weights of torchvision's and timm's ResNets: the activations are PyTorch's, and what does not fit is named."""

import math
import runpy
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from fsjax.errors import UserError
from fsjax.models import build_model, pretrained
from fsjax.models.resnet import ResNet

VECTORS = Path(__file__).parents[1] / "vectors"
SCRIPT = runpy.run_path(str(Path(__file__).with_name("torchvision_activations.py")))
OURS = {
    "torchvision_resnet50": ("resnet50", "plain"),
    "torchvision_resnet101": ("resnet101", "plain"),
    "timm_resnet50c": ("resnet50", "C"),
}
TINY = {"width": 4, "blocks": (2, 1)}


def shapes_of(backbone, channels=3):
    """The variables of a backbone, as shapes."""
    images = jax.ShapeDtypeStruct((1, 32, 32, channels), jnp.float32)
    return jax.eval_shape(lambda x: backbone.init(jax.random.key(0), x, train=False), images)


def tiny(*, channels=3, **overrides):
    """What a small network asks for."""
    return shapes_of(ResNet(**{**TINY, **overrides}), channels)


def file_of(tmp_path, weights, name="weights.safetensors"):
    save_file({key: np.ascontiguousarray(value) for key, value in weights.items()}, tmp_path / name)
    return tmp_path / name


@pytest.fixture
def tiny_weights():
    """A state dict of the small network, as torchvision would name it."""
    return SCRIPT["weights"](TINY["blocks"], width=TINY["width"])


@pytest.mark.xla
@pytest.mark.parametrize("name", OURS)
def test_activations_are_those_of_pytorch(name, tmp_path):
    """On random weights, far from 0 and 1, and images of an even and of two odd sizes."""
    blocks, deep = SCRIPT["NETWORKS"][name]
    model, stem = OURS[name]
    backbone = build_model(model, options={"stem": stem}).backbone
    path = file_of(tmp_path, SCRIPT["weights"](blocks, deep=deep))
    variables = pretrained.load(pretrained.find(str(path)), shapes_of(backbone))
    stored = np.load(VECTORS / f"{name}.npz")
    for height, width in SCRIPT["SIZES"]:
        # Without jit: each of the few kinds of blocks is then compiled once.
        maps = backbone.apply(variables, SCRIPT["images"](height, width), train=False)
        size = f"{height}x{width}"
        for stage, found in maps.items():
            expected = stored[f"{size}/{stage}"]
            assert expected.std() > 0.1
            np.testing.assert_allclose(SCRIPT["part"](np.asarray(found)), expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(maps["stage4"].mean((1, 2)), stored[f"{size}/pooled"], rtol=1e-4, atol=1e-4)


@pytest.mark.xla
@pytest.mark.parametrize(("name", "total"), [("resnet50", 25_576_264), ("resnet101", 44_568_392)])
def test_parameters_of_the_deep_stem(name, total):
    """timm's resnet50c and resnet101c, less the classifier; the three convolutions' names; the size halves twice."""
    model = build_model(name, options={"stem": "C"})
    variables = shapes_of(model)
    params = variables["params"]["backbone"]
    assert sum(math.prod(x.shape) for x in jax.tree.leaves(params)) == total - (2048 * 1000 + 1000)
    kernels = [params[f"stem{i}"]["conv"]["kernel"].shape for i in (1, 2, 3)]
    assert kernels == [(3, 3, 3, 32), (3, 3, 32, 32), (3, 3, 32, 64)]
    assert "stem" not in params
    out = jax.eval_shape(lambda v: model.apply(v, jnp.zeros((1, 75, 64, 3)), train=False), variables)
    assert out.maps["stage1"].shape == (1, 19, 16, 256)


def test_the_plain_stem_keeps_its_names():
    """Checkpoints, and AttNet's trunk, go by them."""
    trunk = shapes_of(ResNet(8, blocks=(3,)))
    assert sorted(trunk["params"]) == ["stage1_block1", "stage1_block2", "stage1_block3", "stem"]
    assert shapes_of(build_model("resnet50", options=TINY))["params"]["backbone"].keys() == {
        "stem", "stage1_block1", "stage1_block2", "stage2_block1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stem": "c"}, r"model.resnet101.stem='c' must be one of 'plain', 'C'"),
        ({"stem": "C", "width": 5}, "model.resnet101.width=5 must be even with the stem 'C'"),
    ],
)
def test_stems_that_cannot_be(options, message):
    with pytest.raises(UserError, match=message):
        build_model("resnet101", options=options)


def test_every_array_finds_its_place(tiny_weights):
    """Each leaf, by its name in the file, written down by hand."""
    trees = pretrained.convert(tiny_weights, tiny(), source="the file")
    params, stats = trees["params"], trees["batch_stats"]
    block, block_stats = params["stage2_block1"], stats["stage2_block1"]
    kernel = tiny_weights["layer2.0.conv2.weight"]
    for out, into, row, column in np.ndindex(kernel.shape):
        assert block["conv2"]["conv"]["kernel"][row, column, into, out] == kernel[out, into, row, column]
    for ours, theirs in [
        (params["stem"]["bn"]["scale"], "bn1.weight"),
        (stats["stem"]["bn"]["mean"], "bn1.running_mean"),
        (params["stage1_block2"]["conv1"]["bn"]["bias"], "layer1.1.bn1.bias"),
        (block["conv3"]["bn"]["scale"], "layer2.0.bn3.weight"),
        (block["shortcut"]["bn"]["bias"], "layer2.0.downsample.1.bias"),
        (block_stats["shortcut"]["bn"]["var"], "layer2.0.downsample.1.running_var"),
        (block["shortcut"]["conv"]["kernel"][0, 0].T, "layer2.0.downsample.0.weight"),
    ]:
        np.testing.assert_array_equal(ours, tiny_weights[theirs].reshape(ours.shape))
    shapes = jax.tree.map(lambda x: (x.shape, str(x.dtype)), tiny())
    assert jax.tree.map(lambda x: (x.shape, str(x.dtype)), trees) == shapes


def test_a_part_of_the_network_takes_its_part_of_the_file(tmp_path):
    """AttNet's trunk from a whole ResNet-50's file: its stem and first stage."""
    weights = SCRIPT["weights"]((3, 4, 6, 3), width=4)
    path = file_of(tmp_path, weights)
    trunk = shapes_of(ResNet(4, blocks=(3,)))
    trees = pretrained.load(path, trunk)
    assert jax.tree.map(np.shape, trees) == jax.tree.map(lambda x: x.shape, trunk)
    np.testing.assert_array_equal(trees["params"]["stage1_block3"]["conv3"]["bn"]["bias"], weights["layer1.2.bn3.bias"])
    assert all(name.startswith(("conv1.", "bn1.", "layer1.")) for name in pretrained.check(path, trunk))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_other_floats_are_converted(dtype, tiny_weights, tmp_path):
    weights = {k: v.astype(dtype) if v.dtype == np.float32 else v for k, v in tiny_weights.items()}
    trees = pretrained.load(file_of(tmp_path, weights), tiny())
    assert {leaf.dtype for leaf in jax.tree.leaves(trees)} == {np.dtype(np.float32)}
    found = trees["params"]["stage1_block1"]["conv2"]["bn"]["scale"]
    np.testing.assert_array_equal(found, weights["layer1.0.bn2.weight"].astype(np.float32))
    tolerance = {"float16": 2**-11, "bfloat16": 2**-8, "float64": 0}[np.dtype(dtype).name]
    np.testing.assert_allclose(found, tiny_weights["layer1.0.bn2.weight"], rtol=tolerance)


def without(*names):
    return lambda weights: [weights.pop(name) for name in names]


def replaced(name, value):
    return lambda weights: weights.update({name: value(weights[name])})


def with_a_prefix(weights):
    for name in list(weights):
        weights[f"module.{name}"] = weights.pop(name)


def with_one_more(name):
    return lambda weights: weights.update({name: np.ones(3, np.float32)})


def as_it_is(weights):
    pass


# What is done to the small network's file, what the network has otherwise, and what is said.
MISMATCHES = {
    "missing": (
        without("layer1.1.bn2.running_var"), {},
        "has no 'layer1.1.bn2.running_var', which the network's stage1_block2/conv2/bn/var needs",
    ),
    # The first in the network's order.
    "two missing": (
        without("layer2.0.bn1.bias", "layer1.0.downsample.0.weight"), {},
        "has no 'layer1.0.downsample.0.weight', which the network's stage1_block1/shortcut/conv/kernel needs",
    ),
    "shape": (
        replaced("layer1.0.conv2.weight", lambda x: x[:, :, :1]), {},
        "'layer1.0.conv2.weight' is 4x4x1x3, and the network's stage1_block1/conv2/conv/kernel needs 4x4x3x3",
    ),
    "length": (replaced("bn1.bias", lambda x: x[:3]), {}, "'bn1.bias' is 3, and the network's stem/bn/bias needs 4"),
    "grey images": (
        as_it_is, {"channels": 1},
        "'conv1.weight' is 4x3x7x7, .*stem/conv/kernel needs 4x1x7x7: one takes 3 channels, the other 1",
    ),
    "width": (as_it_is, {"width": 8}, "'conv1.weight' is 4x3x7x7, .* needs 8x3x7x7: it is of another network"),
    "deeper network": (
        as_it_is, {"blocks": (2, 3)},
        "has no 'layer2.1.conv1.weight', which the network's stage2_block2/conv1/conv/kernel needs: there are 1 blocks "
        "in its layer2, 3 in the network's stage2: it is of another depth",
    ),
    "shallower network": (
        as_it_is, {"blocks": (1, 1)},
        "has 'layer1.1.*', for which the network has no place: there are 2 blocks in its layer1, 1 in the network's",
    ),
    "more stages": (as_it_is, {"blocks": (2, 1, 1)}, "has no 'layer3.0.conv1.weight'.*0 blocks in its layer3, 1 in"),
    "deep stem": (as_it_is, {"stem_kind": "C"}, "has no 'conv1.0.weight'.*stem1/conv/kernel.*plain one.*'C'"),
    # Squeeze-and-excitation.
    "more in a block": (
        with_one_more("layer1.0.se.fc1.weight"), {},
        "has 'layer1.0.se.fc1.weight', for which the network has no place: its layer1.0 is another kind of block",
    ),
    "another classifier": (
        with_one_more("last_linear.weight"), {},
        "has 'last_linear.weight', for which the network has no place: only the classifier, fc, is passed over",
    ),
    "saved from a wrapper": (with_a_prefix, {}, r"has no 'conv1.weight', .*its 74 arrays are called module\."),
    "empty": (lambda weights: weights.clear(), {}, "has no 'conv1.weight', .*it is empty"),
    "quantised": (
        replaced("layer2.0.bn3.weight", lambda x: x.astype(np.int8)), {},
        "'layer2.0.bn3.weight' is of dtype int8; weights of float16, bfloat16, float32, float64 can be read",
    ),
    "not finite": (
        replaced("layer2.0.bn3.weight", lambda x: np.where(x == x[3], np.nan, x)), {},
        "1 of the 32 numbers of 'layer2.0.bn3.weight' are not finite",
    ),
    "beyond float32": (
        replaced("bn1.bias", lambda x: x.astype(np.float64) * 1e300), {},
        "4 of the 4 numbers of 'bn1.bias' are not finite",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISMATCHES)
def test_the_first_mismatch_is_named(name, tiny_weights, tmp_path):
    change, network, message = MISMATCHES[name]
    change(tiny_weights)
    path = file_of(tmp_path, tiny_weights)
    with pytest.raises(UserError, match=rf"the file {path}\W.*{message}"):
        pretrained.load(path, tiny(**network))
    if "finite" in message:  # for which the values must be read
        pretrained.check(path, tiny(**network))
        return
    with pytest.raises(UserError, match=rf"the file {path}\W.*{message}"):
        pretrained.check(path, tiny(**network))


def test_the_deep_stem_s_file_is_named(tmp_path):
    path = file_of(tmp_path, SCRIPT["weights"]((2, 1), width=4, deep=True))
    with pytest.raises(UserError, match=r"no 'conv1.weight'.*stem/conv/kernel.*ResNet-C, and the network's is 'plain'"):
        pretrained.check(path, tiny())
    pretrained.check(path, tiny(stem_kind="C"))


def test_other_networks_have_no_weights(tiny_weights):
    like = shapes_of(build_model("resnet12", options={"widths": (4, 4)}).backbone)
    with pytest.raises(UserError, match="the network has stage1.*, which no ResNet of torchvision has"):
        pretrained.convert(tiny_weights, like, source="the file")
