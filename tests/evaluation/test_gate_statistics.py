"""Numbers about gates against loops, SciPy's regression, and gates whose slope is known."""

import numpy as np
import pytest
from scipy import stats

from fsjax.errors import UserError
from fsjax.evaluation.papers.gate_statistics import (
    TaskClasses,
    by_base_classes,
    follows_base_share,
    slopes,
    spread,
    task_means,
)


def world(*, base=8, novel=8, per_class=10, channels=6, difference=0.0, of_classes=0.0, tasks=400, seed=0):
    """Gates near 0.5 that are higher by `difference` for base classes, with deviation `of_classes` between classes."""
    rng = np.random.default_rng(seed)
    is_base = np.arange(base + novel) >= novel
    labels = np.repeat(np.arange(base + novel), per_class)
    level = 0.5 + difference * is_base + of_classes * rng.normal(size=base + novel)
    gates = level[labels][:, None] + 0.05 * rng.normal(size=(len(labels), channels)) + 0.1 * np.arange(channels)
    classes = np.stack([rng.permutation(base + novel)[:5] for _ in range(tasks)])
    support = classes[..., None] * per_class + rng.integers(per_class, size=(tasks, 5, 3))
    return gates.astype(np.float32), TaskClasses(classes, is_base), support


def test_a_tasks_gate_is_the_mean_over_its_support_images():
    gates, _, support = world(tasks=7)
    support[2, 1, 2] = support[3, 4] = -1  # a class of two images, and a task of four classes
    found = task_means(gates, support)
    for task in range(7):
        images = [i for i in support[task].ravel() if i >= 0]
        expected = sum(gates[i].astype(float) for i in images) / len(images)
        assert found[task] == pytest.approx(expected)


def test_base_classes_are_counted_without_padding():
    tasks = TaskClasses(np.array([[0, 3, 1], [3, 2, -1], [0, 1, -1]]), np.array([False, False, True, True]))
    assert tasks.base_classes.tolist() == [1, 2, 0]
    shares = tasks.shares(np.array([[False, False, True, True], [True, False, False, False]]))
    assert shares == pytest.approx(np.array([[1 / 3, 1.0, 0.0], [1 / 3, 0.0, 0.5]]))


def test_spread_is_that_of_loops():
    gates, _, support = world(tasks=30)
    of_tasks = task_means(gates, support)
    found, columns = spread(gates, of_tasks), gates.T.astype(float)
    assert found["channels"] == 6
    assert found["mean"] == pytest.approx(sum(map(sum, columns)) / gates.size)
    assert found["std_channels"] == pytest.approx(np.std([sum(c) / len(c) for c in columns]))
    assert found["std_images"] == pytest.approx(np.mean([np.sqrt(np.mean((c - c.mean()) ** 2)) for c in columns]))
    assert found["std_tasks"] == pytest.approx(np.mean([np.std(c) for c in of_tasks.T]))
    ordered = np.sort(of_tasks.ravel())
    assert found["quantiles"]["50"] == pytest.approx((ordered[89] + ordered[90]) / 2)
    assert list(found["quantiles"]) == ["5", "25", "50", "75", "95"]


def test_means_by_number_of_base_classes():
    gates, tasks, support = world(tasks=50)
    of_tasks = task_means(gates, support)
    rows = by_base_classes(of_tasks, tasks.base_classes)
    assert sum(row["tasks"] for row in rows) == 50
    for row in rows:
        means = [np.mean(t) for t, n in zip(of_tasks, tasks.base_classes, strict=True) if n == row["base_classes"]]
        assert row["gate"] == pytest.approx(np.mean(means))
        if len(means) > 1:
            assert row["interval"] == pytest.approx(1.96 * np.std(means, ddof=1) / len(means) ** 0.5)
        else:
            assert row["interval"] is None


def test_slopes_are_those_of_scipy():
    gates, tasks, support = world(tasks=60, difference=0.1)
    of_tasks, share = task_means(gates, support), tasks.base_classes / 5
    found, errors = slopes(of_tasks, np.stack([share, share**2]))
    for row, x in enumerate((share, share**2)):
        for channel in range(6):
            expected = stats.linregress(x, of_tasks[:, channel])
            assert found[row, channel] == pytest.approx(expected.slope)
            assert errors[row, channel] == pytest.approx(expected.stderr)


def test_a_known_difference_of_base_classes_is_found():
    gates, tasks, support = world(difference=0.08, base=10, novel=10)
    found = follows_base_share(task_means(gates, support), tasks, seed=1)
    slope, channels = found["slope"], found["channels_that_follow"]
    assert slope["value"] == pytest.approx(0.08, abs=0.01)
    assert slope["interval"][0] < 0.08 < slope["interval"][1]
    assert slope["permuted"][1] < slope["value"]
    assert slope["p_value"] == pytest.approx(1 / 201)  # no permutation comes to as much
    assert channels["share"] == channels["share_by_class"] == 1.0
    # A share: many permutations come to as much, as any labels of the classes follow some of the difference.
    assert channels["p_value"] > slope["p_value"] and 0 < channels["permuted"] < 1


def test_without_a_difference_there_is_no_slope():
    gates, tasks, support = world(difference=0.0)
    found = follows_base_share(task_means(gates, support), tasks, seed=3)
    assert abs(found["slope"]["value"]) < 0.01
    assert found["slope"]["p_value"] > 0.05
    assert found["channels_that_follow"]["share_by_class"] == 0.0
    assert found == follows_base_share(task_means(gates, support), tasks, seed=3)


def test_the_class_is_the_unit():
    """Classes that differ for other reasons: over tasks the slope is mostly "significant", by class not."""
    over_tasks, by_class = 0, 0
    for seed in range(20):
        gates, tasks, support = world(of_classes=0.1, tasks=200, seed=seed)
        found = follows_base_share(task_means(gates, support), tasks)
        low, high = found["slope"]["interval"]
        over_tasks += not low < 0 < high
        by_class += found["slope"]["p_value"] <= 0.05
    assert over_tasks >= 10 and by_class <= 4


def test_gates_that_never_move_have_no_slope():
    _, tasks, _ = world(tasks=40)
    found = follows_base_share(np.full((40, 3), 0.5), tasks)
    assert found["slope"]["value"] == 0 and found["slope"]["p_value"] == 1
    assert found["channels_that_follow"] == {"share": 0, "permuted": 0, "p_value": 1, "share_by_class": 0}


def test_tasks_that_all_have_the_same_share_are_refused():
    tasks = TaskClasses(np.array([[0, 1], [1, 0], [0, 1]]), np.array([True, False]))
    with pytest.raises(UserError, match="all 3 tasks have the same share of base classes: .* fewer ways than the 2 cl"):
        follows_base_share(np.random.default_rng(0).normal(size=(3, 4)), tasks)
    with pytest.raises(UserError, match="2 tasks have no slope"):
        follows_base_share(np.ones((2, 4)), tasks)
