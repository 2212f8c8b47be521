"""Cluster files, and the share of the training images that is in each image's cluster."""

import dataclasses
from collections import Counter

import numpy as np
import pytest

from fsjax.data import DataError, default_config, load_splits, save_clusters
from fsjax.data.clusters import cluster_shares
from fsjax.data.sources.source import array_part


@pytest.fixture
def part():
    """Nine images, of which the part is six, in an order of its own."""
    whole = array_part(np.zeros((9, 2, 2, 1), np.uint8), np.array([0, 1, 0, 1, 2, 2, 2, 0, 2]), "nine")
    return whole.take(np.array([8, 0, 3, 4, 6, 1]))


def by_hand(clusters):
    counts = Counter(clusters)
    return [counts[number] / len(clusters) for number in clusters]


def test_classes_are_clusters(part):
    found = cluster_shares("class", part, source="digits")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_hand([2, 0, 1, 2, 2, 1]), rtol=1e-6)
    assert cluster_shares("", part, source="digits") is None


def test_file_of_a_split_is_by_position(part, tmp_path):
    numbers = [7, -1, 7, 7, 30, -1]
    np.save(tmp_path / "clusters.npy", np.array(numbers))
    np.testing.assert_allclose(
        cluster_shares(str(tmp_path / "clusters.npy"), part, source="digits"), by_hand(numbers), rtol=1e-6
    )


def test_file_of_a_source_is_by_image_and_shares_are_of_the_split(part, tmp_path):
    """In any order, and with images that the split does not have, which count nowhere."""
    cluster_of = dict(enumerate([5, 3, 5, 3, 5, 3, 3, 5, 8]))
    items = np.random.default_rng(0).permutation(9)
    save_clusters(tmp_path / "c.npz", np.array([cluster_of[item] for item in items]), items, source="digits")
    found = cluster_shares(str(tmp_path / "c.npz"), part, source="digits")
    np.testing.assert_allclose(found, by_hand([cluster_of[item] for item in part.items]), rtol=1e-6)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (np.zeros(5, int), "holds 5 numbers, and the training split has 6 images"),
        (np.zeros(6), "float64 of shape \\(6,\\).*one integer for each"),
        (np.zeros((6, 2), int), "int64 of shape \\(6, 2\\)"),
        (np.array(["a"] * 6, object), "cannot be read"),
    ],
)
def test_files_that_do_not_fit_are_refused(part, tmp_path, content, words):
    np.save(tmp_path / "clusters.npy", content, allow_pickle=True)
    with pytest.raises(DataError, match=words):
        cluster_shares(str(tmp_path / "clusters.npy"), part, source="digits")


def test_missing_and_damaged_files_are_named(part, tmp_path):
    with pytest.raises(DataError, match=r"nowhere.npy'.*no such file.*fsjax cluster.*\"class\""):
        cluster_shares("nowhere.npy", part, source="digits")
    (tmp_path / "damaged.npy").write_text("clusters")
    with pytest.raises(DataError, match="cannot be read"):
        cluster_shares(str(tmp_path / "damaged.npy"), part, source="digits")
    np.savez(tmp_path / "other.npz", numbers=np.arange(6))
    with pytest.raises(DataError, match="cannot be read .*items"):
        cluster_shares(str(tmp_path / "other.npz"), part, source="digits")


@pytest.mark.parametrize("items", [[0, 1, 3, 4, 5, 7], []])
def test_images_without_a_cluster_are_counted(part, tmp_path, items):
    save_clusters(tmp_path / "c.npz", np.zeros(len(items)), np.array(items), source="digits")
    missing = sum(item not in items for item in (8, 0, 3, 4, 6, 1))
    words = f"holds clusters of {len(items)} images, and {missing} of the 6 training images.*example 8 of nine"
    with pytest.raises(DataError, match=words):
        cluster_shares(str(tmp_path / "c.npz"), part, source="digits")


def test_splits_carry_the_shares_of_what_is_left_for_training(tmp_path):
    """A file of the whole training part serves every seed's part of it."""
    fake = {"train": 60, "test": 10, "num_classes": 3, "height": 4, "width": 4}
    whole = load_splits({"name": "fake", "fake": fake}, seed=0)
    assert whole.cluster_shares is None and whole.items.shape == (60,)
    cluster_of = np.random.default_rng(1).integers(0, 4, 60)
    save_clusters(tmp_path / "c.npz", cluster_of, whole.items, source="fake")
    images = {whole.train.images[i].tobytes(): cluster for i, cluster in enumerate(cluster_of)}
    chosen = []
    for seed in (0, 1):
        config = {"name": "fake", "fake": fake, "validation": 0.25, "clusters": str(tmp_path / "c.npz")}
        splits = load_splits(config, seed=seed)
        assert len(splits.train) == 45
        clusters = [images[image.tobytes()] for image in splits.train.images]
        np.testing.assert_allclose(splits.cluster_shares, by_hand(clusters), rtol=1e-6)
        chosen.append(splits.items.tolist())
    assert chosen[0] != chosen[1]


def test_description_of_the_data_does_not_grow():
    """The shares are of the run, not of what its folder keeps."""
    splits = load_splits({"name": "fake", "clusters": "class"}, seed=0)
    assert splits.cluster_shares.shape == (100,)
    assert "clusters" in default_config()
    assert all(len(value) < 100 for value in dataclasses.asdict(splits.info).values() if isinstance(value, tuple))


def test_clusters_of_other_data_are_refused(tmp_path):
    fake = {"train": 60, "test": 10, "num_classes": 3, "height": 4, "width": 4}
    save_clusters(tmp_path / "c.npz", np.zeros(60), np.arange(60), source="mnist")
    with pytest.raises(DataError, match="clusters of mnist, and these data are fake"):
        load_splits({"name": "fake", "fake": fake, "clusters": str(tmp_path / "c.npz")}, seed=0)
