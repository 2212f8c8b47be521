"""`fsjax evaluate` of splits and of other sources, and `fsjax compare` by image; oracles are NumPy on `run.logits`."""

import errno
import json
import pathlib
import re
import shutil

import numpy as np
import pytest
from PIL import Image

import fsjax
from fsjax import data
from fsjax.cli import main
from fsjax.evaluation.classified import classify

_FEW_TASKS = ("--way", "3", "--shots", "2", "--query", "5", "--tasks", "6")


def evaluate(*arguments):
    return main(["evaluate", *map(str, arguments)])


@pytest.fixture(scope="module")
def run(digits_run):
    return fsjax.restore(digits_run[0])


@pytest.fixture(scope="module")
def test_file(digits_run, tmp_path_factory):
    """What --out writes of the test split."""
    out = tmp_path_factory.mktemp("split") / "test.json"
    assert evaluate(digits_run[0], "--out", out, "--batch-size", "100") == 0
    return out


@pytest.fixture(scope="module")
def digit_pictures(tmp_path_factory):
    """A folder of three digits, larger and in colour, each in the middle of a broader picture."""
    from sklearn.datasets import load_digits

    root, digits = tmp_path_factory.mktemp("digits") / "meine Ziffern", load_digits()
    for label in (1, 4, 7):
        folder = root / str(label)
        folder.mkdir(parents=True)
        for number in np.flatnonzero(digits.target == label)[:12]:
            pixels = np.round(digits.images[number] * (255 / 16)).astype(np.uint8)
            square = Image.fromarray(pixels).resize((32, 32), Image.Resampling.NEAREST)
            wide = Image.new("RGB", (48, 32))
            wide.paste(square, (8, 0))
            wide.save(folder / f"<b>{number} ä.png")
    return root


def test_the_test_split_is_what_numpy_counts(run, digits_run, test_file, capsys):
    images, labels = (getattr(run.splits().test, name) for name in ("images", "labels"))
    logits = run.logits(images).astype(np.float64)
    right = logits.argmax(1) == labels
    facts = json.loads(test_file.read_text())["classification"]
    assert facts["accuracy"] == pytest.approx(right.mean()) and facts["images"] == len(labels)
    assert facts["accuracy"] == pytest.approx(digits_run[1]["test"]["accuracy"])
    by_class = {str(k): right[labels == k].mean() for k in range(10)}
    assert facts["per_class"] == pytest.approx(by_class)
    assert facts["balanced_accuracy"] == pytest.approx(np.mean(list(by_class.values())))
    log_sum = np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) + logits.max(1)
    assert facts["nll"] == pytest.approx(np.mean(log_sum - logits[np.arange(len(labels)), labels]), rel=1e-4)
    first_five = np.argsort(-logits, axis=1, kind="stable")[:, :5]
    assert facts["top5_accuracy"] == pytest.approx((first_five == labels[:, None]).any(1).mean())
    low, high = facts["interval"]
    assert low < right.mean() < high < low + 0.2
    with np.load(test_file.with_suffix(".npz")) as arrays:
        np.testing.assert_array_equal(arrays["predicted"], logits.argmax(1))
        np.testing.assert_array_equal(arrays["correct"], right)
        np.testing.assert_array_equal(arrays["label"], labels)


def test_other_splits_and_those_that_are_not_there(digits_run, run, capsys):
    assert evaluate(digits_run[0], "--split", "validation") == 0
    examples = run.splits().validation
    accuracy = np.mean(run.predict(examples.images) == examples.labels)
    assert capsys.readouterr().out.startswith(f"validation {100 * accuracy:.2f} (95 % interval")
    assert evaluate(digits_run[0], "--split", "base") == 2
    assert "digits has no base split; it has: train, validation, test" in capsys.readouterr().err
    assert evaluate(digits_run[0], "--split", "test", "--seed", "0") == 2
    assert "--seed is of few-shot tasks" in capsys.readouterr().err


def test_compare_pairs_images(digits_run, test_file, tmp_path, capsys):
    """With itself; with a file in which some are wrong; and what cannot be paired."""
    assert main(["compare", str(test_file), str(test_file)]) == 0
    printed = capsys.readouterr().out
    assert "+0.00 ± 0.00 new images (359 images of digits; 0 right by the first alone, 0 by the" in printed
    worse = tmp_path / "worse.json"
    shutil.copy(test_file, worse)
    with np.load(test_file.with_suffix(".npz")) as arrays:
        content = {name: arrays[name].copy() for name in arrays.files}
    before = content["predicted"] == content["label"]
    content["predicted"][:30] = (content["label"][:30] + 1) % 10
    np.savez(worse.with_suffix(".npz"), **content)
    difference = before.astype(float) - (content["predicted"] == content["label"])
    assert main(["compare", str(test_file), str(worse)]) == 0
    half_width = 1.96 * difference.std(ddof=1) / len(difference) ** 0.5
    said = capsys.readouterr().out
    assert f"{100 * difference.mean():+.2f} ± {100 * half_width:.2f} new images (359 images" in said
    assert f"{int(difference.sum())} right by the first alone" in said
    train = tmp_path / "train.json"
    assert evaluate(digits_run[0], "--split", "train", "--out", train) == 0
    assert main(["compare", str(test_file), str(train)]) == 2
    assert "the images are not the same: test of digits and train of digits" in capsys.readouterr().err
    np.savez(worse.with_suffix(".npz"), predicted=content["predicted"][:3], label=content["label"][:3])
    assert main(["compare", str(test_file), str(worse)]) == 2
    assert "not of the same images" in capsys.readouterr().err


def test_base_classes_of_a_few_shot_run(few_shot_runs, tmp_path, capsys):
    run = fsjax.restore(few_shot_runs["gap"])
    out = tmp_path / "base.json"
    assert evaluate(few_shot_runs["gap"], "--split", "base", "--out", out) == 0
    base = run.splits().base
    facts = json.loads(out.read_text())["classification"]
    assert facts["accuracy"] == pytest.approx(np.mean(run.predict(base.images) == base.labels))
    assert facts["images"] == len(base) and set(facts["per_class"]) == set(run.class_names)
    assert evaluate(few_shot_runs["gap"], "--split", "test") == 2
    assert "holds other classes than its classifier knows: evaluate tasks of them with --classes novel" in (
        capsys.readouterr().err
    )
    figures = tmp_path / "figures.json"
    assert evaluate(few_shot_runs["gap"], "--shots", "1", "--tasks", "5", "--query", "4", "--out", figures) == 0
    assert main(["compare", str(out), str(figures)]) == 2
    assert "there is nothing to pair" in capsys.readouterr().err


def test_pictures_of_known_classes_are_classified(digits_run, run, digit_pictures, tmp_path, capsys):
    """A folder's classes are three of the run's ten: labels are by name, pictures are cut and scaled as own ones."""
    out = tmp_path / "own.json"
    assert evaluate(digits_run[0], "--source", "folder", "--data-path", digit_pictures, "--out", out) == 0
    files = data.picture_files([digit_pictures])
    opened = data.open_pictures(files, run.config.data, run.info)
    names = [file.parent.name for file in files]
    predicted = [run.class_names[label] for label in run.predict(opened.images)]
    facts = json.loads(out.read_text())["classification"]
    assert facts["images"] == 36 and set(facts["per_class"]) == {"1", "4", "7"}
    assert facts["accuracy"] == pytest.approx(np.mean([a == b for a, b in zip(predicted, names, strict=True)]))
    assert facts["accuracy"] > 0.7  # the very digits that it was trained on, by and large
    assert "3 classes of the run's 10" in capsys.readouterr().out


def test_tasks_of_another_source(digits_run, run, digit_pictures, tmp_path, capsys):
    """The figures are those of the pictures' features by the same rule, on the same tasks, in a loop."""
    arguments = ("--source", "folder", "--data-path", digit_pictures, "--way", "3", "--shots", "2", "--query", "5")
    out = tmp_path / "tasks.json"
    tasks = tmp_path / "list.npz"
    assert evaluate(digits_run[0], *arguments, "--tasks", "6", "--save-episodes", tasks, "--out", out) == 0
    said = capsys.readouterr().out
    assert "tasks of the 3 classes of meine Ziffern that have train images, 36 in all" in said
    assert "3 of them have names of classes that the run was trained on" in said
    files = data.picture_files([digit_pictures])
    features = run.embed(data.open_pictures(files, run.config.data, run.info).images).astype(np.float64)
    labels = np.unique([file.parent.name for file in files], return_inverse=True)[1]
    accuracies = []
    drawn = data.load_episodes(tasks, labels=labels)
    for support, query in zip(drawn.support, drawn.query, strict=True):
        means = features[support].mean(1)
        means /= np.linalg.norm(means, axis=1, keepdims=True)  # the length of a query changes no order
        guessed = (features[query] @ means.T).argmax(-1)
        accuracies.append((guessed == np.arange(3)[:, None]).mean())
    (figure,) = json.loads(out.read_text())["figures"]
    assert figure["accuracy"] == pytest.approx(np.mean(accuracies), abs=1e-9)
    assert figure["data"] == "meine Ziffern" and figure["classes"] == "novel"


def test_a_source_by_its_config_and_its_class_split(few_shot_runs, capsys):
    """Noise of other classes than the run's: tasks of its test part, of its training part, and of novel classes."""
    arguments = ("--source", "fake", "--set", "data.fake.num_classes=30", "--set", "data.fake.train=300",
                 "--set", "data.fake.test=240", "--shots", "1", "--query", "4", "--tasks", "5")  # fmt: skip
    assert evaluate(few_shot_runs["gap"], *arguments) == 0
    assert "30 classes of fake that have test images, 240 in all; 10 of them have names" in capsys.readouterr().out
    assert evaluate(few_shot_runs["gap"], *arguments, "--split", "train") == 0
    assert "that have train images, 300 in all" in capsys.readouterr().out
    assert evaluate(few_shot_runs["gap"], *arguments, "--set", "data.class_split.name=share") == 0
    assert "tasks of the 6 classes of fake" in capsys.readouterr().out  # 0.2 of 30


def test_a_folder_is_paired_by_its_pictures(digits_run, with_config, digit_pictures, tmp_path, capsys):
    """A run of another seed on the same folder is; another folder of the same names and numbers is not."""
    workdir, turned = tmp_path / "seed", tmp_path / "turned" / digit_pictures.name
    shutil.copytree(digits_run[0], workdir)
    with_config(workdir, lambda config: config.update(seed=config["seed"] + 1))
    shutil.copytree(digit_pictures, turned)
    file = sorted((turned / "4").iterdir())[3]
    Image.open(file).rotate(180).save(file)  # one picture of 36
    for kind, more in {"split": ("--split", "train"), "tasks": _FEW_TASKS}.items():
        files = {}
        asked = {
            "a": (digits_run[0], digit_pictures),
            "seed": (workdir, digit_pictures),
            "turned": (digits_run[0], turned),
        }
        for name, (run, path) in asked.items():
            files[name] = tmp_path / f"{kind}_{name}.json"
            assert evaluate(run, "--source", "folder", "--data-path", path, *more, "--out", files[name]) == 0
        capsys.readouterr()
        assert main(["compare", str(files["a"]), str(files["seed"])]) == 0
        said = capsys.readouterr().out
        assert "+0.00" in said and "pictures are the same is not known" not in said
        assert main(["compare", str(files["a"]), str(files["turned"])]) == 2
        assert re.search("images are not the same|no tasks in common", capsys.readouterr().err)
        # Of two networks that take pictures of different sizes it cannot be told.
        stored = json.loads(files["turned"].read_text())
        for facts in stored.get("figures", [stored.get("classification")]):
            facts["view"][0] *= 2
        files["turned"].write_text(json.dumps(stored))
        assert main(["compare", str(files["a"]), str(files["turned"])]) == 0
        assert "that the pictures are the same is not known" in capsys.readouterr().out


def test_a_stream_has_the_digest_of_its_images_in_memory(digit_pictures):
    """Whether they were read on the way or are read for it."""
    config = {**data.default_config(), "name": "folder", "path": str(digit_pictures), "image_size": 8, "cache": "off"}
    splits = {memory: data.load_splits(config | {"memory": memory}, seed=0) for memory in ("arrays", "stream")}
    stream = data.watched(splits["stream"].train)
    for position in (5, 2):
        data.images_at(stream, np.array([position]))
    digest = data.content_digest(splits["arrays"].train)
    assert set(stream.seen) == {2, 5} and data.content_digest(stream) == digest
    swapped = splits["arrays"].train.images[[1, 0, *range(2, len(stream))]]
    assert data.content_digest(data.ArrayExamples(swapped, stream.labels)) != digest


@pytest.mark.parametrize("arguments", [(), ("--source", "folder", *_FEW_TASKS)])
def test_a_full_disk_leaves_what_was_there(digits_run, digit_pictures, arguments, tmp_path, capsys, monkeypatch):
    """The .npz is not the new one beside an old .json, and nothing else is left."""
    out = tmp_path / "a.json"
    (tmp_path / "a.npz").write_bytes(b"old")
    out.write_text("old")
    full = OSError(errno.ENOSPC, "No space left on device")
    original = pathlib.Path.open

    def opened(path, mode="r", *more, **options):
        if "b" in mode and path.parent == tmp_path and len(list(tmp_path.iterdir())) > 2:  # the second of the two
            raise full
        return original(path, mode, *more, **options)

    monkeypatch.setattr(pathlib.Path, "open", opened)
    more = ("--data-path", digit_pictures) if arguments else ()
    assert evaluate(digits_run[0], *arguments, *more, "--out", out) == 2
    assert "a.json cannot be written: No space left on device" in capsys.readouterr().err
    assert out.read_text() == "old" and (tmp_path / "a.npz").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--source", "folder"), 'data.name="folder" needs data.path'),
        (("--source", "digits", "--set", "data.nmae=1"), "Did you mean 'name'"),
        (("--source", "digits", "--set", "train.steps=1"), "only the data of --source are set"),
        (("--set", "data.name=fake"), "--set changes the data of --source NAME"),
        (("--source", "digits", "--way", "11"), "cannot make 11-way episodes"),
        (("--source", "digits", "--shots", "200", "--query", "1"), "has .* images; 200-shot episodes"),
        (("--source", "digits", "--split", "validation"), "digits has no validation split; it has: train"),
        (("--source", "digits", "--split", "base"), "--split base is of the run's own data"),
        (("--source", "digits", "--classes", "both"), "--classes both is of the run's own data"),
        (("--head", "naive_bayes", "--split", "train"), "tested on those of the test split"),
        (("--shots", "1"), "trained without novel classes"),
    ],
)
def test_what_cannot_be_meant(digits_run, capsys, arguments, message):
    assert evaluate(digits_run[0], *arguments) == 2
    assert re.search(message, capsys.readouterr().err)


def test_scores_that_are_no_numbers_are_wrong(array_run):
    """And images of padding are not counted: 5 images in batches of 4."""
    method, examples, info = array_run
    found = classify(method, {}, {}, examples, info, batch_size=4, facts={"split": "test", "data": "x"})
    assert found.predicted.tolist() == [-1, 0, 1, 1, 0]
    assert found.facts["accuracy"] == pytest.approx(3 / 5) and found.facts["images"] == 5
    assert found.facts["per_class"] == pytest.approx({"a": 0.5, "<b>": 2 / 3})


@pytest.fixture
def array_run():
    """A method that says what the first pixel says: 0 and 1 are classes, 2 is no number."""
    from types import SimpleNamespace

    import jax.numpy as jnp

    def logits(params, collections, images):
        first = images[:, 0, 0, 0]
        return jnp.where(first[:, None] > 1.5, jnp.nan, jnp.stack([1 - first, first], -1))

    images = np.array([2, 0, 1, 1, 0], np.uint8)[:, None, None, None]
    examples = data.ArrayExamples(images, np.array([0, 0, 1, 1, 1], np.int32))
    info = data.DataInfo("x", ("a", "<b>"), (1, 1, 1), {}, (5, 5), (0.0,), (1 / 255,))
    return SimpleNamespace(logits=logits), examples, info
