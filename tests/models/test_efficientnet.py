"""EfficientNet-Lite0: its published weights give PyTorch's activations; and what its file may be."""

import collections
import io
import pickle
import runpy
import struct
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.errors import UserError
from fsjax.models import build_model, efficientnet
from fsjax.models.pretrained import efficientnet as layout
from fsjax.models.pretrained import legacy_torch

VECTORS = Path(__file__).parents[1] / "vectors"
SCRIPT = runpy.run_path(str(Path(__file__).with_name("efficientnet_activations.py")))
SMALL = {"stem_width": 3, "widths": (4, 4, 6), "blocks": (1, 2, 1), "head_width": 5}


def by_loop(x, kernel, stride):
    """A depthwise convolution in NumPy, padded by TensorFlow's formula: the odd row and column below and right."""
    size, (batch, height, width, channels) = kernel.shape[0], x.shape
    rows, columns = -(-height // stride), -(-width // stride)
    above, left = (max((out - 1) * stride + size - n, 0) // 2 for out, n in ((rows, height), (columns, width)))
    out = np.zeros((batch, rows, columns, channels))
    for r in range(rows):
        for c in range(columns):
            for i in range(size):
                for j in range(size):
                    y, z = r * stride + i - above, c * stride + j - left
                    if 0 <= y < height and 0 <= z < width:
                        out[:, r, c] += x[:, y, z] * kernel[i, j, 0]
    return out


@pytest.mark.xla
@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
@pytest.mark.parametrize("shape", [(6, 6), (5, 8), (2, 1)])
def test_a_depthwise_convolution_by_shifted_images_and_by_groups(shape, size, stride):
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(2, *shape, 3)), rng.normal(size=(size, size, 1, 3))
    expected = by_loop(x, kernel, stride)
    x, kernel = jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32)
    for found in (efficientnet.depthwise(x, kernel, stride=stride), efficientnet._grouped(x, kernel, stride)):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_batch_normalisation_has_the_published_momentum_and_epsilon():
    """With zeros as images and no bias anywhere, all activations are 0: normalised by epsilon alone."""
    model = build_model("efficientnet_lite0", options={**SMALL, "momentum": 0.75})
    images = jax.random.normal(jax.random.key(0), (2, 16, 16, 3))
    variables = model.init(jax.random.key(1), images, train=False)
    _, updates = model.apply(variables, images, train=True, mutable=["batch_stats"])
    stats = updates["batch_stats"]["backbone"]["stem"]["bn"]
    kernel = variables["params"]["backbone"]["stem"]["conv"]["kernel"]
    convolved = jax.lax.conv_general_dilated(
        images, kernel, (2, 2), ((0, 1), (0, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    np.testing.assert_allclose(stats["mean"], 0.25 * convolved.mean((0, 1, 2)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(stats["var"], 0.75 + 0.25 * convolved.var((0, 1, 2)), rtol=1e-4)
    assert efficientnet.EPSILON == 1e-3 and build_model("efficientnet_lite0").backbone.momentum == 0.99


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"momentum": 1.5}, "model.efficientnet_lite0.momentum=1.5 must be at least 0 and at most 1"),
        ({"momentum": True}, "momentum=True must be a number, at least 0 and at most 1"),
        ({"widths": (4, 4), "blocks": (1,)}, r"widths=\(4, 4\) and .*blocks=\(1,\): .*blocks for each group"),
        ({"widths": (4,) * 8, "blocks": (1,) * 8}, "must be a tuple of 1 to 7 whole numbers"),
        ({"head_width": 0}, "head_width=0 must be at least 1"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(UserError, match=message):
        build_model("efficientnet_lite0", options=options)


def shapes_of(options):
    backbone = build_model("efficientnet_lite0", options=options).backbone
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    return jax.eval_shape(lambda x: backbone.init(jax.random.key(0), x, train=False), images)


@pytest.fixture(scope="module")
def small_weights():
    """A state dict of the small network, made from the names and shapes alone."""
    rng, weights = np.random.default_rng(0), {}

    def conv(name, outputs, inputs, kernel):
        weights[f"{name}.weight"] = rng.normal(size=(outputs, inputs, kernel, kernel)).astype(np.float32)

    def bn(name, channels):
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            weights[f"{name}.{leaf}"] = rng.uniform(0.5, 1.5, channels).astype(np.float32)
        weights[f"{name}.num_batches_tracked"] = np.array(7)

    conv("_conv_stem", 3, 3, 3)
    bn("_bn0", 3)
    for number, (inputs, outputs, kernel, expansion) in enumerate(
        [(3, 4, 3, 1), (4, 4, 3, 6), (4, 4, 3, 6), (4, 6, 5, 6)]
    ):
        middle, block = inputs * expansion, f"_blocks.{number}"
        if expansion > 1:
            conv(f"{block}._expand_conv", middle, inputs, 1)
            bn(f"{block}._bn0", middle)
        conv(f"{block}._depthwise_conv", middle, 1, kernel)
        bn(f"{block}._bn1", middle)
        conv(f"{block}._project_conv", outputs, middle, 1)
        bn(f"{block}._bn2", outputs)
    conv("_conv_head", 5, 6, 1)
    bn("_bn1", 5)
    weights |= {"_fc.weight": np.arange(10, dtype=np.float32).reshape(2, 5), "_fc.bias": np.ones(2, np.float32)}
    return weights


def test_each_array_has_its_place(small_weights):
    found = layout.convert(small_weights, shapes_of(SMALL), source="the file")
    kernel = found["params"]["group3_block1"]["depthwise"]["conv"]["kernel"]
    np.testing.assert_array_equal(kernel[1, 2, 0, 3], small_weights["_blocks.3._depthwise_conv.weight"][3, 0, 1, 2])
    variance = found["batch_stats"]["group2_block2"]["project"]["bn"]["var"]
    np.testing.assert_array_equal(variance, small_weights["_blocks.2._bn2.running_var"])
    kernel, bias = layout.classifier(small_weights)
    assert kernel.shape == (5, 2) and kernel[1, 0] == 1 and bias.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("_blocks.1._bn1.weight", None, "the file has no '_blocks.1._bn1.weight', which the network's group2_block1/"),
        ("_bn1.bias", np.zeros(7, np.float32), "'_bn1.bias' is 7, and the network's head/bn/bias needs 5"),
        ("_bn1.bias", np.full(5, np.nan, np.float32), "5 of the 5 numbers of '_bn1.bias' are not finite"),
        (
            "_bn0.running_var",
            np.array([1, -1e-9, 1], np.float32),
            "'_bn0.running_var' has a variance of -1e-09: it is damaged",
        ),
        ("_blocks.0._se_reduce.weight", np.zeros(1), "has '_blocks.0._se_reduce.weight', for which .* no place"),
    ],
)
def test_weights_that_do_not_fit(small_weights, name, value, message):
    changed = {**small_weights, name: value}
    changed = changed if value is not None else {k: v for k, v in changed.items() if k != name}
    with pytest.raises(UserError, match=message):
        layout.convert(changed, shapes_of(SMALL), source="the file")


# A file in PyTorch's old format, written without PyTorch: its classes are named by functions of these names.


class _Storage:
    def __init__(self, kind, key, values):
        self.kind, self.key, self.values = kind, key, values


class _Named:
    def __init__(self, module, name):
        self.module, self.name = module, name


def legacy(tensors, order=None, *, kind="storage", names=("torch._utils", "_rebuild_tensor_v2"), little=True):
    """The content of a file: of each tensor (storage, offset, shape, strides)."""

    class Tensor:
        def __init__(self, *args):
            self.args = args

        def __reduce__(self):
            return _Named(*names), (*self.args, False, collections.OrderedDict())

    class Pickler(pickle._Pickler):
        def persistent_id(self, part):
            if isinstance(part, _Storage):
                return (kind, _Named("torch", part.kind), part.key, "cpu", len(part.values), None)
            return None

        def save(self, part, save_persistent_id=True):
            if isinstance(part, _Named):
                self.write(f"c{part.module}\n{part.name}\n".encode())
            else:
                super().save(part, save_persistent_id)

        def save_reduce(self, func, args, *rest, **more):
            if isinstance(func, _Named):
                self.save(func)
                self.save(args)
                self.write(b"R")
            else:
                super().save_reduce(func, args, *rest, **more)

    stream = io.BytesIO()
    for part in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": little}):
        pickle.dump(part, stream, 2)
    Pickler(stream, 2).dump(collections.OrderedDict((name, Tensor(*args)) for name, args in tensors.items()))
    storages = {args[0].key: args[0].values for args in tensors.values()}
    pickle.dump(order or sorted(storages), stream, 2)
    for key in order or sorted(storages):
        stream.write(struct.pack("<q", len(storages[key])) + storages[key].tobytes())
    return stream.getvalue()


FLOATS = np.arange(24, dtype="<f4")


def test_a_file_is_read_with_its_strides():
    one, two = _Storage("FloatStorage", "7", FLOATS), _Storage("LongStorage", "12", np.array([41], "<i8"))
    content = legacy(
        {
            "turned": (one, 2, (2, 3), (1, 2)),  # as channels last are stored
            "plain": (one, 0, (4, 6), (6, 1)),
            "steps": (two, 0, (), ()),
        }
    )
    found = legacy_torch.parse(content)
    np.testing.assert_array_equal(found["turned"], [[2, 4, 6], [3, 5, 7]])
    np.testing.assert_array_equal(found["plain"], FLOATS.reshape(4, 6))
    assert found["steps"].shape == () and found["steps"].dtype == np.int64 and found["steps"] == 41


def test_a_file_of_which_nothing_is_run():
    """Only four names are known: what else a pickle calls is not even looked up."""
    one = _Storage("FloatStorage", "7", FLOATS)
    for names in (("os", "system"), ("builtins", "eval"), ("torch._utils", "_rebuild_parameter")):
        with pytest.raises(pickle.UnpicklingError, match=f"it names {'.'.join(names)}"):
            legacy_torch.parse(legacy({"a": (one, 0, (2,), (1,))}, names=names))
    with pytest.raises(pickle.UnpicklingError, match="torch.HalfStorage"):
        legacy_torch.parse(legacy({"a": (_Storage("HalfStorage", "7", FLOATS), 0, (2,), (1,))}))
    with pytest.raises(pickle.UnpicklingError, match="persistent id"):
        legacy_torch.parse(legacy({"a": (one, 0, (2,), (1,))}, kind="module"))
    with pytest.raises(pickle.UnpicklingError, match="not as PyTorch's format"):
        legacy_torch.parse(legacy({"a": (one, 0, (2,), (1,))}, little=False))


@pytest.mark.parametrize("view", [(20, (5,), (1,)), (0, (3, 9), (12, 1)), (0, (2,), (-1,)), (-1, (1,), (1,))])
def test_a_tensor_beyond_its_storage(view):
    with pytest.raises(ValueError, match="reaches beyond its storage"):
        legacy_torch.parse(legacy({"a": (_Storage("FloatStorage", "7", FLOATS), *view)}))


def test_a_file_of_another_digest_is_not_unpickled(tmp_path, monkeypatch):
    path, content = tmp_path / "lite0.pth", b"cos\nsystem\n(S'exit 1'\ntR."
    path.write_bytes(content)
    monkeypatch.setattr(legacy_torch, "parse", lambda content: pytest.fail("it was looked into"))
    with pytest.raises(UserError, match=rf"{path} \(25 bytes\) is damaged, cut off or another file.*; install it anew"):
        legacy_torch.read(path, sha256="0" * 64, way_out="install it anew")
    with pytest.raises(UserError, match="cannot be read .No such file or directory.: install it anew"):
        legacy_torch.read(tmp_path / "none.pth", sha256="0" * 64, way_out="install it anew")
