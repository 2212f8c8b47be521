"""Networks in the layout of Hugging Face's transformers, against what transformers itself computed with them."""

import json
import shutil
from pathlib import Path

import jax
import jax.export
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import fsjax
from fsjax.errors import UserError
from fsjax.models.resample import bicubic

VECTORS = Path(__file__).parents[1] / "vectors" / "transformers"
NAMES = sorted(path.name for path in VECTORS.iterdir())


@pytest.fixture
def copy(tmp_path):
    """A copy of one of the folders, with keys of its JSON files changed; None removes one."""

    def make(name, *, config=(), pictures=()):
        folder = shutil.copytree(VECTORS / name, tmp_path / name)
        for file, changes in (("config.json", config), ("preprocessor_config.json", pictures)):
            content = json.loads((folder / file).read_text()) | dict(changes)
            (folder / file).write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
        return folder

    return make


def renamed(folder, rename, arrays=None):
    """The folder's file with other names of arrays."""
    found = load_file(folder / "model.safetensors")
    save_file({rename(k): v for k, v in found.items()} | (arrays or {}), folder / "model.safetensors")


def encoded(run, images):
    return np.asarray(jax.jit(run.method.embed)(run.params, run.collections, images))


@pytest.mark.parametrize("name", NAMES)
def test_features_are_the_original_s(name):
    run, stored = fsjax.network(VECTORS / name), np.load(VECTORS / name / "outputs.npz")
    for height in (16, 24, 10):  # as in training; larger, not square; no multiple of the patch
        found, wanted = encoded(run, stored[f"images_{height}"]), stored[f"features_{height}"]
        assert found.dtype == np.float32 and np.std(wanted) > 0.1
        np.testing.assert_allclose(found, wanted, atol=1e-4, rtol=1e-4)


def test_half_precision_is_read_exactly():
    """bfloat16 in shards: the numbers of the float32 file, rounded."""
    whole, rounded = (fsjax.network(VECTORS / name).params["encoder"] for name in ("dinov2", "bfloat16"))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a.astype("bfloat16").astype("float32"), b), whole, rounded)


@pytest.mark.parametrize("antialias", [False, True])
def test_constant_positions_stay_constant(antialias):
    for here in (3, 4, 9):
        np.testing.assert_allclose(bicubic(4, here, antialias=antialias).sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(bicubic(4, 4, antialias=antialias), np.eye(4), atol=1e-7)


def test_wrappers_around_names_are_taken_off(copy):
    folder = copy("dinov2")
    images = np.load(folder / "outputs.npz")["images_16"]
    plain = encoded(fsjax.network(folder), images)
    for prefix in ("module.", "_orig_mod.module.", "backbone.", "dinov2.", "model.dinov2."):
        shutil.copy(VECTORS / "dinov2" / "model.safetensors", folder)
        renamed(folder, lambda name, prefix=prefix: prefix + name)
        np.testing.assert_array_equal(encoded(fsjax.network(folder), images), plain)
    shutil.copy(VECTORS / "dinov2" / "model.safetensors", folder)
    renamed(folder, lambda name: name, {"module.extra": np.zeros(2, np.float32)})
    with pytest.raises(UserError, match=r"has 'module.extra', for which dinov2 by its config.json has no place"):
        fsjax.network(folder)


def test_a_run_s_ways_to_name_it(copy, monkeypatch):
    folder = copy("clip_projected")
    run = fsjax.restore(folder)
    assert repr(run) == f"Network('{folder}': clip_vision_model, images 16×16×3, embeddings 6-d)"
    said = " ".join(run.summary().split())
    assert "licence unknown" in said and "run.predict" not in said
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(
        run.embed(images), encoded(run, ((images / 255 - mean) / std).astype(np.float32)), atol=1e-5
    )
    assert run.few_shot(images, ["a", "b", "c"], images).tolist() == ["a", "b", "c"]
    monkeypatch.chdir(folder.parent)
    assert fsjax.network(folder.name).info.name == folder.name
    with pytest.raises(UserError, match="has no classes of its own"):
        run.predict(images)
    with pytest.raises(UserError, match="is no run of yours"):
        run.splits()


@pytest.mark.parametrize(
    ("name", "pictures", "fit", "share", "resize"),
    [
        ("dinov2", {}, "crop", 16 / 18, "bicubic"),
        ("dinov2", {"size": 20, "crop_size": 16, "resample": 2}, "crop", 0.8, "bilinear"),
        ("vit", {}, "stretch", 1.0, "bilinear"),
        ("vit", {"size": 16, "resample": 3}, "stretch", 1.0, "bicubic"),
    ],
)
def test_pictures_are_prepared_as_published(copy, name, pictures, fit, share, resize):
    data = fsjax.network(copy(name, pictures=pictures)).config.data
    assert (data.fit, data.share, data.resize, data.image_size) == (fit, share, resize, 16)


@pytest.mark.parametrize(
    ("name", "config", "pictures", "message"),
    [
        (
            "dinov2",
            {"model_type": "swin"},
            {},
            r"unknown model_type of .*config.json 'swin'; known: clip, clip_vi",
        ),
        ("dinov2", {"model_type": None}, {}, r"config.json has no model_type, by which"),
        ("dinov2", {"apply_layernorm": False}, {}, r"apply_layernorm=False is not here; only apply_layernorm=True is"),
        ("dinov2", {"hidden_act": "mish"}, {}, r"unknown hidden_act of .* 'mish'"),
        ("dinov2", {"num_channels": 4}, {}, r"num_channels=4 is not here"),
        ("dinov2", {"qkv_bias": 1}, {}, r"qkv_bias=1 must be true or false"),
        ("dinov2", {"patch_size": "4"}, {}, r"patch_size='4' must be a number above 0"),
        ("dinov2", {"patch_size": 3.5}, {}, r"patch_size=3.5 must be a whole number"),
        ("dinov2", {"num_attention_heads": 3}, {}, r"hidden_size=8 is no multiple of num_attention_heads=3"),
        ("dinov2", {"image_size": 3}, {}, r"image_size=3 is smaller than patch_size=4"),
        (
            "dinov2",
            {"num_hidden_layers": 3},
            {},
            r"has no 'encoder.layer.2.attention.attention.key.bias', which",
        ),
        (
            "dinov2",
            {"num_hidden_layers": 1},
            {},
            r"has 'encoder.layer.1.attention.*', for which dinov2",
        ),
        ("dinov2", {"mlp_ratio": 3}, {}, r"'encoder.layer.0.mlp.fc1.bias' is 16, and its config.json asks for 24"),
        ("clip", {"vision_config": 3}, {}, r"vision_config must be an object, not 3"),
        ("clip", {"architectures": ["CLIPTextModel"]}, {}, r"unknown architecture of .* 'CLIPTextModel'"),
        ("siglip_vision_model", {"vision_use_head": False}, {}, r"vision_use_head=False is not here"),
        ("dinov2", {}, {"image_mean": None}, r"has no 'image_mean', without which pictures would be misread"),
        ("dinov2", {}, {"image_std": [1, 0, 1]}, r"must be above 0"),
        ("dinov2", {}, {"image_std": [1, 1]}, r"image_std=\[1, 1\] must be three numbers"),
        ("dinov2", {}, {"do_normalize": False}, r"do_normalize=False is not here"),
        ("dinov2", {}, {"rescale_factor": 1.0}, r"rescale_factor=1.0 is not here"),
        ("dinov2", {}, {"resample": 0}, r"resample=0 is not here"),
        ("dinov2", {}, {"do_center_crop": False}, r"without a centred crop leaves all aspects"),
        ("dinov2", {}, {"crop_size": 20}, r"crop_size=20 is larger than the shorter side of size=18"),
        ("dinov2", {}, {"crop_size": {"height": 2, "width": 4}}, r"must be the same height and width"),
        ("dinov2", {}, {"crop_size": 3}, r"pictures of 3 pixels are smaller than the network's patches of 4"),
        ("vit", {}, {"do_center_crop": True, "crop_size": 12}, r"a crop of 12 out of pictures stretched to 16"),
        ("vit", {}, {"size": 20}, r"pictures of 20 pixels, and by its config.json vit takes image_size=16 alone"),
    ],
)
def test_what_is_not_here_is_named(copy, name, config, pictures, message):
    folder = copy(name, config=config.items(), pictures=pictures.items())
    with pytest.raises(UserError, match=message):
        fsjax.network(folder)


def test_damaged_and_missing_files(copy):
    folder = copy("bfloat16")
    shard = folder / "model-00002-of-00002.safetensors"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-10])
    with pytest.raises(UserError, match=r"00002.safetensors is no .safetensors file, or is damaged or cut off"):
        fsjax.network(folder)
    shard.unlink()
    with pytest.raises(UserError, match=r"index.json names model-00002-of-00002.safetensors, which is not beside it"):
        fsjax.network(folder)
    shutil.copy(folder / "model-00001-of-00002.safetensors", shard)
    with pytest.raises(UserError, match=r"as another file of the same index has"):
        fsjax.network(folder)
    index = folder / "model.safetensors.index.json"
    for content, message in (
        ("{", "cannot be read as JSON"),
        ("[]", "holds no JSON object"),
        ("{}", "has no weight_map"),
        ('{"weight_map": {"a": "../b.safetensors"}}', "an index names .safetensors files beside it"),
    ):
        index.write_text(content)
        with pytest.raises(UserError, match=message):
            fsjax.network(folder)
    index.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(UserError, match=r"its pytorch_model.bin is not read: unpickling runs what is in it"):
        fsjax.network(folder)
    folder = copy("vit")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(UserError, match=r"has no preprocessor_config.json, which says at which size"):
        fsjax.network(folder)


def test_values_and_dtypes(copy):
    folder = copy("vit")
    for value, message in (
        (np.full(8, np.nan, "f4"), "8 of the 8 numbers"),
        (np.zeros(8, "i1"), "is of dtype int8"),
    ):
        renamed(folder, lambda name: name, {"layernorm.bias": value})
        with pytest.raises(UserError, match=message):
            fsjax.network(folder)


def test_images_smaller_than_a_patch():
    run = fsjax.network(VECTORS / "vit")
    with pytest.raises(UserError, match="images of 3×8 pixels are smaller than the network's patches of 4×4"):
        encoded(run, np.zeros((1, 3, 8, 3), np.float32))


@pytest.mark.parametrize("name", ["dinov2_with_registers", "siglip"])
def test_any_number_of_images_is_exported(name):
    run = fsjax.network(VECTORS / name)
    (batch,) = jax.export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, 16, 16, 3), np.float32)
    exported = jax.export.export(jax.jit(lambda x: run.method.embed(run.params, run.collections, x)))(images)
    stored = np.load(VECTORS / name / "outputs.npz")
    np.testing.assert_allclose(exported.call(stored["images_16"]), stored["features_16"], atol=1e-4, rtol=1e-4)
