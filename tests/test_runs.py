"""`fsjax.restore`, as a notebook uses it."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

import fsjax
from fsjax.data import normalize


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (37, 8, 8, 1), dtype=np.uint8)


def test_any_batch_size_gives_the_same(digits_run, images):
    run = fsjax.restore(digits_run[0])
    embedded = run.embed(images)
    assert embedded.shape == (37, 16) and embedded.dtype == np.float32
    for size in (1, 5, 37, 256):
        np.testing.assert_allclose(run.embed(images, batch_size=size), embedded, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(run.logits(images, batch_size=size), run.logits(images), rtol=1e-4, atol=1e-4)
    assert run.embed(images[:0]).shape == (0, 16)
    np.testing.assert_array_equal(run.predict(images), run.logits(images).argmax(-1))
    assert len(run.class_names) == run.logits(images).shape[1] == 10


def test_accuracy_on_the_test_images_is_the_runs(digits_run, digits_config):
    """From the uint8 images of the data set, through the run's own normalisation, to the result's figure."""
    from fsjax import data

    workdir, result = digits_run
    run = fsjax.restore(workdir)
    assert run.step == result["selected"]["step"]
    test = data.load_splits(digits_config().data, seed=0).test
    accuracy = float(np.mean(run.predict(test.images) == test.labels))
    assert accuracy == pytest.approx(result["test"]["accuracy"], abs=1e-9)


@pytest.mark.parametrize("place", ["", "elsewhere"])
def test_evaluation_writes_no_decoded_images_but_reads_them(digits_run, digits_config, tmp_path, monkeypatch, place):
    """Of a run that kept them on another machine."""
    from fsjax import data

    monkeypatch.setenv("FSJAX_CACHE", str(tmp_path / "user"))
    run = fsjax.restore(digits_run[0])
    config = run.config.copy_and_resolve_references()
    config.data.update(backend="device", cache=str(tmp_path / place) if place else "")
    run = dataclasses.replace(run, config=config)
    expected = run.splits()
    assert not list(tmp_path.iterdir())
    data.load_splits({**digits_config().data, "backend": "device"}, seed=0)
    given = run.splits()
    (note,) = [note for note in given.notes if note.startswith("decoded images of ")]
    assert str(tmp_path / "user" / "data") in note
    np.testing.assert_array_equal(given.test.images, expected.test.images)


def test_latest_and_best(digits_run):
    assert fsjax.restore(digits_run[0], which="latest").step == 60
    with pytest.raises(fsjax.UserError, match="must be 'best' or 'latest'"):
        fsjax.restore(digits_run[0], which="worst")


def test_without_its_files_the_checkpoint_suffices(digits_run, tmp_path, images):
    shutil.copytree(digits_run[0] / "checkpoints", tmp_path / "checkpoints")
    run = fsjax.restore(tmp_path)
    np.testing.assert_array_equal(run.predict(images), fsjax.restore(digits_run[0]).predict(images))
    assert run.config.to_dict() == json.loads((digits_run[0] / "config.json").read_text())


@pytest.mark.slow
def test_on_other_devices_than_the_run_had(python, digits_run, tmp_path, images):
    np.save(tmp_path / "images.npy", images)
    code = (
        "import fsjax, jax, numpy as np\n"
        f"run = fsjax.restore({str(digits_run[0])!r})\n"
        "assert jax.device_count() == 4\n"
        f"np.save({str(tmp_path / 'out.npy')!r}, run.logits(np.load({str(tmp_path / 'images.npy')!r})))\n"
    )
    python("-c", code, devices=4)
    expected = fsjax.restore(digits_run[0]).logits(images)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_run_of_four_devices_restores_here(python, digits_config, tmp_path, images):
    code = (
        "import sys; sys.path.insert(0, '.')\n"
        "from configs.icu_digits import get_config\n"
        "from fsjax.training import run\n"
        f"run(get_config('smoke'), {str(tmp_path / 'four')!r})\n"
    )
    python("-c", code, devices=4)
    run = fsjax.restore(tmp_path / "four")
    assert all(len(x.devices()) == 1 for x in jax.tree.leaves(run.params))
    assert run.predict(images).shape == (37,)


def test_no_run_there(tmp_path):
    with pytest.raises(fsjax.UserError, match="no checkpoint in .*is .* the workdir of a run"):
        fsjax.restore(tmp_path)


def test_images_of_another_size_are_refused(digits_run):
    run = fsjax.restore(digits_run[0])
    with pytest.raises(ValueError, match="8"):
        run.predict(np.zeros((2, 9, 8, 1), np.uint8))


def test_repr_says_what_it_is(digits_run):
    said = repr(fsjax.restore(digits_run[0], which="latest"))
    assert (
        "icu_digits, method classification, loss icu, step 60; 10 classes of digits, images 8×8×1, embeddings 16-d"
        in said
    )


def test_few_shot_labels_by_the_methods_own_rule(few_shot_runs):
    """Against prototypes by hand: averaged positions of the support, each position of a query for itself."""
    run = fsjax.restore(few_shot_runs["implants"])
    rng = np.random.default_rng(0)
    support, queries = (rng.integers(0, 256, (n, 16, 16, 3), dtype=np.uint8) for n in (6, 9))
    labels = ["crane", "torch", "crane", "pole", "torch", "torch"]
    found = run.few_shot(support, labels, queries)

    def maps(images):
        encoded = run.method.encode(run.params, run.collections, normalize(images, run.info))
        return np.asarray(encoded.maps["stage3"], np.float64).reshape(len(images), -1, 8)

    pooled, tau = maps(support).mean(1), float(run.params["loss"]["tau"])
    names = sorted(set(labels))
    means = np.stack([pooled[[x == name for x in labels]].mean(0) for name in names])
    means /= np.linalg.norm(means, axis=-1, keepdims=True)
    positions = maps(queries)
    cosines = positions / np.linalg.norm(positions, axis=-1, keepdims=True) @ means.T
    shares = np.exp(tau * cosines)
    shares = (shares / shares.sum(-1, keepdims=True)).mean(1)
    assert list(found) == [names[i] for i in shares.argmax(-1)]
    with pytest.raises(fsjax.UserError, match="6 support images need as many labels"):
        run.few_shot(support, labels[:5], queries)
