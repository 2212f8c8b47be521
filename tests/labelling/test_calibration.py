"""The temperature and the threshold against searches over everything."""

import numpy as np
import pytest

from fsjax.labelling.calibration import Threshold, choose_threshold, fit_temperature


def likelihood(scores, labels, temperature):
    """Platt's: the log-likelihood of the label with (n + 1) / (n + 2), and of the others with the rest."""
    total, (count, classes) = 0.0, scores.shape
    for row, label in zip(scores, labels, strict=True):
        shares = np.exp((row - row.max()) / temperature)
        logs = np.log(shares / shares.sum())
        for c in range(classes):
            weight = (count + 1) / (count + 2) if c == label else 1 / (count + 2) / (classes - 1)
            total += weight * logs[c]
    return total


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_the_temperature_is_the_likeliest(scale):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 12)
    scores = scale * (rng.normal(0, 1, (12, 4)) + 1.5 * np.eye(4)[labels])
    found = fit_temperature(scores, labels)
    grid = scale * np.geomspace(0.01, 100, 400)
    best = max(likelihood(scores, labels, t) for t in grid)
    assert likelihood(scores, labels, found) >= best - 1e-6
    assert fit_temperature(7 * scores, labels) == pytest.approx(7 * found, rel=1e-3)


def test_it_finds_the_temperature_that_labels_were_drawn_with():
    rng = np.random.default_rng(1)
    scores = rng.normal(0, 5, (4000, 3))
    shares = np.exp(scores / 2.5)
    shares /= shares.sum(1, keepdims=True)
    labels = (rng.random((4000, 1)) > np.cumsum(shares, axis=1)).sum(1)
    assert fit_temperature(scores, labels) == pytest.approx(2.5, rel=0.1)


def test_few_pictures_told_apart_do_not_make_certainty():
    """As sure as (n + 1) / (n + 2) on the pictures themselves: their scores differ by the same number."""
    scores, labels = np.array([[2.0, 1.0], [0.5, 1.5], [9.0, 8.0]]), np.array([0, 1, 0])
    found = fit_temperature(scores, labels)
    assert 1 / (1 + np.exp(-1 / found)) == pytest.approx(4 / 5, abs=1e-3)


def test_scores_that_say_nothing():
    assert fit_temperature(np.zeros((3, 2)), np.array([0, 1, 1])) == 1
    assert fit_temperature(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([0, 1])) > 100


def balanced(known, unknown, threshold):
    return np.mean(known >= threshold) + np.mean(unknown < threshold)


def test_the_threshold_is_the_best_of_all():
    rng = np.random.default_rng(2)
    for _ in range(20):
        known, unknown = rng.normal(1, 1, 9).round(1), rng.normal(0, 1, 14).round(1)
        found = choose_threshold(known, unknown)
        tried = np.linspace(-5, 5, 2001) + 0.0005
        assert balanced(known, unknown, found.value) == pytest.approx(max(balanced(known, unknown, t) for t in tried))
        assert (found.kept, found.known) == (np.sum(known >= found.value), 9)
        assert (found.refused, found.unknown) == (np.sum(unknown < found.value), 14)


def test_it_lies_in_the_middle_of_the_widest_gap():
    assert choose_threshold(np.array([0.9, 0.8]), np.array([0.1, 0.2])).value == pytest.approx(0.5)
    # Between 1 and 2, and between 4 and 7, it is as good: there is more room in the latter.
    assert choose_threshold(np.array([2.0, 7.0]), np.array([1.0, 4.0])).value == pytest.approx(5.5)
    assert choose_threshold(np.array([0.3]), np.array([0.3])).value != 0.3


def test_in_words():
    said = str(choose_threshold(np.array([0.9, 0.8, 0.1]), np.array([0.15, 0.2])))
    assert "similarity 0.5: of 3 support pictures, each left out of its class, 2 are kept (66.7 %)" in said
    assert "of 2 whose whole class is left out, 2 are refused (100.0 %)" in said
    with_implants = str(choose_threshold(np.array([0.9, 0.8]), np.array([0.1, 0.2]), implants=True))
    assert "of 2 whose prototype is left out (the implants have seen the class), 2 are refused" in with_implants
    assert "whole class" not in with_implants
    assert str(Threshold(0.25)) == "similarity 0.25, as given"
