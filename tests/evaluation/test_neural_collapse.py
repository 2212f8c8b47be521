"""NC1 to NC4 against the vectors, a pseudo-inverse, known frames, and the expectation of noise."""

import numpy as np
import pytest

from fsjax.errors import UserError
from fsjax.evaluation.analysis.neural_collapse import frame, neural_collapse


def simplex(classes, dim, rng):
    """Vectors of one length, each pair at a cosine of -1/(classes - 1), in random directions."""
    basis, _ = np.linalg.qr(rng.normal(size=(dim, classes)))
    return (np.eye(classes) - 1 / classes) @ basis.T


@pytest.mark.parametrize("name", ["metrics", "perfect"])
def test_vectors(vector, name):
    given = vector(f"neural_collapse_{name}")
    x, labels, weights = (given.inputs[key] for key in ("features", "labels", "W"))
    found = neural_collapse(x, labels, weights, np.argmax(x @ weights.T, axis=1))
    expected, close = given.expected, {"rel": 1e-9, "abs": 1e-12}
    assert found.nc1 == pytest.approx(expected["nc1"], **close)
    assert found.means.norms == pytest.approx(expected["nc2_norm_means"], **close)
    assert found.weights.norms == pytest.approx(expected["nc2_norm_weights"], **close)
    assert found.means.simplex == pytest.approx(expected["nc2_angle_means"], **close)
    assert found.weights.simplex == pytest.approx(expected["nc2_angle_weights"], **close)
    assert found.nc3 == pytest.approx(expected["nc3"], **close)
    assert found.nc4 == pytest.approx(expected["nc4_mismatch"], **close)


@pytest.mark.parametrize("dim", [3, 12, 40])  # fewer dimensions than classes, as many images, more than images
def test_nc1_is_that_of_the_covariances(dim):
    rng = np.random.default_rng(dim)
    labels = np.repeat([4, 0, 9, 2, 7], [5, 9, 2, 7, 1])
    x = rng.normal(size=(len(labels), dim)) + 2 * rng.normal(size=(10, dim))[labels]
    means = {c: x[labels == c].mean(0) for c in set(labels.tolist())}
    within = sum(np.outer(v - means[c], v - means[c]) for v, c in zip(x, labels, strict=True)) / len(x)
    centre = np.mean(list(means.values()), axis=0)
    between = sum(np.outer(m - centre, m - centre) for m in means.values()) / len(means)
    expected = np.trace(within @ np.linalg.pinv(between, rcond=1e-10)) / len(means)
    assert neural_collapse(x, labels).nc1 == pytest.approx(expected, rel=1e-8)


def test_nothing_depends_on_origin_scale_rotation_or_order():
    rng = np.random.default_rng(0)
    labels, weights = rng.integers(4, size=60), rng.normal(size=(4, 7))
    x = rng.normal(size=(60, 7)) + rng.normal(size=(4, 7))[labels]
    turn, order = np.linalg.qr(rng.normal(size=(7, 7)))[0], rng.permutation(60)
    predicted = rng.integers(4, size=60)
    one = neural_collapse(x, labels, weights, predicted)
    moved = 3 * (x @ turn)[order] + rng.normal(size=7)
    other = neural_collapse(moved, labels[order], 0.2 * weights @ turn, predicted[order])
    for name in ("nc1", "nc3", "nc4"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-9)
    assert (other.means.norms, other.means.simplex) == pytest.approx((one.means.norms, one.means.simplex), rel=1e-9)
    # The orthogonal frame is about the origin, which has moved.
    assert other.weights.orthogonal == pytest.approx(one.weights.orthogonal, rel=1e-9)
    assert other.means.orthogonal != pytest.approx(one.means.orthogonal, rel=1e-3)


@pytest.mark.parametrize("dim", [3, 8, 64])
@pytest.mark.parametrize("offset", [0.0, 1.0, 300.0])
def test_rounding_decides_nothing(dim, offset):
    """Features of a float32 network: another order, a turn, an offset, and noise in the last place.

    Of 6 classes whose means lie in a plane: three directions of rounding errors, which count for nothing.
    """
    rng = np.random.default_rng(dim)
    labels = rng.integers(6, size=90)
    plane = rng.normal(size=(6, 2)) @ np.eye(2, dim)
    x = plane[labels]
    noise = rng.normal(size=(90, dim))
    for label in range(6):  # without a share in the means
        noise[labels == label] -= noise[labels == label].mean(0)
    x = x + 0.3 * noise
    within = sum(np.outer(v, v) for v in 0.3 * noise) / len(x)
    centred = plane - plane.mean(0)
    expected = np.trace(within @ np.linalg.pinv(centred.T @ centred / 6, rcond=1e-10)) / 6
    turn, order = np.linalg.qr(rng.normal(size=(dim, dim)))[0], rng.permutation(90)
    moved = x + offset
    given = [moved, moved[order], moved @ turn, np.float32(moved), np.nextafter(np.float32(moved), np.float32(np.inf))]
    for features, own in zip(given, [labels, labels[order], labels, labels, labels], strict=True):
        close = 1e-9 if features.dtype == np.float64 else 1e-5 * (1 + offset)
        assert neural_collapse(features, own).nc1 == pytest.approx(expected, rel=close)


def test_features_that_are_all_the_same_have_no_nc1():
    """Whatever their size: what a mean of them is off by is no scatter."""
    for value in (0.1, 1e4 / 3):
        same = np.full((300, 7), value, np.float32)
        assert np.isnan(neural_collapse(same, np.arange(300) % 4).nc1)


def test_collapse_to_a_simplex_away_from_the_origin():
    rng = np.random.default_rng(1)
    means, labels = simplex(5, 16, rng), np.repeat(np.arange(5), 6)
    found = neural_collapse(means[labels] + 4, labels, 7 * means, labels)
    assert found.nc1 == pytest.approx(0, abs=1e-12) and found.nc3 == pytest.approx(0, abs=1e-12) and found.nc4 == 0
    assert (found.means.norms, found.means.simplex) == pytest.approx((0, 0), abs=1e-12)
    assert (found.weights.norms, found.weights.simplex) == pytest.approx((0, 0), abs=1e-12)
    assert found.weights.orthogonal == pytest.approx(1 / 4)


def test_orthogonal_vectors_of_unequal_lengths():
    """What unbalanced data without a bias give, by Dang et al. 2023."""
    vectors = np.diag([1.0, 2.0, 5.0, 9.0])
    labels = np.repeat(np.arange(4), [8, 4, 2, 1])
    found = neural_collapse(vectors[labels], labels, vectors, labels)
    assert found.means.orthogonal == found.weights.orthogonal == 0 and found.nc1 == 0
    assert found.weights.simplex == pytest.approx(1 / 3) and found.weights.norms == pytest.approx(
        np.std([1, 2, 5, 9]) / np.mean([1, 2, 5, 9])
    )


def test_noise_has_its_expectation():
    """n images of each of K classes of independent normal numbers in many more dimensions than classes."""
    rng, classes, images, dim = np.random.default_rng(2), 10, 20, 2000
    x, labels = rng.normal(size=(classes * images, dim)), np.tile(np.arange(classes), images)
    found = neural_collapse(x, labels, rng.normal(size=(classes, dim)), rng.integers(classes, size=len(x)))
    # S_W has the variance 1 - 1/n in any direction (of 1,800 numbers, to 3 %), and S_B dim / (n K) in each of K - 1.
    assert found.nc1 == pytest.approx((1 - 1 / images) * images * (classes - 1) / dim, rel=0.12)
    # Means of many dimensions have about one length, and about a simplex after their mean is taken away.
    assert found.means.norms < 0.05 and found.means.simplex == pytest.approx(np.sqrt(2 / np.pi / dim), rel=0.3)
    # Of rows that are as they are, cosines are normal with the variance 1/dim.
    assert found.weights.orthogonal == pytest.approx(np.sqrt(2 / np.pi / dim), rel=0.3)
    assert found.weights.simplex == pytest.approx(1 / (classes - 1), rel=0.05)
    assert found.nc3 == pytest.approx(2, rel=0.05)
    assert found.nc4 == pytest.approx(1 - 1 / classes, abs=0.06)


def test_nc4_is_by_the_nearest_mean():
    rng = np.random.default_rng(3)
    labels = rng.integers(3, size=80)
    x = rng.normal(size=(80, 4)) + 100.0  # far from the origin
    means = [x[labels == c].mean(0) for c in range(3)]
    nearest = np.array([np.argmin([np.sum((v - m) ** 2) for m in means]) for v in x])
    assert neural_collapse(x, labels, None, nearest).nc4 == 0
    predicted = np.where(np.arange(80) < 20, (nearest + 1) % 3, nearest)
    assert neural_collapse(x, labels, None, predicted).nc4 == 0.25


def test_absent_classes_are_left_out():
    rng = np.random.default_rng(4)
    labels, weights = np.tile([1, 4, 5], 10), rng.normal(size=(7, 6))
    x = rng.normal(size=(30, 6))
    full = neural_collapse(x, labels, weights, labels)
    small = neural_collapse(x, np.tile([0, 1, 2], 10), weights[[1, 4, 5]], np.tile([0, 1, 2], 10))
    assert full == small and full.classes == 3
    # A prediction of a class without images is no agreement.
    assert neural_collapse(x, labels, None, np.full(30, 6)).nc4 == 1


def test_what_is_not_defined():
    labels = np.array([0, 0, 1, 1, 2, 2])
    zeros = neural_collapse(np.zeros((6, 3)), labels, np.zeros((3, 3)), labels)
    assert np.isnan([zeros.nc1, zeros.nc3, zeros.means.norms, zeros.means.simplex, zeros.weights.orthogonal]).all()
    same_means = neural_collapse(np.array([[1.0], [-1], [1], [-1], [1], [-1]]), labels)
    assert same_means.nc1 == np.inf
    assert same_means.weights is same_means.nc3 is same_means.nc4 is None
    one_zero = frame(np.array([[0.0, 0], [0, 1], [2, 0]]), np.eye(3))
    assert one_zero.simplex == pytest.approx(0.5) and one_zero.orthogonal == 0
    with pytest.raises(UserError, match="at least 2 classes; these 4 images are of 1"):
        neural_collapse(np.ones((4, 2)), np.zeros(4, int))
    with pytest.raises(UserError, match="2 of 4 features are not finite"):
        neural_collapse(np.array([[1.0], [np.inf], [np.nan], [2]]), np.array([0, 0, 1, 1]))
