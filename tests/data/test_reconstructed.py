"""Novel and base classes together: which base classes, their images, and the lists that are published."""

import json
from importlib import resources

import jax
import numpy as np
import pytest

from fsjax.data import DataError, ReconstructedOptions, images_at, load_splits, random, reconstruct
from fsjax.data.class_splits import ClassLists, packaged, read_lists
from fsjax.data.reconstructed import choose_base, published
from fsjax.errors import UserError
from fsjax.options import read


def noise(**config):
    """Noise of 16 classes of 15 images: 8 base (5 images held out), 4 for validation and 4 novel."""
    shape = {"height": 4, "width": 4, "channels": 3, "num_classes": 16, "train": 16 * 11, "test": 16 * 4}
    split = {"name": "share", "validation": 0.25, "test": 0.25}
    return {"name": "fake", "fake": shape, "class_split": split, "base_holdout": 5} | config


@pytest.fixture(scope="module", params=["arrays", "stream"])
def splits(request):
    return load_splits(noise(memory=request.param, normalization="none"), seed=0)


def pixels(examples):
    """The images of a split as bytes, in order."""
    return [image.tobytes() for image in images_at(examples, np.arange(len(examples)))]


# --- Which base classes.


@pytest.mark.parametrize("seed", [0, 7])
def test_base_classes_are_the_first_of_a_permutation(seed):
    found = choose_base(20, ReconstructedOptions(seed=seed), novel=5, validation=4)
    # 14 is the stream RECONSTRUCTED; jax has the same generator.
    key = jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), 14)
    key = tuple(map(int, jax.random.key_data(key)))
    words = random.bits(key, np.arange(20))[0].tolist()
    order = sorted(range(20), key=words.__getitem__)
    assert found == {"test": tuple(sorted(order[:5])), "validation": tuple(sorted(order[5:9]))}


@pytest.mark.parametrize(
    ("config", "sizes"),
    [
        ({}, (5, 4)),  # as many as novel and validation classes
        ({"test_base": 12}, (12, 4)),
        ({"test_base": 18}, (18, 2)),  # all that are left
        ({"test_base": 20}, (20, 0)),
        ({"validation_base": 17}, (3, 17)),
        ({"validation_base": 20}, (0, 20)),
        ({"test_base": 13, "validation_base": 7}, (13, 7)),
    ],
)
def test_numbers_of_base_classes(config, sizes):
    chosen = []
    for seed in range(5):
        found = choose_base(20, ReconstructedOptions(**config, seed=seed), novel=5, validation=4)
        test, validation = found["test"], found["validation"]
        assert (len(test), len(validation)) == sizes
        assert not set(test) & set(validation) and {*test, *validation} <= set(range(20))
        assert list(test) == sorted(test) and list(validation) == sorted(validation)
        chosen.append((test, validation))
    assert 20 in sizes or len(set(chosen)) == 5


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"test_base": 21}, "need 21 base classes, 21 for the test and 0 others for the validation; there are 20"),
        ({"test_base": 15, "validation_base": 6}, r"test_base=15 and validation_base=6 need 21 .* or set one to 0"),
        ({"validation_base": 30}, "validation_base=30 need 30 base classes"),
    ],
)
def test_more_base_classes_than_there_are(config, message):
    with pytest.raises(DataError, match=message):
        choose_base(20, ReconstructedOptions(**config), novel=5, validation=4)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"images": -1}, "few_shot.reconstructed.images=-1 must be at least 0"),
        ({"seed": 1.5}, "few_shot.reconstructed.seed=1.5 must be a whole number"),
        ({"test_base": True}, "few_shot.reconstructed.test_base=True must be a whole number"),
        ({"test_bas": 3}, "unknown key in config.few_shot.reconstructed: 'test_bas'.* Did you mean 'test_base'"),
    ],
)
def test_sections_that_cannot_be_meant(section, message):
    with pytest.raises(UserError, match=message):
        read(ReconstructedOptions, section, "config.few_shot.reconstructed")


# --- Their images.


@pytest.mark.parametrize("part", ["test", "validation"])
@pytest.mark.parametrize("seed", [0, 3])
def test_classes_are_the_novel_and_then_the_chosen_base_ones_image_by_image(splits, part, seed):
    found = reconstruct(splits, part, ReconstructedOptions(seed=seed))
    novel, info = getattr(splits, part), splits.info
    base = choose_base(8, ReconstructedOptions(seed=seed), novel=4, validation=4)[part]
    names = info.test_classes if part == "test" else info.validation_classes
    assert found.class_names == names + tuple(info.class_names[label] for label in base)
    assert found.is_base.tolist() == [False] * 4 + [True] * 4
    assert found.labels.dtype == np.int32 and found.examples.labels is found.labels
    # Every image with the name of its class, by a loop over the splits.
    expected = [(image, names[label]) for image, label in zip(pixels(novel), novel.labels, strict=True)]
    for image, label in zip(pixels(splits.base), splits.base.labels, strict=True):
        if label in base:
            expected.append((image, info.class_names[label]))
    named = [found.class_names[label] for label in found.labels]
    assert list(zip(pixels(found.examples), named, strict=True)) == expected
    assert len(expected) == 4 * 15 + 4 * 5


def test_no_image_is_for_training_and_none_for_both_parts(splits):
    test, validation = (
        pixels(reconstruct(splits, part, ReconstructedOptions()).examples) for part in ("test", "validation")
    )
    training = set(pixels(splits.train))
    assert len(set(test)) == len(test) == len(set(validation)) == 80 and len(training) == len(splits.train)
    assert not training & {*test, *validation} and not set(test) & set(validation)


def test_some_images_of_each_class(splits):
    whole = reconstruct(splits, "test", ReconstructedOptions())
    some, other = (reconstruct(splits, "test", ReconstructedOptions(images=n)) for n in (3, 9))
    assert np.bincount(some.labels).tolist() == [3] * 8
    assert np.bincount(other.labels).tolist() == [9] * 4 + [5] * 4  # the base classes have no more than 5
    owner = dict(zip(pixels(whole.examples), whole.labels, strict=True))
    for part in (some, other):
        images = pixels(part.examples)
        assert len(set(images)) == len(images)
        assert [owner[image] for image in images] == part.labels.tolist()
    assert set(pixels(some.examples)) <= set(pixels(other.examples))


def test_images_of_a_class_do_not_depend_on_the_other_classes(splits):
    """The number of base classes may change; what a class shows stays the same, and is the seed's."""

    def by_name(**config):
        found = reconstruct(splits, "test", ReconstructedOptions(images=3, **config))
        images: dict[str, set] = {}
        for image, label in zip(pixels(found.examples), found.labels, strict=True):
            images.setdefault(found.class_names[label], set()).add(image)
        return images

    few, many, other = by_name(test_base=2), by_name(test_base=6), by_name(test_base=6, seed=1)
    assert len(few) == 6 and len(many) == 10 and few.items() <= many.items()
    assert all(other[name] != many[name] for name in splits.info.test_classes)


def test_data_that_lack_such_images():
    bare = load_splits(noise(base_holdout=0), seed=0)
    with pytest.raises(
        DataError, match="base classes that were kept out of training: set config.data.base_holdout above"
    ):
        reconstruct(bare, "test", ReconstructedOptions())
    split = {"name": "share", "validation": 0.0, "test": 0.25}
    bare = load_splits(noise(class_split=split), seed=0)
    assert len(reconstruct(bare, "test", ReconstructedOptions()).class_names) == 8
    with pytest.raises(DataError, match="no images of the validation classes: choose a class split that has them"):
        reconstruct(bare, "validation", ReconstructedOptions())


def test_parts_without_a_base_class_say_which_number_to_change(splits):
    with pytest.raises(
        DataError, match="none is left for those of the validation: set few_shot.reconstructed.test_base"
    ):
        reconstruct(splits, "validation", ReconstructedOptions(test_base=8))
    with pytest.raises(
        DataError, match="none is left .* of the test: set few_shot.reconstructed.validation_base below 8"
    ):
        reconstruct(splits, "test", ReconstructedOptions(validation_base=8))
    assert reconstruct(splits, "test", ReconstructedOptions(test_base=8)).is_base.sum() == 8


# --- What is published.


def published_file(name):
    folder = resources.files("fsjax.data.class_splits") / "reconstructed"
    return json.loads((folder / f"{name}.json").read_text("utf-8"))


@pytest.mark.parametrize("name", packaged())
def test_published_lists_are_those_of_seed_0(name):
    lists, found = read_lists(name), published_file(name)
    assert found == published(lists, ReconstructedOptions(), name)
    assert (found["split"], found["seed"], found["images_per_class"]) == (name, 0, 0)
    assert tuple(found["train"]) == lists.train
    assert (tuple(found["val"]["novel"]), tuple(found["test"]["novel"])) == (lists.validation, lists.test)
    val, test = set(found["val"]["base"]), set(found["test"]["base"])
    assert not val & test and val | test <= set(lists.train)
    assert (len(val), len(test)) == (len(lists.validation), len(lists.test))


def test_published_mini_imagenet_has_the_numbers_of_the_paper():
    found = published_file("mini_imagenet")
    sizes = {part: (len(found[part]["novel"]), len(found[part]["base"])) for part in ("val", "test")}
    assert len(found["train"]) == 64 and sizes == {"val": (16, 16), "test": (20, 20)}


def test_the_packages_files_are_installed(root):
    import tomllib

    settings = tomllib.loads((root / "pyproject.toml").read_text())
    patterns = settings["tool"]["setuptools"]["package-data"]["fsjax.data.class_splits"]
    folder = root / "fsjax" / "data" / "class_splits"
    assert {path.stem for pattern in patterns for path in folder.glob(pattern) if path.parent != folder} == {
        *packaged()
    }


@pytest.mark.parametrize("seed", [0, 5])
def test_published_classes_are_those_that_a_run_meets(tmp_path, seed):
    """Lists whose order is not that of the data's labels."""
    lists = {
        "train": [f"class_{n}" for n in (9, 3, 11, 0, 7, 5)],
        "val": ["class_10", "class_2"],
        "test": ["class_8", "class_1", "class_4"],
    }
    path = tmp_path / "lists.json"
    path.write_text(json.dumps(lists))
    shape = {"height": 2, "width": 2, "channels": 1, "num_classes": 12, "train": 120, "test": 24}
    config = {"name": "fake", "fake": shape, "class_split": {"name": str(path)}, "base_holdout": 4}
    splits, config = load_splits(config, seed=1), ReconstructedOptions(seed=seed)
    names = {new: tuple(lists[old]) for old, new in (("train", "train"), ("val", "validation"), ("test", "test"))}
    record = published(ClassLists("this test", **names), config, "own")
    for part, key in (("validation", "val"), ("test", "test")):
        found = reconstruct(splits, part, config)
        assert list(found.class_names) == record[key]["novel"] + record[key]["base"]


def test_published_classes_of_fc100_are_those_of_cifar100(tfds_data_dir):
    config = {
        "name": "cifar100", "path": str(tfds_data_dir), "train_split": "test", "test_split": "", "test_fraction": 0.0,
        "memory": "stream", "normalization": "none", "class_split": {"name": "fc100"}, "base_holdout": 30,
    }  # fmt: skip
    splits, record = load_splits(config, seed=0), published_file("fc100")
    for part, key in (("validation", "val"), ("test", "test")):
        found = reconstruct(splits, part, ReconstructedOptions(images=25))
        assert list(found.class_names) == record[key]["novel"] + record[key]["base"]
        assert np.bincount(found.labels).tolist() == [25] * 40
    # A base image of the merged stream is that of the base split.
    novel = np.flatnonzero(found.is_base[found.labels])[0]
    position = found.pieces[1][1][0]
    np.testing.assert_array_equal(found.examples.image(int(novel)), splits.base.image(int(position)))
