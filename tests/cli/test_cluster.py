"""`fsjax cluster`, and the loss that its file is for."""

import numpy as np
import pytest
from PIL import Image

import fsjax
from fsjax import data
from fsjax.cli import main
from fsjax.errors import UserError
from fsjax.evaluation.analysis.clusters import cluster_training_images
from fsjax.evaluation.few_shot.other_source import source_config
from fsjax.training import run


@pytest.fixture(scope="module")
def cluster_file(digits_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("clusters") / "clusters.npz"
    assert main(["cluster", str(digits_run[0]), "--count", "6", "--out", str(out)]) == 0
    return out


def test_clusters_are_those_of_the_embeddings(digits_run, cluster_file):
    """Every image is nearer to the mean of its own cluster than to any other's: what k-means ends with."""
    trained = fsjax.restore(digits_run[0])
    splits, found = trained.splits(), np.load(cluster_file)
    np.testing.assert_array_equal(found["items"], splits.items)
    embeddings = trained.embed(splits.train.images)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    clusters = found["clusters"]
    means = np.stack([embeddings[clusters == k].mean(axis=0) for k in range(6)])
    distances = np.linalg.norm(embeddings[:, None] - means, axis=-1)
    assert np.mean(distances.argmin(axis=1) == clusters) > 0.999


def test_clusters_are_the_same_every_time(digits_run, cluster_file, tmp_path, capsys):
    again = tmp_path / "again.npz"
    assert main(["cluster", str(digits_run[0]), "--count", "6", "--out", str(again)]) == 0
    clusters = np.load(cluster_file)["clusters"]
    np.testing.assert_array_equal(clusters, np.load(again)["clusters"])
    sizes = np.bincount(clusters)
    assert (
        f"6 clusters of {len(clusters):,} training images, {sizes.min()} to {sizes.max()} each"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize("count", [1, 100_000])
def test_too_few_and_too_many_clusters_are_refused(digits_run, count):
    trained = fsjax.restore(digits_run[0])
    with pytest.raises(UserError, match=f"{count} clusters of [0-9]+ training images"):
        cluster_training_images(trained.method, trained.params, trained.collections, trained.splits(), count=count)


def test_name_of_the_file_is_checked_first(digits_run, capsys):
    assert main(["cluster", str(digits_run[0]), "--out", "clusters.npy"]) == 2
    assert "must end with .npz" in capsys.readouterr().err


def test_a_run_trains_with_the_file_and_is_restored_without_it(digits_config, cluster_file, tmp_path):
    gone = tmp_path / "gone.npz"
    gone.write_bytes(cluster_file.read_bytes())
    config = digits_config(loss__name="dataset_equity", data__clusters=str(gone), train__steps=4, data__validation=0.2)
    config.train.update(log_every=2, eval_every=2, checkpoint_every=2)
    result = run(config, tmp_path / "run")
    assert np.isfinite(result["test"]["accuracy"])
    gone.unlink()
    restored = fsjax.restore(tmp_path / "run")
    splits = restored.splits()
    assert restored.predict(splits.test.images[:3]).shape == (3,)


def test_without_clusters_the_way_out_is_named(digits_config, tmp_path):
    with pytest.raises(UserError, match=r"'dataset_equity'.*config.data.clusters.*fsjax cluster RUN.*\"class\""):
        run(digits_config(loss__name="dataset_equity"), tmp_path / "run")


def test_mixed_images_are_refused(digits_config, tmp_path):
    config = digits_config(loss__name="dataset_equity", data__clusters="class", data__augment__mixup=0.5)
    with pytest.raises(UserError, match="mixup=0.5 makes one image of two"):
        run(config, tmp_path / "run")


def test_batches_carry_the_share_of_each_image(digits_config):
    """Of images that are told by their pixels, after standardisation."""
    from fsjax import data
    from fsjax.training.experiment import build_experiment

    config = digits_config(loss__name="dataset_equity", data__clusters="class", data__longtail_ratio=10.0)
    config.data.normalization = "none"
    splits = data.load_splits(config.data, seed=0)
    experiment = build_experiment(config, splits)
    batch = next(experiment.train_batches(0, iter([2])))
    assert "index" not in batch
    counts = np.bincount(splits.train.labels)
    expected = counts[np.asarray(batch["label"])] / len(splits.train)
    np.testing.assert_allclose(batch["cluster_share"], expected, rtol=1e-6)
    assert len(np.unique(expected)) > 3


def test_another_source_than_the_run_s(digits_run, tmp_path, capsys):
    """Folders of pictures, as `embed` takes them; each is nearest to its cluster's mean."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(8):
            picture = rng.integers(0, 256, (20, 26), dtype=np.uint8)
            Image.fromarray(picture).save(tmp_path / "pictures" / name / f"{number}.png")
    out = tmp_path / "clusters.npz"
    arguments = ["cluster", str(digits_run[0]), "--count", "3", "--out", str(out)]
    other = ["--source", "folder", "--data-path", str(tmp_path / "pictures")]
    assert main([*arguments, *other]) == 0
    assert "3 clusters of 16 training images" in capsys.readouterr().out
    found, trained = np.load(out), fsjax.restore(digits_run[0])
    config = source_config(trained.config.data, trained.info, "folder", str(tmp_path / "pictures")).data
    splits = data.load_splits(config, seed=0)
    np.testing.assert_array_equal(found["items"], splits.items)
    embeddings = trained.embed(splits.train.images)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    means = np.stack([embeddings[found["clusters"] == k].mean(axis=0) for k in range(3)])
    distances = np.linalg.norm(embeddings[:, None] - means, axis=-1)
    assert distances.argmin(axis=1).tolist() == found["clusters"].tolist()
    assert main([*arguments, *other, "--set", "data.test_fraction=0.25"]) == 0
    assert "3 clusters of 12 training images" in capsys.readouterr().out
    assert main([*arguments, "--set", "data.test_fraction=0.25"]) == 2
    assert "--set changes the data of --source NAME" in capsys.readouterr().err
