"""Class splits: the packaged lists, lists of one's own, shares, and the splits of a run that follow."""

import json

import numpy as np
import pytest

from fsjax.data import DataError, DataInfo, describe, load_splits
from fsjax.data.class_splits import load_class_split, packaged, read_lists
from fsjax.data.config import ClassSplitConfig, DataConfig
from fsjax.errors import UserError

# Classes of each part as the papers give them; Omniglot's by the alphabets' sizes.
SIZES = {
    "fc100": (60, 20, 20),
    "cifar_fs": (64, 16, 20),
    "mini_imagenet": (64, 16, 20),
    "tiny_imagenet_fs": (32, 8, 20),
    "omniglot": (883, 81, 659),
    "fscil_cifar100": (60, 0, 40),
}
# TADAM (Oreshkin et al. 2018), supplement: FC100's superclasses; all others are for training.
FC100_VALIDATION = {
    "large_carnivores", "large_omnivores_and_herbivores", "non-insect_invertebrates", "small_mammals",
}  # fmt: skip
FC100_TEST = {"aquatic_mammals", "insects", "medium_mammals", "people"}


def fake(num_classes=10, *, train=100, test=50, **config):
    shape = {"height": 4, "width": 4, "channels": 1}
    return {"name": "fake", "fake": {**shape, "num_classes": num_classes, "train": train, "test": test}} | config


def pixels(examples):
    """The images of a split as a set, and how many there are."""
    return {image.tobytes() for image in examples.images}, len(examples)


@pytest.fixture
def write_lists(tmp_path):
    """A function that writes a class split as JSON and returns its path."""

    def write(**lists):
        path = tmp_path / "lists.json"
        path.write_text(json.dumps({"source": "this test"} | lists))
        return str(path)

    return write


def test_the_packaged_splits_are_those_of_the_table():
    assert packaged() == sorted(SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_packaged_lists_are_disjoint_and_of_the_papers_sizes(name):
    lists = read_lists(name)
    parts = (lists.train, lists.validation, lists.test)
    assert tuple(map(len, parts)) == SIZES[name] and lists.source
    assert len(set().union(*parts)) == sum(SIZES[name])


def test_omniglots_alphabets_lie_in_one_part_each():
    lists = read_lists("omniglot")
    alphabets = [
        {name.rsplit("_", 1)[0] for name in part} for part in (lists.train, lists.validation, lists.test)
    ]  # fmt: skip
    assert list(map(len, alphabets)) == [25, 5, 20] and len(set.union(*alphabets)) == 50
    for part in (lists.train, lists.validation, lists.test):
        for alphabet in {name.rsplit("_", 1)[0] for name in part}:
            numbers = [int(name.rsplit("_", 1)[1]) for name in part if name.rsplit("_", 1)[0] == alphabet]
            assert numbers == list(range(len(numbers)))


def test_lists_are_found_by_name_and_by_wnid(write_lists):
    path = write_lists(train=["n00000003", "cat", "n00000001"], val=[], test=["ox", "n00000002"])
    names = ("cat", "n00000001 red fox", "n00000002_owl", "n00000003", "ox", "more")
    labels, notes = load_class_split(ClassSplitConfig(name=path), names)
    assert {part: chosen.tolist() for part, chosen in labels.items()} == {
        "train": [3, 0, 1], "validation": [], "test": [4, 2],
    }  # fmt: skip
    assert any("this test" in note for note in notes)
    assert any("1 classes are in no list and left out: more" in note for note in notes)


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"train": ["a", "b"], "test": ["b", "c"]}, r"class 'b' is in 'train' and in 'test'"),
        ({"train": ["a", "b", "a"], "test": ["c", "d"]}, r"class 'a' is twice in 'train'"),
        ({"train": [], "test": ["a", "b"]}, "'train' names no class"),
        ({"train": ["a", "b"]}, "'test' names no class"),
        ({"train": ["a", "b"], "test": ["c", "e"]}, r"hold no image: 1 of 2 test classes \(e\).*allow_missing=True"),
        ({"train": ["e", "f"], "test": ["g", "h"]}, "None of its classes is there"),
        ({"train": ["a", "b"], "test": ["c"]}, "gives the test part 1 class; it needs at least two"),
        ({"train": ["a"], "test": ["b", "c"]}, "gives the train part 1 class; it needs at least two"),
        ({"train": ["a", 1], "test": ["b", "c"]}, "'train' must be a list of class names, in quotes"),
        ({"train": "ab", "test": ["b", "c"]}, "'train' must be a list of class names"),
        ({"base": ["a", "b"], "novel": ["c", "d"]}, "must be .* it has the keys source, base, novel"),
    ],
)
def test_lists_that_cannot_be_meant(write_lists, lists, message):
    with pytest.raises(DataError, match=message):
        load_class_split(ClassSplitConfig(name=write_lists(**lists)), tuple("abcd"))


def test_two_names_of_one_class(write_lists):
    path = write_lists(train=["n00000001", "a"], test=["n00000001_fox", "b"])
    with pytest.raises(DataError, match="two of its names mean class 'n00000001_fox'"):
        load_class_split(ClassSplitConfig(name=path), ("n00000001_fox", "a", "b"))


def test_files_that_are_none(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_lists(str(tmp_path / "none.json"))
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(DataError, match="is no JSON"):
        read_lists(str(tmp_path / "broken.json"))
    with pytest.raises(UserError, match=r"unknown class split 'fc10'; known: .*share.* Did you mean 'fc100'\?"):
        read_lists("fc10")


def test_missing_classes_are_done_without_when_asked(write_lists):
    path = write_lists(train=["a", "x", "b"], val=["y", "z"], test=["c", "d", "w"])
    config = ClassSplitConfig(name=path, allow_missing=True)
    # A class without images is missing too.
    labels, notes = load_class_split(config, tuple("abcdw"), np.array([1, 2, 1, 1, 0]))
    assert [labels[part].tolist() for part in labels] == [[0, 1], [], [2, 3]]
    words = " ".join(notes)
    assert "1 of 3 train classes (x); 2 of 2 validation classes (y, z); 1 of 3 test classes (w)" in words


def test_shares_are_of_the_classes_with_images():
    counts = np.array([1, 0] * 50)
    config = ClassSplitConfig(name="share", validation=0.16, test=0.2)
    labels, _ = load_class_split(config, [str(i) for i in range(100)], counts)
    assert [len(labels[part]) for part in ("train", "validation", "test")] == [32, 8, 10]
    drawn = np.concatenate(list(labels.values()))
    assert sorted(drawn) == list(range(0, 100, 2)) and all((np.diff(part) > 0).all() for part in labels.values())
    other, _ = load_class_split(ClassSplitConfig(name="share", seed=1), [str(i) for i in range(100)], counts)
    assert not np.array_equal(other["test"], labels["test"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"class_split": {"name": "share"}, "validation": 0.1},
            "data.validation=0.1 would take .* set data.validation=0",
        ),
        ({"class_split": {"name": "share", "test": 0.0}}, "class_split.test=0.0 must be above 0"),
        ({"class_split": {"name": "share", "test": 0.6, "validation": 0.4}}, "together they must be below 1"),
        ({"class_split": {"name": "share", "validation": -0.1}}, "class_split.validation=-0.1 must be at least 0"),
        ({"class_split": {"name": "share", "validation": 0.1}}, "are 1 and 2, and leave 7 .* two or none"),
        ({"class_split": {"name": "share", "test": 0.1}}, "are 2 and 1, and leave 7"),
        ({"class_split": {"name": "share", "seed": -1}}, "data.class_split.seed=-1 must be at least 0"),
        ({"class_split": {"name": "fc100"}}, "None of its classes is there"),
        ({"class_split": {"nmae": "fc100"}}, "unknown key in config.data.class_split: 'nmae'"),
        ({"base_holdout": 3}, "data.base_holdout=3 .* there is no class split"),
        ({"base_holdout": -1}, "data.base_holdout=-1 must be at least 0"),
        ({"class_split": {"name": "share"}, "base_holdout": 15}, "leaves base class 'class_.' without .* it has 15"),
        ({"resize": "nearest"}, "data.resize='nearest' must be one of 'bilinear', 'bicubic', 'lanczos', 'box'"),
    ],
)
def test_wrong_fields_are_named(fields, message):
    with pytest.raises(UserError, match=message):
        load_splits(fake(**fields), seed=0)


def test_the_splits_of_own_lists(write_lists):
    lists = {"train": ["class_7", "class_2", "class_4"], "val": ["class_0", "class_9"], "test": ["class_5", "class_1"]}
    splits = load_splits(fake(class_split={"name": write_lists(**lists)}, base_holdout=5), seed=0)
    info = splits.info
    assert info.few_shot and info.num_classes == 3
    assert info.class_names == tuple(lists["train"]) and info.class_counts == (10, 10, 10)
    assert info.validation_classes == tuple(lists["val"]) and info.test_classes == tuple(lists["test"])
    assert info.counts == {"train": 30, "validation": 30, "test": 30, "base": 15}
    # 100 + 50 images of 10 classes, 15 of each, whose classes are known from the ordinary splits.
    plain = load_splits(fake(), seed=0)
    images = np.concatenate([plain.train.images, plain.test.images])
    labels = np.concatenate([plain.train.labels, plain.test.labels])
    owner = {image.tobytes(): f"class_{label}" for image, label in zip(images, labels, strict=True)}
    for split, key in (("train", "train"), ("validation", "val"), ("test", "test"), ("base", "train")):
        examples = getattr(splits, split)
        found = [owner[image.tobytes()] for image in examples.images]
        assert found == [lists[key][label] for label in examples.labels]
    train, base = pixels(splits.train), pixels(splits.base)
    assert not train[0] & base[0] and len(train[0] | base[0]) == train[1] + base[1] == 45
    assert np.bincount(splits.base.labels).tolist() == [5, 5, 5]
    np.testing.assert_allclose(info.mean, (splits.train.images / 255).mean(axis=(0, 1, 2)), rtol=1e-12)


def test_without_a_class_split_there_are_no_classes_of_their_own():
    splits = load_splits(fake(), seed=0)
    assert splits.base is None and not splits.info.few_shot
    assert splits.info.validation_classes == splits.info.test_classes == ()


@pytest.mark.parametrize("memory", ["arrays", "stream"])
def test_only_training_depends_on_the_runs_seed(memory):
    config = fake(
        train=200, class_split={"name": "share"}, base_holdout=4, longtail_ratio=4, limit={"train": 60, "test": 20},
        normalization="none", memory=memory,
    )  # fmt: skip
    one, other = (load_splits(config, seed=seed) for seed in (0, 1))
    for split in ("validation", "test", "base"):
        np.testing.assert_array_equal(getattr(one, split).labels, getattr(other, split).labels)
        if memory == "arrays":
            np.testing.assert_array_equal(getattr(one, split).images, getattr(other, split).images)
    assert one.info.counts == {"train": 60, "validation": 50, "test": 20, "base": 24}
    if memory == "arrays":
        assert not np.array_equal(one.train.images, other.train.images)
    else:
        np.testing.assert_array_equal(
            one.test.image(3), load_splits(config | {"memory": "arrays"}, seed=5).test.images[3]
        )


def test_shares_of_digits():
    splits = load_splits({"name": "digits", "class_split": {"name": "share", "validation": 0.0, "test": 0.3}}, seed=0)
    assert splits.validation is None and splits.info.num_classes == 7 and len(splits.info.test_classes) == 3
    assert sum(splits.info.counts.values()) == 1797
    assert not set(splits.info.test_classes) & set(splits.info.class_names)


def test_long_tails_and_limits_are_of_the_base_classes():
    config = fake(train=400, class_split={"name": "share"}, longtail_ratio=10)
    tailed = load_splits(config, seed=0)
    # 45 images per class, six base classes: 45, 45 / 10^(1/5), ..., 45 / 10.
    assert tailed.info.class_counts == tuple(int(45 * 10 ** (-i / 5)) for i in range(6))
    assert tailed.info.counts["test"] == tailed.info.counts["validation"] == 90


def test_info_survives_json_and_old_files_are_read():
    info = load_splits(fake(class_split={"name": "share"}), seed=0).info
    plain = json.loads(json.dumps(info.to_json()))
    assert DataInfo.from_json(plain) == info
    old = {name: value for name, value in plain.items() if not name.endswith("_classes")}
    assert DataInfo.from_json(old).test_classes == () and not DataInfo.from_json(old).few_shot


def test_skipped_images_are_those_of_the_classes_that_are_used(write_folder, write_lists):
    root = write_folder({name: 4 for name in "abcde"})
    for name in "be":
        (root / name / "001.png").write_text("broken")
    path = write_lists(train=["a", "b"], test=["c", "d"])
    config = {"name": "folder", "path": str(root), "class_split": {"name": path}, "on_error": "skip"}
    splits = load_splits(config, seed=0)
    assert splits.info.class_counts == (4, 3) and splits.info.counts["test"] == 8
    words = describe(splits)
    assert "train: skipped 1 of 8 images" in words and "1 classes are in no list and left out: e" in words


def test_description(write_lists):
    lists = {"train": ["class_7", "class_2"], "val": ["class_0", "class_9"], "test": ["class_5", "class_1"]}
    config = fake(train=101, class_split={"name": write_lists(**lists)}, base_holdout=5)
    words = describe(load_splits(config, seed=0))
    assert "fake: 2 base classes (class_7, class_2), images 4×4, grey" in words
    assert "examples: 20 train, 31 validation, 30 test, 10 base" in words
    # Image 100 is of class 0, so that class 9 has one less.
    assert (
        "2 validation classes (class_0, class_9) of 15 to 16 images: tasks of up to 2 ways, and shots + queries of "
        "up to 15 ('class_9' has the fewest)" in words
    )
    assert "2 novel classes (class_5, class_1) of 15 images: tasks of up to 2 ways" in words
    assert "2 held-out base classes (class_7, class_2) of 5 images" in words


def test_description_names_shared_images(write_folder, write_lists):
    root = write_folder({"train/a": 3, "train/b": 3, "test/c": 3, "test/d": 3})
    (root / "test/c/000.png").write_bytes((root / "train/a/001.png").read_bytes())
    path = write_lists(train=["a", "b"], test=["c", "d"])
    splits = load_splits({"name": "folder", "path": str(root), "class_split": {"name": path}}, seed=0)
    shared = len(pixels(splits.train)[0] & pixels(splits.test)[0])
    assert shared and f"{shared} test images are also training images" in describe(splits)


def test_config_files_list_the_fields():
    import dataclasses

    from fsjax.configs import common

    data = common.base().data.to_dict()
    fields = dataclasses.asdict(DataConfig())
    assert data["class_split"] == fields["class_split"] and data["base_holdout"] == 0 and data["resize"] == "bilinear"


def test_fc100_is_cifar100_by_superclass(tfds_data_dir):
    config = {
        "name": "cifar100", "path": str(tfds_data_dir), "train_split": "test", "test_split": "", "test_fraction": 0.0,
        "memory": "stream", "normalization": "none",
    }  # fmt: skip
    fine, coarse = load_splits(config, seed=0), load_splits(config | {"label_key": "coarse_label"}, seed=0)
    pairs = set(zip(fine.train.labels.tolist(), coarse.train.labels.tolist(), strict=True))
    assert len(pairs) == 100
    members: dict[str, set[str]] = {"train": set(), "validation": set(), "test": set()}
    for label, above in pairs:
        name = coarse.info.class_names[above]
        part = "test" if name in FC100_TEST else "validation" if name in FC100_VALIDATION else "train"
        members[part].add(fine.info.class_names[label])
    lists = read_lists("fc100")
    assert {part: set(getattr(lists, part)) for part in members} == members


@pytest.mark.parametrize("splits_of", [("train+test", ""), ("train", "test")])
def test_cifar100_gives_fc100_and_cifar_fs(tfds_data_dir, splits_of):
    train, test = splits_of
    config = {
        "name": "cifar100", "path": str(tfds_data_dir), "train_split": train, "test_split": test, "memory": "stream",
        "normalization": "none", "base_holdout": 60,
    }  # fmt: skip
    name = "fc100" if test else "cifar_fs"
    info = load_splits(config | {"class_split": {"name": name}}, seed=0).info
    base, validation, novel = SIZES[name]
    assert info.counts == {
        "train": base * 540, "validation": validation * 600, "test": novel * 600, "base": base * 60,
    }  # fmt: skip
    assert set(info.class_counts) == {540}


def test_splits_of_tfds_that_share_examples_are_refused(tfds_data_dir):
    config = {
        "name": "cifar100", "path": str(tfds_data_dir), "train_split": "train[:100]+test[:60]",
        "test_split": "test[50:]", "class_split": {"name": "fc100"},
    }  # fmt: skip
    with pytest.raises(DataError, match=r"share 10 examples of cifar100; .*test_split=''"):
        load_splits(config, seed=0)


def test_tiny_imagenet(tfds_data_dir):
    if not (tfds_data_dir / "tiny_imagenet_fs").is_dir():
        pytest.skip(f"no tiny_imagenet_fs in {tfds_data_dir}")
    config = {
        "name": "tiny_imagenet_fs", "path": str(tfds_data_dir), "test_split": "validation", "memory": "stream",
        "normalization": "none", "class_split": {"name": "tiny_imagenet_fs"}, "image_size": 32, "resize": "box",
    }  # fmt: skip
    splits = load_splits(config, seed=0)
    assert splits.info.counts == {"train": 32 * 550, "validation": 8 * 550, "test": 20 * 550}
    assert "n12267677_acorn" in splits.info.test_classes and "32×32, box filter" in describe(splits)
    full = load_splits(config | {"image_size": 0}, seed=0)
    assert "filter" not in describe(full)
    # A box filter at half the size is the mean of four pixels; pillow rounds after each of the two directions.
    blocks = full.test.image(5).astype(np.float64).reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
    assert np.abs(splits.test.image(5) - blocks).max() <= 1


@pytest.fixture
def omniglot(tfds_data_dir):
    if not (tfds_data_dir / "omniglot").is_dir():
        pytest.skip(f"no omniglot in {tfds_data_dir}")
    return {
        "name": "omniglot", "path": str(tfds_data_dir), "test_split": "", "memory": "stream", "normalization": "none",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("part", ["small1", "small2"])
def test_omniglots_lists_name_the_records(omniglot, part):
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(f"{omniglot['path']}/omniglot/3.0.0")
    records = builder.as_dataset(split=part, decoders={"image": tfds.decode.SkipDecoding()}).as_numpy_iterator()
    alphabets, labels = builder.info.features["alphabet"].names, builder.info.features["label"].names
    seen = {(labels[r["label"]], f"{alphabets[r['alphabet']]}_{r['alphabet_char_id']}") for r in records}
    assert all(label == name for label, name in seen)
    lists = read_lists("omniglot")
    listed = {*lists.train, *lists.validation, *lists.test}
    for alphabet in {name.rsplit("_", 1)[0] for name, _ in seen}:
        # All characters of an alphabet that is there, and no others.
        assert {n for n, _ in seen if n.rsplit("_", 1)[0] == alphabet} == {
            n for n in listed if n.rsplit("_", 1)[0] == alphabet
        }


def test_a_part_of_omniglot(omniglot):
    config = omniglot | {"train_split": "small2", "class_split": {"name": "omniglot"}}
    with pytest.raises(DataError, match="659 of 659 test classes .*allow_missing=True"):
        load_splits(config, seed=0)
    splits = load_splits(config | {"class_split": {"name": "omniglot", "allow_missing": True}}, seed=0)
    # Tagalog, with 17 characters, is a validation alphabet; no evaluation alphabet is in small2.
    assert splits.info.counts == {"train": 139 * 20, "validation": 17 * 20} and splits.test is None
    assert splits.info.few_shot and {n.rsplit("_", 1)[0] for n in splits.info.validation_classes} == {"Tagalog"}
    assert "659 of 659 test classes" in describe(splits) and "there is no test split: none" in describe(splits)
    shared = load_splits(config | {"class_split": {"name": "share"}}, seed=0)
    assert shared.info.counts == {"train": 100 * 20, "validation": 25 * 20, "test": 31 * 20}
