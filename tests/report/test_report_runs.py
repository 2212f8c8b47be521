"""What a page says of trained runs, against what the runs say themselves."""

import dataclasses
import json
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import fsjax
from fsjax import data
from fsjax.errors import UserError
from fsjax.report.classified import activation_maps, classify
from fsjax.report.collect import collect
from fsjax.report.comparison import comparison
from fsjax.report.embeddings import embeddings, shown
from fsjax.report.few_shot import few_shot
from fsjax.report.opened import opened
from fsjax.report.tasks import evaluate


@pytest.fixture(scope="module")
def few_shot_opened(few_shot_runs):
    """Both runs with their data."""
    return {run.name: there for run, there in opened(collect(list(few_shot_runs.values())))}


@pytest.fixture(scope="module")
def base(few_shot_opened):
    """Both runs on the held-out images of their own classes."""
    return {name: classify(there, "base", mistakes=3) for name, there in few_shot_opened.items()}


@pytest.fixture(scope="module")
def tasked(few_shot_opened):
    """Both runs on the novel classes, on the same tasks."""
    found, like = {}, None
    for name, there in few_shot_opened.items():
        found[name], like = evaluate(there, "test", like=like, tasks=20, worst=2)
    return found


def test_a_classifier_gives_what_its_run_gives(digits_run):
    workdir, result = digits_run
    ((_, there),) = opened(collect([workdir]))
    found, run = classify(there, "test", mistakes=4), fsjax.restore(workdir)
    test = there.splits.test
    np.testing.assert_array_equal(found.predicted, run.predict(test.images))
    assert found.right.mean() == pytest.approx(result["test"]["accuracy"])
    np.testing.assert_allclose(found.embeddings, run.embed(test.images), rtol=1e-4, atol=1e-5)
    logits = run.logits(test.images).astype(np.float64)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    np.testing.assert_allclose(found.confidence, shares.max(1), rtol=1e-3)
    wrong = np.flatnonzero(found.predicted != test.labels)
    assert len(found.mistakes) == min(4, len(wrong))
    for mistake in found.mistakes:
        assert mistake.position in wrong and mistake.own < mistake.confidence
        np.testing.assert_array_equal(mistake.image, test.images[mistake.position])
    # Layers follow the pooled maps here: there is no activation map of a class.
    assert activation_maps(there, test.images[:2], np.zeros(2, int)) is None and not found.seen


def test_runs_of_other_crops_see_other_images(digits_config, tmp_path, monkeypatch):
    """A class that shows only at the border is not seen after random resized crops, which leave 7/8 of a side."""
    rng, runs = np.random.default_rng(0), {}
    for label, name in enumerate("ab"):
        (tmp_path / name).mkdir()
        for number in range(10):
            picture = rng.integers(1, 255, (32, 32, 3), dtype=np.uint8)
            picture[:2] = picture[-2:] = picture[:, :2] = picture[:, -2:] = 255 * label
            Image.fromarray(picture).save(tmp_path / name / f"{number}.png")
    for crop in ("none", "random_resized", "pad"):
        config = digits_config()
        config.data.update(name="folder", path=str(tmp_path), image_size=16, normalization="none", memory="stream")
        config.data.augment.update(crop=crop, pad=0)
        info = data.load_splits(config.data, seed=0).info
        runs[crop] = fsjax.Run(tmp_path, config, info, 1, None, None)
    monkeypatch.setattr("fsjax.report.opened.restore", lambda folder, which: runs[folder])
    splits = {}
    for run, there in opened([SimpleNamespace(folder=crop, name=crop) for crop in ("none", "pad", "random_resized")]):
        splits[run.name], test = there.splits, there.examples("test")
        edges = data.images_at(test, np.arange(len(test)))[:, 0].mean(axis=(1, 2))
        at_border = np.abs(edges - 255 * test.labels) < 64
        assert at_border.all() if run.name != "random_resized" else not at_border.any()
        assert data.images_at(test, np.zeros(0, int)).shape == (0, 16, 16, 3)
    # What differs in nothing of this is read once.
    assert splits["none"].test is splits["pad"].test


def test_base_images_are_classified(base, few_shot_opened):
    """The accuracy of the run with a cosine classifier: its embeddings by its weights, in NumPy."""
    there, found = few_shot_opened["gap"], base["gap"]
    images = there.splits.base.images
    weights = np.asarray(there.run.params["loss"]["weights"], np.float64)
    of_images = there.run.embed(images).astype(np.float64)
    cosines = (of_images / np.linalg.norm(of_images, axis=1, keepdims=True)) @ (
        weights / np.linalg.norm(weights, axis=1, keepdims=True)
    ).T
    assert np.mean(cosines.argmax(1) == found.predicted) > 0.99
    assert found.class_names == there.run.class_names and len(found.labels) == len(images)


def test_activation_maps_of_a_class(few_shot_opened, monkeypatch):
    there, sizes, normalize = few_shot_opened["gap"], [], data.normalize
    images, classes, run = there.splits.base.images[:3], np.array([2, 0, 1]), there.run
    with monkeypatch.context() as patched:
        patched.setattr(data, "normalize", lambda some, info: sizes.append(len(some)) or normalize(some, info))
        found = activation_maps(dataclasses.replace(there, batch_size=2), images, classes)
    assert sizes == [2, 1]
    encoded = run.method.encode(run.params, run.collections, jnp.asarray(data.normalize(images, run.info)))
    maps = np.asarray(list(encoded.maps.values())[-1], np.float64)
    weights = np.asarray(run.params["loss"]["weights"], np.float64)[classes]
    for heat, of_image, weight in zip(found, maps, weights, strict=True):
        np.testing.assert_allclose(heat, of_image @ weight / np.linalg.norm(weight), rtol=1e-3, atol=1e-5)


def test_runs_are_paired_by_image(base):
    gap, implants = base["gap"], base["implants"]
    page = comparison([gap, implants], [])
    difference = gap.right.astype(float) - implants.right
    assert f"{100 * difference.mean():+.2f} ±" in page
    assert f">{np.sum(gap.right & ~implants.right)}</td>" in page


def test_figures_are_those_of_the_result(tasked, few_shot_runs):
    """As many tasks, by the same seed, give the figures of training again."""
    for name, found in tasked.items():
        result = json.loads((few_shot_runs[name] / "result.json").read_text())
        stored = [f for f in result["test"]["figures"] if f["classes"] == "novel" and "implants" not in f]
        for figure in found.figures:
            (same,) = [f for f in stored if f["shot"] == figure.facts["shot"]]
            # The page's tasks are those of the first run: the same protocol here.
            assert same["episodes"] == figure.facts["episodes"]
            assert same["accuracy"] == pytest.approx(figure.facts["accuracy"], abs=1e-6)


def test_the_worst_tasks(tasked, few_shot_opened):
    found, there = tasked["gap"], few_shot_opened["gap"]
    accuracy = found.worst.figure.accuracy
    assert found.worst.figure.facts["shot"] == 2
    assert [task.number for task in found.worst.tasks] == np.argsort(accuracy, kind="stable")[:2].tolist()
    for task in found.worst.tasks:
        assert task.accuracy == pytest.approx(accuracy[task.number])
        # The run says the same of the same pictures.
        labels = np.repeat(np.arange(len(task.classes)), [len(images) for images in task.support])
        said = there.run.few_shot(np.concatenate(task.support), labels, np.concatenate(task.query))
        np.testing.assert_array_equal(said, np.concatenate(task.taken_for))
        assert set(task.classes) <= set(there.run.info.test_classes)


def test_runs_are_paired_by_task(tasked):
    first, second = tasked["implants"], tasked["gap"]
    page = comparison([], [first, second])
    for a, b in zip(first.figures, second.figures, strict=True):
        assert f"{100 * np.mean(a.accuracy - b.accuracy):+.2f} ±" in page and a.facts["episodes"] in page
    assert page.count("implants − gap") == 2


def test_the_section_of_tasks(tasked, few_shot_runs):
    runs = collect(list(few_shot_runs.values()))
    page = few_shot(runs, list(tasked.values()))
    for run in runs:
        for figure in run.result["test"]["figures"]:
            assert f"{100 * figure['accuracy']:.2f} ± {100 * figure['interval']:.2f}" in page
        (both, *_) = [f for f in run.result["test"]["figures"] if f["classes"] == "both"]
        assert f"{100 * both['harmonic_mean']:.2f}" in page
    assert page.count("Worst tasks of") == 2 and "taken for" in page
    # From the files alone.
    assert "Worst tasks" not in few_shot(runs, [])


def test_few_images_are_drawn_all_the_same():
    rng = np.random.default_rng(0)
    few = SimpleNamespace(
        name="few", class_names=("a", "b"), labels=np.repeat([0, 1], 8), embeddings=rng.normal(size=(16, 4))
    )
    page = embeddings([shown(few)], "test")
    assert "16 images of 2 classes; perplexity 5" in page
    one = SimpleNamespace(name="one", class_names=("a",), labels=np.zeros(16, int), embeddings=rng.normal(size=(16, 4)))
    assert "needs at least 2 of them" in embeddings([shown(few), shown(one)], "test")


def test_no_tasks_of_training_images(few_shot_opened):
    with pytest.raises(UserError, match="which the network knows"):
        evaluate(few_shot_opened["gap"], "train", like=None, tasks=5, worst=0)
