"""The scatter of embeddings against loops, and against embeddings whose scatter is known."""

import numpy as np
import pytest

from fsjax.errors import UserError
from fsjax.evaluation.scatter import quotient, scatter


def gaussian(counts, *, within, between, dim=40, seed=0):
    """Images of squared deviation `within` about centres of squared deviation `between`, over all dimensions."""
    rng = np.random.default_rng(seed)
    centres = np.sqrt(between / dim) * rng.normal(size=(len(counts), dim))
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    return centres[labels] + np.sqrt(within / dim) * rng.normal(size=(len(labels), dim)), labels


def looped(x, labels):
    """METHODS-style definitions, image by image."""
    means = {k: sum(v for v, y in zip(x, labels, strict=True) if y == k) / np.sum(labels == k) for k in set(labels)}
    within = [sum((v - means[y]) ** 2) for v, y in zip(x, labels, strict=True)]
    centre = sum(means.values()) / len(means)
    between = [sum((mean - centre) ** 2) for mean in means.values()]
    return np.mean(within), np.mean(between)


@pytest.mark.parametrize("normalised", [True, False])
def test_scatter_is_that_of_a_loop(normalised):
    x, labels = gaussian((5, 9, 2, 7), within=2.0, between=1.0, dim=3)
    x += 10  # far from 0
    expected = x / np.linalg.norm(x, axis=1, keepdims=True) if normalised else x
    found = scatter(x.astype(np.float32), labels, normalised=normalised)
    within, between = looped(expected, labels)
    assert found.within == pytest.approx(within, rel=1e-4)
    assert found.between == pytest.approx(between, rel=1e-4)
    assert found.ratio == pytest.approx(within / between, rel=1e-4)
    assert (found.images, found.classes) == (23, 4)


def test_the_length_of_embeddings_counts_only_if_raw():
    x, labels = gaussian((20,) * 6, within=2.0, between=1.0)
    longer = x * np.random.default_rng(1).uniform(0.1, 10, size=(len(x), 1))
    assert scatter(longer, labels).ratio == pytest.approx(scatter(x, labels).ratio, rel=1e-9)
    assert scatter(longer, labels, normalised=False).ratio > 1.2 * scatter(x, labels, normalised=False).ratio


def test_a_draw_of_the_bootstrap_is_the_scatter_of_its_classes():
    x, labels = gaussian((5, 9, 2, 7), within=2.0, between=1.0, dim=3)
    found = scatter(x, labels, normalised=False, seed=3)
    weights = np.random.default_rng(3).multinomial(4, np.full(4, 0.25), size=1000)
    weights = [row for row in weights if max(row) < 4]  # of one class, there is nothing between
    assert len(found.draws) == len(weights)
    for number in (0, 17, 400):
        taken = np.repeat(np.arange(4), weights[number])
        images = np.concatenate([x[labels == k] for k in taken])
        copies = np.concatenate([np.full(np.sum(labels == k), copy) for copy, k in enumerate(taken)])
        within, between = looped(images, copies)
        assert found.draws[number] == pytest.approx(within / (between * 4 / 3))
    assert found.interval == pytest.approx(np.percentile(found.draws, (2.5, 97.5)))


def test_what_numbers_of_images_do_is_left_out_of_the_unbiased_ratio():
    """True ratio 8: with 6 images a class, the means lie apart by chance more than by class."""
    many = scatter(*gaussian((300,) * 60, within=8.0, between=1.0, dim=100), normalised=False)
    few = [scatter(*gaussian((6,) * 60, within=8.0, between=1.0, dim=100, seed=k), normalised=False) for k in range(8)]
    assert many.ratio == pytest.approx(8.0, rel=0.06)
    assert many.unbiased == pytest.approx(8.0, rel=0.06)
    assert np.mean([found.ratio for found in few]) < 4
    assert np.mean([found.unbiased for found in few]) == pytest.approx(8.0, rel=0.06)


def test_classes_that_are_not_there_have_an_infinite_unbiased_ratio_or_a_large_one():
    found = scatter(*gaussian((10,) * 30, within=1.0, between=0.0, dim=5), normalised=False)
    assert found.ratio == pytest.approx(9.0, rel=0.2)  # (n - 1) / n over 1 / n, for n = 10 images a class
    assert found.unbiased > 50
    alone = scatter(np.eye(3), np.arange(3))
    assert alone.ratio == 0 and np.isnan(alone.unbiased)


def test_the_interval_covers_the_ratio_of_other_classes():
    """Of 60 samples of 25 classes, nearly all intervals hold the true ratio 2."""
    held = 0
    for seed in range(60):
        low, high = scatter(*gaussian((40,) * 25, within=2.0, between=1.0, dim=8, seed=seed), normalised=False).interval
        held += low < 2.0 < high
    assert 50 <= held <= 60


def test_the_quotient_of_two_runs_is_paired_by_classes():
    x, labels = gaussian((30,) * 12, within=2.0, between=1.0, dim=6)
    means = np.stack([x[labels == k].mean(0) for k in range(12)])[labels]
    tighter = means + (x - means) / 2  # a quarter of the scatter within, the same between
    a, b = (scatter(features, labels, normalised=False) for features in (tighter, x))
    value, interval = quotient(a, b)
    assert value == pytest.approx(0.25)
    assert interval == pytest.approx((0.25, 0.25))
    assert a.interval[1] / a.interval[0] > 1.1  # which the pairing has cancelled
    with pytest.raises(UserError, match="of 12 and 3 classes cannot be paired"):
        quotient(a, scatter(x[labels < 3], labels[labels < 3]))


def test_what_has_no_scatter_is_refused():
    with pytest.raises(UserError, match="at least 2 of them; these images are of 1"):
        scatter(np.ones((4, 3)), np.zeros(4, int))
    with pytest.raises(UserError, match="2 of 4 embeddings are not finite"):
        scatter([[1, 2], [np.nan, 1], [np.inf, 1], [1, 1]], [0, 0, 1, 1])
