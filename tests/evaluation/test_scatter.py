"""The scatter of embeddings against loops, and against embeddings whose scatter is known."""

import numpy as np
import pytest

from fsjax.errors import UserError
from fsjax.evaluation.analysis.scatter import jackknife_interval, quotient, scatter, with_interval


def gaussian(counts, *, within, between, dim=40, seed=0):
    """Images of squared deviation `within` about centres of squared deviation `between`, over all dimensions."""
    rng = np.random.default_rng(seed)
    centres = np.sqrt(between / dim) * rng.normal(size=(len(counts), dim))
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    return centres[labels] + np.sqrt(within / dim) * rng.normal(size=(len(labels), dim)), labels


def looped(x, labels):
    """The definitions, image by image."""
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


def looped_unbiased(x, labels):
    """As `Scatter` defines it: n - 1 of the images, all classes but one, less what chance does to the means."""
    counts = [np.sum(labels == k) for k in sorted(set(labels))]
    within, between = looped(x, labels)
    within = within * len(x) / (len(x) - len(counts))
    between = between * len(counts) / (len(counts) - 1) - within * np.mean([1 / n for n in counts])
    return within / between


def test_the_interval_is_the_jackknife_of_a_loop_over_classes():
    x, labels = gaussian((5, 9, 2, 7, 6, 11), within=2.0, between=3.0, dim=3)
    found = scatter(x, labels, normalised=False)
    assert found.unbiased == pytest.approx(looped_unbiased(x, labels))
    left_out = [looped_unbiased(x[labels != k], labels[labels != k]) for k in range(6)]
    assert found.left_out == pytest.approx(left_out)
    # Tukey's pseudo-values are as if independent: their mean's error, times Student's t of 5 degrees from a table.
    pseudo = [6 * np.log(found.unbiased) - 5 * np.log(value) for value in left_out]
    margin = 2.5706 * np.std(pseudo, ddof=1) / np.sqrt(6)
    expected = np.exp([np.log(found.unbiased) - margin, np.log(found.unbiased) + margin])
    assert found.interval == pytest.approx(expected, rel=1e-4)


def test_what_numbers_of_images_do_is_left_out_of_the_unbiased_ratio():
    """True ratio 8: with 6 images per class, the means lie apart by chance more than by class."""
    many = scatter(*gaussian((300,) * 60, within=8.0, between=1.0, dim=100), normalised=False)
    few = [scatter(*gaussian((6,) * 60, within=8.0, between=1.0, dim=100, seed=k), normalised=False) for k in range(8)]
    assert many.ratio == pytest.approx(8.0, rel=0.06)
    assert many.unbiased == pytest.approx(8.0, rel=0.06)
    assert np.mean([found.ratio for found in few]) < 4
    assert np.mean([found.unbiased for found in few]) == pytest.approx(8.0, rel=0.06)


def test_classes_that_are_not_there_have_an_infinite_unbiased_ratio_or_a_large_one():
    found = scatter(*gaussian((10,) * 30, within=1.0, between=0.0, dim=5), normalised=False)
    assert found.ratio == pytest.approx(9.0, rel=0.2)  # (n - 1) / n over 1 / n, for n = 10 images per class
    assert found.unbiased > 50
    alone = scatter(np.eye(3), np.arange(3))
    assert alone.ratio == 0 and np.isnan(alone.unbiased)


def worlds(count, classes, *, ratio, spread=1.0, seed):
    """Two runs' embeddings `[worlds, n, dim]` of the same classes, of true ratios `ratio` and `ratio / 2`, and labels.

    The classes differ in how tight they are, unless `spread` is 0; each run has 20 images per class, about centres of
    variance 1 that the runs have partly in common.
    """
    rng, images, dim = np.random.default_rng(seed), 20, 8
    labels = np.repeat(np.arange(classes), images)
    common = rng.normal(size=(count, classes, dim))
    tight = rng.gamma(4, 1 / 4, size=(count, classes, 1)) ** spread
    for within in (ratio, ratio / 2):
        centres = (0.9 * common + np.sqrt(1 - 0.9**2) * rng.normal(size=common.shape)) / np.sqrt(dim)
        scale = np.sqrt(within * tight / dim)[:, labels]
        yield centres[:, labels] + scale * rng.normal(size=(count, len(labels), dim)), labels


@pytest.mark.parametrize(("classes", "ratio", "spread"), [(5, 2.0, 0), (8, 2.0, 1), (20, 2.0, 1), (20, 10.0, 0)])
def test_the_intervals_hold_the_truth_in_95_of_100_worlds(classes, ratio, spread):
    """500 worlds, of which 95 % would be 475 ± 5."""
    first, second = worlds(500, classes, ratio=ratio, spread=spread, seed=classes)
    held, paired, values = 0, 0, []
    for x, y in zip(first[0], second[0], strict=True):
        a, b = (scatter(features, first[1], normalised=False) for features in (x, y))
        held += a.interval[0] < ratio < a.interval[1]
        value, (low, high) = quotient(a, b)
        paired += low < 2.0 < high
        values.append(value)
    assert 0.935 * 500 <= held <= 0.98 * 500
    assert 0.935 * 500 <= paired <= 0.98 * 500
    assert np.median(values) == pytest.approx(2.0, rel=0.03)


def test_the_quotient_has_no_bias_where_that_of_plain_ratios_has():
    """True ratios 80 and 20 from 50 images per class: the plain ratios' quotient is nearer 2 than 4."""
    counts, plain, found = (50,) * 32, [], []
    for seed in range(20):
        pair = [gaussian(counts, within=within, between=1.0, dim=64, seed=seed) for within in (80.0, 20.0)]
        a, b = (scatter(*one, normalised=False) for one in pair)
        plain.append(a.ratio / b.ratio)
        found.append(quotient(a, b)[0])
    assert np.median(plain) < 2.5
    assert np.median(found) == pytest.approx(4.0, rel=0.06)


def test_the_quotient_of_two_runs_is_paired_by_classes():
    x, labels = gaussian((400,) * 12, within=2.0, between=1.0, dim=6)
    means = np.stack([x[labels == k].mean(0) for k in range(12)])[labels]
    tighter = means + (x - means) / 2  # a quarter of the scatter within, and nearly the same between
    a, b = (scatter(features, labels, normalised=False) for features in (tighter, x))
    value, (low, high) = quotient(a, b)
    assert value == pytest.approx(0.25, rel=0.01)
    assert high / low < 1.01
    assert a.interval[1] / a.interval[0] > 1.1  # which the pairing has cancelled
    assert quotient(b, b) == (1.0, (1.0, 1.0))
    with pytest.raises(UserError, match="of 12 and 3 classes cannot be paired"):
        quotient(a, scatter(x[labels < 3], labels[labels < 3]))


@pytest.mark.parametrize("classes", [2, 3, 4, 5])
def test_few_classes_have_no_interval(classes):
    x, labels = gaussian((9,) * classes, within=1.0, between=9.0)
    found = scatter(x, labels, normalised=False)
    assert np.isfinite(found.unbiased) and (found.interval is None) == (classes < 5)
    value, interval = quotient(found, found)
    assert value == 1 and (interval is None) == (classes < 5)


def test_a_ratio_that_hangs_on_one_class_has_no_interval():
    """Five classes in one place and one elsewhere: without that, there is nothing between."""
    images, labels = np.tile([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]], (6, 1)), np.repeat(np.arange(6), 4)
    alone = scatter(images + 5.0 * (labels == 5)[:, None], labels, normalised=False)
    assert np.isfinite(alone.unbiased) and np.isinf(alone.left_out[5]) and alone.interval is None
    together = scatter(images, labels, normalised=False)
    same, shuffled = scatter(np.ones((24, 2)), labels), scatter(*gaussian((4,) * 6, within=1.0, between=1.0))
    assert np.isinf(together.unbiased) and together.interval is None
    for first, second in ((together, shuffled), (shuffled, together), (together, together), (same, same)):
        value, interval = quotient(first, second)
        assert np.isnan(value) and interval is None
    points = scatter(np.repeat(np.eye(6), 4, axis=0), labels)  # each class in one point
    assert points.unbiased == pytest.approx(0, abs=1e-9)
    assert jackknife_interval(0.0, np.zeros(6)) is None


def test_a_ratio_in_words():
    assert with_interval(2.034, (1.806, 2.284), digits=2) == "2.03 [1.81, 2.28]"
    assert with_interval(2.034, None, digits=1) == "2.0"
    assert with_interval(np.inf, None, digits=2) == with_interval(np.nan, None, digits=2) == "-"


def test_what_has_no_scatter_is_refused():
    with pytest.raises(UserError, match="at least 2 of them; these images are of 1"):
        scatter(np.ones((4, 3)), np.zeros(4, int))
    with pytest.raises(UserError, match="2 of 4 embeddings are not finite"):
        scatter([[1, 2], [np.nan, 1], [np.inf, 1], [1, 1]], [0, 0, 1, 1])
