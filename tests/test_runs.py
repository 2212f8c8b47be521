"""`fsjax.restore`, as a notebook uses it."""

import dataclasses
import json
import math
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

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
        "from fsjax.configs.icu_digits import get_config\n"
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


@pytest.mark.parametrize("labels", [["a", None], ["a", math.nan], [1.0, math.nan], [0, math.inf], ["a", ""]])
def test_labels_that_name_no_class_are_refused(digits_run, images, labels):
    with pytest.raises(fsjax.UserError, match=r"label 1 is .*, which names no class"):
        fsjax.restore(digits_run[0]).few_shot(images[:2], labels, images)


@pytest.fixture
def of_pictures(digits_run, tmp_path):
    """A run whose data are two folders of twenty pictures, and a function that makes another picture."""
    from fsjax import data

    root, draw = tmp_path / "pictures", np.random.default_rng(0)

    def write(name):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (8, 8), np.uint8)).save(root / name)

    for name in ("cat", "dog"):
        for i in range(20):
            write(f"{name}/{i:02d}.png")
    run = fsjax.restore(digits_run[0])
    config = run.config.copy_and_resolve_references()
    config.data.update(name="folder", path=str(root), channels=1)
    info = data.load_splits(config.data, seed=0).info
    return dataclasses.replace(run, config=config, info=info), root, write


def test_data_that_moved_as_a_whole_are_those_of_the_run(of_pictures, tmp_path, monkeypatch):
    run, root, _ = of_pictures
    expected = run.splits()
    assert expected.info.counts == {"train": 28, "validation": 4, "test": 8}
    root.rename(tmp_path / "elsewhere")
    np.testing.assert_array_equal(run.splits(data_path=str(tmp_path / "elsewhere")).test.images, expected.test.images)
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(run.splits(data_path="elsewhere").test.images, expected.test.images)


@pytest.mark.parametrize("change", ["three more", "one less", "renamed", "exchanged"])
def test_data_that_are_divided_anew_are_refused(of_pictures, change):
    """Three pictures more, and what is tested are others: some that were trained on."""
    run, root, write = of_pictures
    if change == "three more":
        for i in range(3):
            write(f"cat/new{i}.png")
    elif change == "one less":
        (root / "dog/03.png").unlink()
    elif change == "renamed":
        (root / "dog/03.png").rename(root / "dog/zebra.png")
    else:
        (root / "dog/03.png").rename(root / "cat/20.png")
        (root / "cat/04.png").rename(root / "dog/20.png")
    with pytest.raises(fsjax.UserError, match=r"would be divided anew \(.*images then, .* now") as caught:
        run.splits()
    if change == "renamed":
        assert "(others, or with other labels)" in str(caught.value)


def test_under_x64_a_run_is_read_and_goes_on(python, digits_run, digits_config, tmp_path):
    """By the types that are stored: half of a run is trained without, the rest and the restoring with it."""
    workdir = tmp_path / "run"
    shutil.copytree(digits_run[0], workdir)
    code = (
        "import sys, numpy as np, jax, fsjax\n"
        "run = fsjax.restore(sys.argv[1])\n"
        "assert all(x.dtype != np.float64 for x in jax.tree.leaves(run.params))\n"
        "images = np.random.default_rng(0).integers(0, 256, (37, 8, 8, 1), dtype=np.uint8)\n"
        "np.save(sys.argv[2], run.embed(images))\n"
    )
    done = python("-c", code, str(workdir), str(tmp_path / "found.npy"), JAX_ENABLE_X64="1")
    assert "damaged" not in done.stderr
    images = np.random.default_rng(0).integers(0, 256, (37, 8, 8, 1), dtype=np.uint8)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), fsjax.restore(workdir).embed(images), atol=1e-5)


@pytest.mark.parametrize(
    "text", ["x" * 5000, "~nouser-of-this-name/x", "a\0b", ""], ids=["long", "no user", "NUL", "empty"]
)
def test_what_can_be_no_path_is_one_line(text):
    with pytest.raises(fsjax.UserError, match="the run '.*' is no path: ") as caught:
        fsjax.restore(text)
    assert len(str(caught.value)) < 250 and "\n" not in str(caught.value)
