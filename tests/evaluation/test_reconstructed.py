"""Figures of tasks of base and novel classes together, against a loop over tasks whose hits are known."""

import json

import numpy as np
import pytest

from fsjax.evaluation.few_shot import reconstructed
from fsjax.evaluation.few_shot.protocol import make_figure
from tests.evaluation.counted import counted

# Classes 0 to 3 are novel, 4 to 6 base.
IS_BASE = np.array([False] * 4 + [True] * 3)
NAMES = tuple("abcdefg")
FACTS = {
    "classes": "reconstructed", "way": 3, "shot": 1, "query": 4, "seed": 0, "support_pool": "gap", "query_pool": "gap",
}  # fmt: skip


def make_scores(tasks):
    """Scores of tasks, each a list of (class, hits, queries); shorter ones are padded."""
    way = max(map(len, tasks))
    padded = [[*task, *[(-1, 0, 0)] * (way - len(task))] for task in tasks]
    classes, hits, queries = np.moveaxis(np.array(padded), -1, 0)
    return counted(classes, hits, queries, len(IS_BASE))


def drawn(count=200, *, seed=0):
    """Tasks of two to three classes, one to four queries per class, and any number of hits."""
    rng = np.random.default_rng(seed)
    tasks = []
    for _ in range(count):
        queries = rng.integers(1, 5, 3)
        classes = rng.permutation(7)[: rng.integers(2, 4)]
        tasks.append([(int(c), int(rng.integers(0, q + 1)), int(q)) for c, q in zip(classes, queries, strict=False)])
    return tasks


def looped(tasks):
    """By task: accuracy of all, of base and of novel queries, None where there are none, and the base classes."""
    rows = []
    for task in tasks:
        sums = {"all": [0, 0], True: [0, 0], False: [0, 0]}
        for label, hits, queries in task:
            for kind in ("all", label >= 4):
                sums[kind][0] += hits
                sums[kind][1] += queries
        shares = [sums[kind][0] / sums[kind][1] if sums[kind][1] else None for kind in ("all", True, False)]
        rows.append((*shares, sum(label >= 4 for label, _, _ in task)))
    return rows


def mean_and_interval(values):
    """`accuracy`, `interval` and `tasks` of a list of numbers, by docs/readings.md, "Tasks and intervals"."""
    mean = sum(values) / len(values)
    deviation = (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5
    return {"accuracy": mean, "interval": 1.96 * deviation / len(values) ** 0.5, "tasks": len(values)}


@pytest.mark.parametrize("seed", [0, 1])
def test_each_task_is_that_of_a_loop(seed):
    tasks = drawn(seed=seed)
    found, expected = reconstructed.by_task(make_scores(tasks), IS_BASE), looped(tasks)
    for name, column in (("base_queries", 1), ("novel_queries", 2)):
        values = [np.nan if row[column] is None else row[column] for row in expected]
        assert np.isnan(values).any() and not np.isnan(values).all()
        np.testing.assert_allclose(found[name], values)
    assert found["base_classes"].tolist() == [row[3] for row in expected]


def test_facts_are_the_means_of_a_loop():
    tasks = drawn()
    scores, rows = make_scores(tasks), looped(tasks)
    found = reconstructed.facts(scores.accuracy, reconstructed.by_task(scores, IS_BASE))
    for name, column in (("base_queries", 1), ("novel_queries", 2)):
        values = [row[column] for row in rows if row[column] is not None]
        assert found[name] == pytest.approx(mean_and_interval(values))
    for group, number in zip(found["by_base_classes"], range(4), strict=True):
        of_group = mean_and_interval([row[0] for row in rows if row[3] == number])
        assert group == pytest.approx({"base_classes": number, **of_group})


def test_tasks_of_one_kind_of_classes():
    novel = [[(0, 1, 2), (1, 2, 2)], [(2, 0, 2), (3, 1, 2)]]
    base = [[(4, 1, 2), (5, 2, 2)], [(6, 0, 2), (5, 1, 2)]]
    for tasks, there, lacking, number in (
        (novel, "novel_queries", "base_queries", 0),
        (base, "base_queries", "novel_queries", 2),
    ):
        scores = make_scores(tasks)
        parts = reconstructed.by_task(scores, IS_BASE)
        np.testing.assert_allclose(parts[there], [0.75, 0.25])
        assert np.isnan(parts[lacking]).all() and parts["base_classes"].tolist() == [number] * 2
        found = reconstructed.facts(scores.accuracy, parts)
        # By hand: deviation 0.25 · √2, so 1.96 · 0.25.
        assert found[there] == pytest.approx({"accuracy": 0.5, "interval": 0.49, "tasks": 2})
        assert found[lacking] == {"accuracy": None, "interval": None, "tasks": 0}
        assert [(group["base_classes"], group["tasks"]) for group in found["by_base_classes"]] == [(number, 2)]
        words = reconstructed.in_words(found)
        assert f"{there.replace('_', ' ')} 50.00" in words and f"{lacking.replace('_', ' ')} –" in words


def test_the_interval_of_one_task_is_none_and_json_takes_it():
    scores = make_scores([[(0, 1, 4), (4, 2, 4)], [(1, 4, 4), (2, 0, 4)], [(1, 4, 4), (2, 4, 4)]])
    found = reconstructed.facts(scores.accuracy, reconstructed.by_task(scores, IS_BASE))
    assert found["base_queries"] == {"accuracy": 0.5, "interval": None, "tasks": 1}
    one = {"base_classes": 1, "accuracy": 3 / 8, "interval": None, "tasks": 1}
    assert found["by_base_classes"][1] == one
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_figures_tell_base_from_novel_queries():
    scores = make_scores(
        [[(0, 1, 4), (4, 2, 4)], [(1, 4, 4), (2, 0, 4)], [(5, 4, 4), (6, 4, 4)], [(1, 2, 4), (6, 4, 4)]]
    )
    figure = make_figure(scores, NAMES, FACTS, is_base=IS_BASE)
    assert figure.facts["accuracy"] == pytest.approx((3 / 8 + 1 / 2 + 1 + 3 / 4) / 4)
    assert figure.facts["base_queries"]["accuracy"] == pytest.approx((1 / 2 + 1 + 1) / 3)
    np.testing.assert_array_equal(figure.parts["novel_queries"], [1 / 4, 1 / 2, np.nan, 1 / 2])
    assert set(figure.parts) == {"base_queries", "novel_queries", "base_classes"}
    assert str(figure).endswith(
        "; base queries 83.33, novel queries 41.67, with 0, 1, 2 base classes 50.00, 56.25, 100.00"
    )
    np.testing.assert_array_equal(figure.scores.new, ~IS_BASE)
    plain = make_figure(scores, NAMES, FACTS)
    assert plain.parts == {} and "by_base_classes" not in plain.facts and "base queries" not in str(plain)
