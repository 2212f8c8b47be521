"""Intervals against the vector and the paper's figures, and that they hold the truth as often as they say."""

import json
import statistics

import numpy as np
import pytest

from fsjax.data import EpisodeSpec
from fsjax.errors import UserError
from fsjax.evaluation.few_shot.statistics import harmonic_mean, mean_interval, paired_difference
from fsjax.evaluation.few_shot.tasks import score_tasks
from fsjax.methods.rules import Rule

RULE = Rule("cosine", "gap", "gap", 10.0)
SPEC = EpisodeSpec(5, 1, 15)


@pytest.fixture(scope="module")
def bank(make_bank):
    """Classes that overlap so that tasks of `SPEC` deviate by about ten points."""
    return make_bank([30] * 15, dim=6, spread=2.0)[0]


def accuracies(bank, seed, tasks, rule=RULE):
    (scores,) = score_tasks(bank, [rule], spec=SPEC, seed=seed, tasks=tasks)
    return scores.accuracy


def test_vector(root):
    vector = json.loads((root / "tests/vectors/mean_ci95.json").read_text())
    values, expected = vector["inputs"]["accuracies"], vector["expected"]
    found = mean_interval(values)
    assert found.mean == pytest.approx(expected["mean"], rel=1e-12)
    assert found.half_width == pytest.approx(expected["half_width"], rel=1e-12)
    assert found.deviation == pytest.approx(statistics.stdev(values), rel=1e-12)
    assert found.count == 20
    assert str(found) == "66.88 ± 5.89"
    # The normal form; Student's is wider by the ratio of the quantiles, here of 19 degrees of freedom.
    assert expected["half_width_student_t"] / found.half_width == pytest.approx(2.093024 / 1.96, rel=1e-6)


@pytest.mark.parametrize(
    ("count", "points", "half_width"),
    [(8000, 10.5, 0.23), (10_000, 10.2, 0.20), (10_000, 6.6, 0.13), (5000, 6.9, 0.19)],
)
def test_the_papers_intervals_have_these_deviations(count, points, half_width):
    values = 0.7 + points / 100 * np.resize([1, -1], count)
    found = mean_interval(values)
    assert found.deviation == pytest.approx(points / 100, rel=1e-3)
    assert round(100 * found.half_width, 2) == half_width


def test_a_simulated_evaluation_has_the_papers_interval(bank):
    found = accuracies(bank, 0, 8000)
    deviation = statistics.stdev(found.tolist())
    assert 0.095 < deviation < 0.115
    half_width = mean_interval(found).half_width
    assert half_width == pytest.approx(1.96 * deviation / 8000**0.5, rel=1e-12)
    assert 0.0021 <= half_width <= 0.0025


@pytest.mark.xla
def test_intervals_hold_the_true_mean_as_often_as_they_say(bank):
    truth = np.mean(accuracies(bank, 10**6, 60_000))
    intervals = [mean_interval(accuracies(bank, seed, 2000)) for seed in range(40)]
    held = [abs(found.mean - truth) < found.half_width for found in intervals]
    assert 0.85 <= np.mean(held) <= 1
    # The means of the seeds scatter as one interval says they do, and not by less because seeds share tasks.
    scatter = statistics.stdev(found.mean for found in intervals)
    assert scatter == pytest.approx(intervals[0].half_width / 1.96, rel=0.35)


def test_a_single_task_has_no_interval():
    found = mean_interval(np.array([0.5]))
    assert (found.mean, found.count) == (0.5, 1)
    assert np.isnan(found.half_width) and np.isnan(found.deviation)


def test_paired_differences_are_narrower_than_unpaired_ones(bank):
    other = Rule("cosine", "gmp", "gap", 10.0)
    first, second = (accuracies(bank, 0, 2000, rule) for rule in (RULE, other))
    paired = paired_difference(first, second)
    differences = [a - b for a, b in zip(first.tolist(), second.tolist(), strict=True)]
    assert paired.mean == pytest.approx(statistics.fmean(differences), abs=1e-12)
    assert paired.half_width == pytest.approx(1.96 * statistics.stdev(differences) / 2000**0.5, rel=1e-9)
    assert np.corrcoef(first, second)[0, 1] > 0.5
    unpaired = np.hypot(mean_interval(first).half_width, mean_interval(second).half_width)
    assert paired.half_width < 0.75 * unpaired


def test_independent_differences_are_as_wide_as_unpaired_ones(bank):
    first, second = accuracies(bank, 0, 4000), accuracies(bank, 1, 4000)
    unpaired = np.hypot(mean_interval(first).half_width, mean_interval(second).half_width)
    assert paired_difference(first, second).half_width == pytest.approx(unpaired, rel=0.06)


def test_a_method_does_not_differ_from_itself(bank):
    values = accuracies(bank, 0, 100)
    found = paired_difference(values, values)
    assert (found.mean, found.half_width, found.count) == (0, 0, 100)


def test_other_numbers_of_tasks_cannot_be_paired():
    with pytest.raises(UserError, match="3 and 2 tasks cannot be paired: evaluate both on the same episodes"):
        paired_difference(np.zeros(3), np.zeros(2))


def test_harmonic_mean():
    assert harmonic_mean(0.3, 0.6) == pytest.approx(statistics.harmonic_mean([0.3, 0.6]))
    assert harmonic_mean(0.7, 0.7) == pytest.approx(0.7)
    assert harmonic_mean(0.9, 0.0) == harmonic_mean(0.0, 0.0) == 0
