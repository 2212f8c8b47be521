"""RCAL's parts against what is known of drawn features, and the whole on a small run."""

import numpy as np
import pytest

from fsjax.errors import UserError
from fsjax.evaluation.papers import rcal

RNG = np.random.default_rng(0)


def test_far_features_are_outliers_and_small_classes_keep_all():
    features = np.concatenate([RNG.normal(size=(200, 4)), 30 + 5 * RNG.normal(size=(3, 4))])
    kept = rcal.inliers(features, neighbors=20)
    assert not kept[200:].any() and kept[:200].mean() > 0.9
    assert rcal.inliers(features[-10:], neighbors=20).all()


def test_normals_are_the_moments_of_the_inliers():
    features = RNG.normal(size=(40, 3))
    labels = np.repeat([0, 1], [30, 10])
    found, kept = rcal.normals(features, labels, num_classes=2, neighbors=50)
    assert kept.all()
    for label in (0, 1):
        own = features[labels == label]
        np.testing.assert_allclose(found.means[label], own.mean(0))
        np.testing.assert_allclose(found.covariances[label], np.cov(own.T, bias=True))
    np.testing.assert_array_equal(found.counts, [30, 10])
    with pytest.raises(UserError, match="class 2 has no training images"):
        rcal.normals(features, labels, num_classes=3, neighbors=50)


def test_outliers_are_left_out_of_the_moments_and_of_what_is_kept():
    features = np.concatenate([RNG.normal(size=(100, 2)), [[60.0, 60]]])
    found, kept = rcal.normals(features, np.zeros(101, int), num_classes=1, neighbors=20)
    assert not kept[100] and kept.sum() > 80
    np.testing.assert_allclose(found.means[0], features[kept].mean(0))
    np.testing.assert_array_equal(found.counts, [101])


def test_rare_classes_borrow_from_the_nearest_frequent_ones():
    means = np.array([[0.0, 0], [10, 0], [0, 4], [0.1, 0]])
    covariances = np.eye(2) * np.array([1.0, 2, 3, 5])[:, None, None]
    found = rcal.calibrated(rcal.Normals(means, covariances, np.array([50, 50, 50, 3])), frequent=50, nearest=2)
    np.testing.assert_array_equal(found.means[:3], means[:3])
    np.testing.assert_allclose(found.means[3], means[[3, 0, 2]].mean(0))
    np.testing.assert_allclose(found.covariances[3], np.eye(2) * 3)
    with pytest.raises(UserError, match="no class has 60"):
        rcal.calibrated(rcal.Normals(means, covariances, np.array([50, 50, 50, 3])), frequent=60, nearest=2)


def test_draws_fill_up_the_classes_with_their_distributions():
    features, labels = RNG.normal(size=(5004, 2)), np.repeat([0, 1], [5000, 4])
    known = rcal.Normals(np.array([[9.0, 9], [3, -1]]), np.array([np.eye(2), [[2, 1], [1, 1.0]]]), np.array([5000, 4]))
    found, names = rcal.balanced(features, labels, known, seed=1)
    np.testing.assert_array_equal(np.bincount(names), [5000, 5000])
    np.testing.assert_array_equal(found[: len(features)], features)
    drawn = found[len(features) :]
    np.testing.assert_allclose(drawn.mean(0), [3, -1], atol=0.1)
    np.testing.assert_allclose(np.cov(drawn.T), [[2, 1], [1, 1]], atol=0.15)


def test_a_run_has_three_accuracies(digits_run, capsys):
    from fsjax.cli import main

    assert main(["rcal", str(digits_run[0]), "--frequent", "50"]) == 0
    lines = capsys.readouterr().out.strip().split("\n")
    accuracies = [float(line.split("%")[0].split()[-1]) for line in lines[-3:]]
    assert abs(accuracies[0] - 100 * digits_run[1]["test"]["accuracy"]) < 0.01
    assert min(accuracies[1:]) > 50
