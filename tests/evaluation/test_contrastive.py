"""Uniformity, tolerance and hardness against the vector, loops over pairs, and limits."""

import numpy as np
import pytest

from fsjax.errors import UserError
from fsjax.evaluation.analysis.contrastive import hardness, relative_penalty, tolerance, uniformity


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.fixture
def noise():
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 5)), rng.integers(4, size=60)


def test_vector(vector):
    given = vector("contrastive_behaviour")
    a, b, labels = (given.inputs[name] for name in ("a", "b", "labels_of_a"))
    assert uniformity(a).value == pytest.approx(given.expected["uniformity_t2"], rel=1e-9)
    assert uniformity(a).error == 0
    assert tolerance(a, labels) == pytest.approx(given.expected["tolerance"], rel=1e-9)
    expected = given.expected["relative_penalty_tau0.2_row0"]
    found = relative_penalty((unit(a) @ unit(b).T)[0, [int(k) for k in expected]], tau=0.2)
    np.testing.assert_allclose(found, list(expected.values()), rtol=1e-9)


def test_blocks_of_pairs_are_all_pairs():
    """More rows than a block has."""
    x = np.random.default_rng(1).normal(size=(1500, 4))
    u = unit(x)
    squared = np.sum((u[:, None] - u[None]) ** 2, axis=-1)
    expected = np.log(np.exp(-2 * squared)[~np.eye(1500, dtype=bool)].mean())
    assert uniformity(x).value == pytest.approx(expected, rel=1e-9)
    assert uniformity(x.astype(np.float32)).value == pytest.approx(expected, rel=1e-4)


def test_random_pairs_with_their_error(noise):
    x, _ = noise
    exact = uniformity(x)
    found = [uniformity(x, exact_up_to=10, pairs=3000, seed=seed) for seed in range(200)]
    assert np.std([f.value for f in found]) == pytest.approx(np.mean([f.error for f in found]), rel=0.15)
    assert np.mean([f.value for f in found]) == pytest.approx(exact.value, abs=4 * found[0].error / 200**0.5)
    assert uniformity(x, exact_up_to=10, pairs=3000) == uniformity(x, exact_up_to=10, pairs=3000)


def test_uniformity_in_its_limits():
    assert uniformity(np.ones((5, 3))).value == pytest.approx(0, abs=1e-12)
    assert uniformity(np.eye(9)).value == pytest.approx(-4)  # squared distances of 2
    assert uniformity(np.zeros((5, 3))).value == 0
    two = np.array([[1.0, 0], [-2, 0]])
    assert uniformity(two).value == pytest.approx(-8)


def test_tolerance_is_over_pairs_of_one_class(noise):
    x, labels = noise
    u = unit(x)
    pairs = [u[i] @ u[j] for i in range(60) for j in range(60) if i != j and labels[i] == labels[j]]
    assert tolerance(x, labels) == pytest.approx(np.mean(pairs), rel=1e-9)
    assert tolerance(np.ones((4, 2)), np.array([3, 3, 8, 8])) == pytest.approx(1)
    assert np.isnan(tolerance(x[:4], np.arange(4)))
    # A zero vector has no direction: its cosines are 0.
    assert tolerance(np.array([[0.0, 0], [1, 0], [3, 0]]), np.zeros(3, int)) == pytest.approx(1 / 3)


@pytest.mark.parametrize(("tau", "share"), [(0.2, 0.1), (0.05, 0.3), (1.0, 1e-6), (0.5, 1.0)])
def test_hardness_by_a_loop(noise, tau, share):
    x, labels = noise
    u, found = unit(x), []
    for i in range(60):
        s = np.sort([u[i] @ u[j] for j in range(60) if labels[j] != labels[i]])[::-1]
        hardest = max(int(np.ceil(share * len(s) - 1e-9)), 1)
        e = np.exp(s / tau)
        found.append(e[:hardest].sum() / e.sum())
    result = hardness(x, labels, tau=tau, share=share)
    assert result.value == pytest.approx(np.mean(found), rel=1e-9) and result.error == 0


def test_hardness_in_its_limits(noise):
    x, labels = noise
    by_tau = [hardness(x, labels, tau=tau).value for tau in (1e-4, 0.07, 0.2, 1.0, 1e6)]
    assert by_tau == sorted(by_tau, reverse=True)
    # Of 40 to 50 negatives, a tenth is rounded up.
    assert by_tau[0] == pytest.approx(1, abs=1e-3) and by_tau[-1] == pytest.approx(0.11, abs=0.01)
    zeros = hardness(np.zeros((40, 3)), np.tile([0, 1], 20))
    assert zeros.value == pytest.approx(0.1)


def test_hardness_of_a_part_has_an_error(noise):
    x, labels = noise
    full = hardness(x, labels)
    parts = [hardness(x, labels, anchors=20, seed=seed) for seed in range(30)]
    assert np.mean([part.value for part in parts]) == pytest.approx(full.value, abs=3 * parts[0].error / 30**0.5)
    assert all(part.error > 0 for part in parts)
    assert hardness(x, labels, anchors=20) == parts[0]


def test_few_images_of_other_classes(noise):
    """A bank that by chance holds anchors without negatives."""
    x, _ = noise
    labels = np.array([0] * 59 + [1])
    values = {hardness(x, labels, bank=10, seed=seed).value for seed in range(12)}
    assert all(0 < value <= 1 for value in values if not np.isnan(value))
    with pytest.raises(UserError, match="there is one class only"):
        hardness(x, np.zeros(60, int))


def test_what_cannot_be(noise):
    x, labels = noise
    with pytest.raises(UserError, match="1 is too few"):
        uniformity(x[:1])
    with pytest.raises(UserError, match="not finite"):
        tolerance(np.array([[np.nan]]), np.zeros(1, int))
    for wrong in ({"tau": 0.0}, {"share": 0.0}, {"share": 1.5}):
        with pytest.raises(UserError, match="must be above 0"):
            hardness(x, labels, **wrong)
